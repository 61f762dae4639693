"""Making demos: on SQLite and PostgreSQL, twice, larger, interrupted, and over what is not one."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from webcam_ml.demo import make_demo_data
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.review._destinations import database_votes
from webcam_ml.review._journal import SAVED, Cast, Journal, Undo
from webcam_ml_tests import label_schema
from webcam_ml_tests.postgres import any_text

SMALL = {"webcams": 10, "snapshots": 40, "image_width": 64}
TABLES = (
    "webcams",
    "webcam_snapshots",
    "webcam_snapshot_ratings",
    "snapshot_ai_inferences",
    "webcam_ml_demo",
)


def connect(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.NullPool)


def rows_of(
    url: str, folder: Path, more: tuple[str, ...] = ()
) -> dict[str, list[tuple[object, ...]]]:
    """All rows, as text, with the folder of the pictures left out."""
    found = {}
    with connect(url).connect() as connection:
        for table in (*TABLES, *more):
            content = sa.Table(table, sa.MetaData(), autoload_with=connection)
            # Filled in by the database, with the time of the insert.
            columns = [c for c in content.columns if (table, c.name) != ("webcams", "created_at")]
            rows = connection.execute(sa.select(*columns)).all()
            found[table] = sorted(
                tuple(plain(value).replace(str(folder), "") for value in row) for row in rows
            )
    return found


def plain(value: object) -> str:
    """One spelling for what the two databases return in several."""
    if isinstance(value, datetime):
        offset = value.utcoffset()  # PostgreSQL's; SQLite keeps UTC without saying so
        return str(value.replace(tzinfo=None) - offset if offset is not None else value)
    if isinstance(value, int | float | Decimal):
        return str(float(value))
    return str(value)


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'labels.sqlite'}"


def test_equal_options_give_equal_rows_and_pictures(tmp_path):
    for name in ("one", "two"):
        make_demo_data(tmp_path / name, **SMALL)
    one, two = tmp_path / "one", tmp_path / "two"
    assert pictures(one) == pictures(two)
    assert rows_of(sqlite(one), one) == rows_of(sqlite(two), two)


def test_postgresql_gets_the_same_rows_as_sqlite(tmp_path, postgres_url):
    folder = tmp_path / "demo"
    make_demo_data(folder, **SMALL)
    summary = make_demo_data(
        folder, database_url=postgres_url.replace("postgresql://", "postgres://"), **SMALL
    )
    assert summary.outcome == "made"
    assert summary.pictures_drawn == 0
    assert rows_of(postgres_url, folder) == rows_of(sqlite(folder), folder)


def test_a_server_that_keeps_any_bytes_gets_the_same_rows(tmp_path, postgres_server):
    with any_text(postgres_server) as url:
        make_demo_data(tmp_path / "küste", database_url=url, **SMALL)
        from_server = read_labels(LabelDatabase(url), LabelQuery())
    make_demo_data(tmp_path / "küste", **SMALL)
    from_file = read_labels(LabelDatabase(sqlite(tmp_path / "küste")), LabelQuery())
    assert from_server.frame.equals(from_file.frame)


def test_the_label_reader_reads_a_demo(tmp_path):
    summary = make_demo_data(tmp_path / "demo", **SMALL)
    labels = read_labels(LabelDatabase(sqlite(tmp_path / "demo")), LabelQuery())
    assert labels.frame.height == summary.rated_snapshots == SMALL["snapshots"]
    paths = [Path(path) for path in labels.frame["image_path_or_url"]]
    assert all(path.is_absolute() for path in paths)
    assert sum(not path.exists() for path in paths) == 1  # the dead image


def test_once_more_is_a_no_op_and_says_so(tmp_path):
    first = make_demo_data(tmp_path, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    database = (tmp_path / "labels.sqlite").read_bytes()
    again = make_demo_data(tmp_path, **SMALL)
    assert (first.outcome, again.outcome) == ("made", "unchanged")
    assert again.pictures_drawn == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "labels.sqlite").read_bytes() == database
    assert asdict(again) | {"outcome": "made", "pictures_drawn": first.pictures_drawn} == asdict(
        first
    )


def test_a_missing_picture_is_drawn_again(tmp_path):
    make_demo_data(tmp_path, **SMALL)
    before = pictures(tmp_path)
    (tmp_path / "images" / "000002.jpg").unlink()
    assert make_demo_data(tmp_path, **SMALL).pictures_drawn == 1
    assert pictures(tmp_path) == before


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_demo_grows_into_the_one_that_had_been_larger_from_the_start(tmp_path, request, dialect):
    grown, large = tmp_path / "grown", tmp_path / "large"
    more = SMALL | {"snapshots": 46}
    url = sqlite(grown) if dialect == "sqlite" else request.getfixturevalue("postgres_url")
    make_demo_data(grown, database_url=url, **SMALL)
    before = pictures(grown)
    summary = make_demo_data(grown, database_url=url, **more)
    make_demo_data(large, **more)
    assert summary.outcome == "extended"
    assert summary.pictures_drawn == len(pictures(grown)) - len(before) > 0
    assert before.items() <= pictures(grown).items()
    assert pictures(grown) == pictures(large)
    assert rows_of(url, grown) == rows_of(sqlite(large), large)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"webcams": 11}, "webcams"),
        ({"raters_per_snapshot": 2.0}, "raters_per_snapshot"),
        ({"unrated_fraction": 0.5}, "unrated_fraction"),
        ({"image_width": 80}, "image_width"),
        ({"snapshots": 39}, "snapshots"),
    ],
)
def test_other_options_on_the_same_folder_are_refused_by_name(tmp_path, change, named):
    make_demo_data(tmp_path, **SMALL)
    before = pictures(tmp_path), (tmp_path / "labels.sqlite").read_bytes()
    with pytest.raises(WebcamMLError, match=rf"{named} .*asked for.*folder"):
        make_demo_data(tmp_path, **SMALL | change)
    assert (pictures(tmp_path), (tmp_path / "labels.sqlite").read_bytes()) == before


def test_a_demo_whose_pictures_are_elsewhere_is_refused(tmp_path):
    make_demo_data(tmp_path / "here", **SMALL)
    url = sqlite(tmp_path / "here")
    with pytest.raises(WebcamMLError, match=r"pictures in .*here.*asked for: .*there"):
        make_demo_data(tmp_path / "there", database_url=url, **SMALL)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_labels_that_are_not_a_demo_are_left_alone(tmp_path, request, dialect):
    url = f"sqlite:///{tmp_path / 'real.sqlite'}"
    if dialect == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = connect(url)
    label_schema.create_schema(engine)
    label_schema.insert_rows(engine, label_schema.plain_rows())
    with pytest.raises(WebcamMLError, match=r"webcam_snapshots.*not a\s+demo's"):
        make_demo_data(tmp_path / "demo", database_url=url, **SMALL)
    assert not (tmp_path / "demo" / "images").exists()
    with engine.connect() as connection:
        count = connection.scalar(sa.text("SELECT COUNT(*) FROM webcam_snapshots"))
    assert count == len(label_schema.plain_rows().snapshots)
    assert "webcam_ml_demo" not in sa.inspect(engine).get_table_names()


def test_pictures_that_no_demo_made_are_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "000001.jpg").write_bytes(b"grandmother")
    with pytest.raises(WebcamMLError, match=r"images has files.*--folder"):
        make_demo_data(tmp_path, **SMALL)
    assert pictures(tmp_path) == {"000001.jpg": b"grandmother"}


def test_a_password_is_never_shown(tmp_path):
    url = "postgresql://someone:Sesame%21@127.0.0.1:1/nowhere"
    with pytest.raises(WebcamMLError, match="nowhere") as caught:
        make_demo_data(tmp_path, database_url=url, **SMALL)
    assert "Sesame" not in str(caught.value)


def test_a_killed_run_can_be_run_again(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    make_demo_data(whole, **SMALL)
    code = (
        "import sys; from pathlib import Path; from webcam_ml.demo import make_demo_data; "
        f"make_demo_data(Path(sys.argv[1]), **{SMALL!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(killed)])
    images = killed / "images"
    while not (images.exists() and any(images.glob("*.jpg"))) and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    make_demo_data(killed, **SMALL)
    assert pictures(whole).items() <= pictures(killed).items()
    assert rows_of(sqlite(killed), killed) == rows_of(sqlite(whole), whole)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_database_keeps_the_applications_rules(tmp_path, request, dialect):
    url = sqlite(tmp_path)
    if dialect == "postgresql":
        url = request.getfixturevalue("postgres_url")
    make_demo_data(tmp_path, database_url=url, **SMALL)
    vote = "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) VALUES "
    engine = connect(url)

    def run(statement: str) -> None:
        with engine.begin() as connection:
            if dialect == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            connection.exec_driver_sql(statement)

    run(f"{vote} (1, 'new', 5)")
    run(f"{vote} (1, 'undecided', NULL)")
    for bad in ("(1, 'new', 4)", "(1, 'other', 6)", "(99999, 'other', 3)"):
        with pytest.raises(sa.exc.IntegrityError):
            run(f"{vote} {bad}")
    run("DELETE FROM webcam_snapshots WHERE id = 12")
    with engine.connect() as connection:
        for table in ("webcam_snapshot_ratings", "snapshot_ai_inferences"):
            left = f"SELECT COUNT(*) FROM {table} WHERE snapshot_id = 12"
            assert connection.scalar(sa.text(left)) == 0


def test_a_vote_of_review_renews_the_average_of_its_snapshot_and_an_undo_too(tmp_path):
    """As the application does, which is not beside a demo; what was drawn stays."""
    demo = make_demo_data(tmp_path, **SMALL)
    averages = sa.text("SELECT id, calculated_rating FROM webcam_snapshots ORDER BY id")
    with connect(demo.database).connect() as connection:
        before = dict(connection.execute(averages).all())
    new = next(one for one, average in before.items() if average is None)
    journal = Journal(tmp_path / "journal.jsonl", about={})
    for curator, vote, average in (("a", "4", 4), ("b", "1", 2.5), ("c", "5", 3.33)):
        places = database_votes(LabelDatabase(demo.database), curator=curator, gold=False)
        cast = Cast(f"vote-{curator}", "2026-02-12T10:15:00.000+00:00", new, vote)
        journal.add([cast])
        journal.settle(cast.id, places.put(cast, journal))
        with connect(demo.database).connect() as connection:
            assert dict(connection.execute(averages).all()) == before | {new: average}
    undo = Undo("undo-c", "2026-02-12T10:16:00.000+00:00", "vote-c")
    journal.add([undo])
    assert places.take_back(undo, journal) == SAVED
    with connect(demo.database).connect() as connection:
        assert dict(connection.execute(averages).all()) == before | {new: 2.5}
