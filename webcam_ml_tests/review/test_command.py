"""`webcam-ml review` and `import-votes` from the command line: lists, files, roles, what is in the way."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from webcam_ml.cli import main
from webcam_ml.contracts import RELABEL_QUEUE_TABLE
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.review import _serve, _wanted
from webcam_ml.review._serve import Review, serve
from webcam_ml.review._wanted import ByAnybody, ByCurator, Wanted
from webcam_ml.store import ArtifactMissingError, ArtifactStore, Provenance
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer
from webcam_ml_tests.review.conftest import add_gold, fill, rate, ratings

WANTED = Wanted("queue", [7, 3, 9], ByAnybody())


def review(folder: Path, **changed: object) -> Review:
    asked = {
        "curator": "anna",
        "gold": False,
        "export": None,
        "port": 0,
        "journal": folder / "journal",
    }
    return Review(**(asked | changed))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is said before a page would be served; the server itself is not started."""
    monkeypatch.setenv("WEBCAM_ML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_serve, "_run", lambda app, listener: None)
    return []


def start(
    store: Store | None, folder: Path, seen: list[str], wanted: Wanted = WANTED, **changed: object
) -> None:
    serve(
        wanted,
        review(folder, **changed),
        database=store.database if store else None,
        store=ArtifactStore(folder / "artifacts"),
        say=seen.append,
    )


def test_it_says_what_there_is_to_rate_where_votes_go_and_where_the_page_is(
    sqlite: Store, tmp_path: Path, seen: list[str]
) -> None:
    fill(sqlite, tmp_path / "pictures")
    rate(sqlite, (3, 2, "ben"))
    start(sqlite, tmp_path, seen)
    start(sqlite, tmp_path, seen)
    first, second, third, *again = seen
    assert first == "queue: 2 of 3 to rate, as anna"
    assert second.startswith("Votes go to webcam_snapshot_ratings of the SQLite database")
    assert re.fullmatch(r"Open http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", third)
    assert third.split("=")[1] == again[-1].split("=")[1], "an open page goes on after a restart"
    assert (tmp_path / "journal" / "token").stat().st_mode & 0o077 == 0


def test_a_port_or_a_journal_that_is_in_use_is_named(
    sqlite: Store, tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite, tmp_path / "pictures")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WebcamMLError, match=rf"port {port} .* choose another with --port"):
            start(sqlite, tmp_path, seen, port=port)

    def meanwhile(app: object, listener: object) -> None:
        with pytest.raises(WebcamMLError, match="another webcam-ml review uses the journals"):
            start(sqlite, tmp_path, seen)

    monkeypatch.setattr(_serve, "_run", meanwhile)
    start(sqlite, tmp_path, seen)


def test_votes_that_wait_for_somebody_else_are_told(
    sqlite: Store, tmp_path: Path, seen: list[str]
) -> None:
    fill(sqlite, tmp_path / "pictures")
    (tmp_path / "journal").mkdir()
    other = tmp_path / "journal" / "other.jsonl"
    other.write_text(
        '{"journal": 1}\n{"id": "vote-0001", "at": "x", "snapshot_id": 1, "vote": "1"}\n'
    )
    start(sqlite, tmp_path, seen)
    assert seen[0].startswith(f"1 votes wait in {other}")


def test_without_a_database_a_list_with_pictures_is_rated_into_a_file(
    tmp_path: Path, seen: list[str]
) -> None:
    wanted = Wanted("list", [7, 3], ByCurator("anna"), images={7: "/7.jpg", 3: "/3.jpg"})
    (tmp_path / "votes.csv").write_text("snapshot_id,vote,curator\n3,2,anna\n7,2,ben\n")
    start(None, tmp_path, seen, wanted, export=tmp_path / "votes.csv")
    assert seen[0] == "list: 1 of 2 to rate, as anna"
    assert seen[1] == f"Votes go to the file {tmp_path}/votes.csv"


def name_of(url: str) -> str:
    return re.findall(r"/(test_\d+)\?", url)[0]


@pytest.mark.parametrize("is_old", [False, True], ids=["today", "an older database"])
def test_the_role_may_vote_and_no_more(
    postgres_server: PostgresServer,
    postgres_url: str,
    tmp_path: Path,
    seen: list[str],
    is_old: bool,
) -> None:
    from webcam_ml_tests.label_schema import create_schema
    from webcam_ml_tests.review.conftest import VERDICT

    owner = Store(postgres_url)
    create_schema(owner.engine)
    if is_old:
        owner.execute("DROP TABLE snapshot_ai_inferences")
    else:
        owner.execute(VERDICT)
        add_gold(owner)
    fill(owner, tmp_path / "pictures")
    rate(owner, (1, 2, "ben"))
    with postgres_server.role("rater", name_of(postgres_url)) as url:
        rater = Store(url)
        start(rater, tmp_path, seen)
        if not is_old:
            start(rater, tmp_path, seen, gold=True)
        for statement in (
            "UPDATE webcam_snapshots SET calculated_rating = 5",
            "DELETE FROM webcams",
            "INSERT INTO webcams (id) VALUES (99)",
            "TRUNCATE webcam_snapshot_ratings",
            "CREATE TABLE mine (id int)",
            *([] if is_old else ["DELETE FROM snapshot_ai_inferences"]),
        ):
            with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"):
                rater.execute(statement)
    assert seen[0] == "queue: 3 of 3 to rate, as anna"
    assert rows_of(owner) == [(1, "ben")], "a start leaves nothing behind"


def rows_of(store: Store) -> list[tuple[int, str]]:
    with store.engine.connect() as connection:
        found = connection.execute(
            sa.text("SELECT snapshot_id, user_session_id FROM webcam_snapshot_ratings")
        )
        return [(row[0], row[1]) for row in found]


@pytest.mark.parametrize(
    "without",
    [
        "REVOKE INSERT ON webcam_snapshot_ratings FROM webcam_ml_rater",
        "REVOKE DELETE ON webcam_snapshot_ratings FROM webcam_ml_rater",
        "REVOKE USAGE ON SEQUENCE webcam_snapshot_ratings_id_seq FROM webcam_ml_rater",
    ],
)
def test_a_role_that_may_not_vote_is_told_before_the_first_picture(
    postgres_server: PostgresServer,
    postgres_url: str,
    tmp_path: Path,
    seen: list[str],
    without: str,
) -> None:
    from webcam_ml_tests.label_schema import create_schema

    owner = Store(postgres_url)
    create_schema(owner.engine)
    fill(owner, tmp_path / "pictures")
    with postgres_server.role("rater", name_of(postgres_url), without) as url:
        with pytest.raises(LabelDatabaseError, match="permission denied") as told:
            start(Store(url), tmp_path, seen)
        assert "--export votes.csv" in str(told.value)
        assert "label_rater.sql" in str(told.value) or "sequence" in str(told.value)
        start(Store(url), tmp_path, seen, export=tmp_path / "votes.csv")
    assert seen[0] == "queue: 3 of 3 to rate, as anna"


def store_queue(folder: Path, asset: str, files: dict[str, bytes]) -> ArtifactStore:
    class Files:
        def save(self, to: Path) -> None:
            for name, content in files.items():
                (to / name).write_bytes(content)

        @classmethod
        def load(cls, folder: Path) -> "Files":
            return cls()

    store = ArtifactStore(folder / "artifacts")
    store.write(asset, Files(), inputs={}, provenance=Provenance(run_id="a-run"))
    return store


def test_the_rating_queue_is_rated_as_it_is_stored(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissingError, match="no rating_queue yet"):
        _wanted.from_rating_queue(ArtifactStore(tmp_path / "artifacts"))
    text = (
        "snapshot_id,webcam_id,split,picked_by,reason\n"
        '9,4,train,uncertain,"undecided, and little is rated"\n2,5,test,random,by lot\n'
    )
    store = store_queue(tmp_path, "rating_queue", {"rating_queue.csv": text.encode()})
    wanted = _wanted.from_rating_queue(store)
    assert wanted.snapshot_ids == [9, 2]
    assert wanted.webcam_ids == {9: 4, 2: 5}
    assert wanted.rule == ByAnybody()
    assert wanted.notes == {9: "uncertain: undecided, and little is rated", 2: "random: by lot"}


def test_the_relabel_queue_is_rated_again_from_the_time_of_its_report_on(tmp_path: Path) -> None:
    columns = {name: [None, None] for name in RELABEL_QUEUE_TABLE.names}
    frame = pl.DataFrame(
        columns
        | {"snapshot_id": [9, 2], "webcam_id": [4, 5], "image_path_or_url": ["=1", "/2.jpg"]},
        schema=RELABEL_QUEUE_TABLE.schema,
    )
    RELABEL_QUEUE_TABLE.write(frame, tmp_path / "queue.csv")
    content = (tmp_path / "queue.csv").read_bytes()
    store = store_queue(tmp_path, "disagreement_report", {"relabel_queue.csv": content})
    wanted = _wanted.from_relabel_queue(store)
    assert wanted.snapshot_ids == [9, 2]
    assert wanted.images == {9: "=1", 2: "/2.jpg"}
    assert isinstance(wanted.rule, ByAnybody)
    made = store.latest("disagreement_report").lineage.created_at
    assert wanted.rule.since == made[:19].replace("T", " ")


def test_conflicts_of_judges_are_rated_from_the_time_of_their_queue_on(tmp_path: Path) -> None:
    text = 'snapshot_id,webcam_id,reason\n9,4,"people say 1.0, good says 4.0"\n2,5,\n'
    files = {"rating_queue.csv": b"snapshot_id\n", "judge_conflicts.csv": text.encode()}
    store = store_queue(tmp_path, "rating_queue", files)
    wanted = _wanted.from_judge_conflicts(store)
    assert wanted.snapshot_ids == [9, 2]
    assert wanted.notes == {9: "people say 1.0, good says 4.0"}
    made = store.latest("rating_queue").lineage.created_at
    assert wanted.rule == ByAnybody(since=made[:19].replace("T", " "))
    alone = store_queue(tmp_path / "b", "rating_queue", {"rating_queue.csv": b"snapshot_id\n"})
    with pytest.raises(WebcamMLError, match=r"hear no judges\. Set label_source: all_judges"):
        _wanted.from_judge_conflicts(alone)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--relabel", "--webcam", "3"], "name one list"),
        (["--relabel", "--conflicts"], "name one list"),
        (["list.csv", "--ids", "3"], "name one list"),
        (["--gold", "--export", "votes.csv"], "where the file is imported"),
        (["--export", "votes.csv", "--ids", "3"], "need DATABASE_URL"),
        (["--export", "votes.csv", "list.csv"], "no column image_path_or_url"),
        (["list.csv"], "DATABASE_URL is not set"),
        (["none.csv", "--export", "votes.csv"], "none.csv cannot be read: No such file"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    refusal: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "list.csv").write_text("snapshot_id\n7\n")
    assert main(["review", *arguments]) == 1
    assert refusal in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ids", "7", "9223372036854775808"],
        ["--ids", "x"],
        ["--webcam", "9" * 30],
        ["--port", "99999"],
        ["--port=-1"],
    ],
)
def test_a_number_that_cannot_be_is_refused_with_the_range(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["review", *arguments])
    assert "is no whole number from 0 to " in capsys.readouterr().err


def test_an_id_beyond_what_a_column_holds_is_of_no_snapshot(
    store: Store, tmp_path: Path, seen: list[str]
) -> None:
    fill(store, tmp_path / "pictures")
    add_gold(store)
    wanted = _wanted.from_ids([7, 2**40, 2**63 - 1], curator="anna")
    start(store, tmp_path, seen, wanted, gold=True)
    assert seen[0] == "3 snapshots: 1 of 3 to rate, as anna"
    with pytest.raises(WebcamMLError, match="no snapshot of a webcam 9223372036854775807"):
        _wanted.from_webcam(store.database, 2**63 - 1, curator="anna")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256])
def test_a_curator_has_a_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["review", "--curator", name])
    assert "a name has 1 to 255 characters" in capsys.readouterr().err


def test_importing_says_what_it_would_do_then_what_it_did(
    sqlite: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(sqlite, tmp_path / "pictures", frames=30)
    rate(sqlite, *((id, 1, "anna") for id in range(1, 13)))
    path = tmp_path / "votes.csv"
    path.write_text("snapshot_id,vote,curator\n" + "".join(f"{id},3,anna\n" for id in range(1, 16)))
    monkeypatch.setenv("DATABASE_URL", sqlite.url)
    sqlite.execute("UPDATE webcam_snapshot_ratings SET is_sunset_verdict = true")
    assert main(["import-votes", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["3 new, 12 changed, 0 as they are", "  snapshot 1, anna: 1 → 3"]
    assert lines[-2:] == ["  and 2 more", "Nothing was written; --apply does it."]
    assert ratings(sqlite) == dict.fromkeys(range(1, 13), "1")
    assert main(["import-votes", str(path), "--apply"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Written."
    assert ratings(sqlite) == dict.fromkeys(range(1, 16), "3")


def test_naming_the_commands_loads_no_server() -> None:
    script = (
        "import sys; import webcam_ml.cli; "
        "print([n for n in ('starlette', 'uvicorn', 'jinja2', 'polars', 'sqlalchemy') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
