"""Which frames are shown, in which order, and what the page is told of its votes."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.review import _wanted as lists
from webcam_ml.review._destinations import database_votes
from webcam_ml.review._frames import DatabaseFrames, Look
from webcam_ml.review._journal import SAVED, Journal, Outcome
from webcam_ml.review._pictures import NoPicture, Pictures
from webcam_ml.review._sitting import Sitting, Wish
from webcam_ml.review._wanted import ByAnybody, ByCurator, Wanted
from webcam_ml.review._writer import VoteWriter
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.review.conftest import add_gold, fill, rate, ratings


class SometimesAway(DatabaseFrames):
    """Frames of a database that goes away at will."""

    away = False

    def look(self, snapshot_ids: Sequence[int]) -> Look:
        if self.away:
            raise LabelDatabaseError("the database is away")
        return super().look(snapshot_ids)


class Room:
    """A sitting and everything around it."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        wanted: Wanted,
        *,
        gold: bool = False,
        placeholders: Sequence[str] = (),
    ) -> None:
        self.destination = database_votes(store.database, curator="anna", gold=gold)
        self.journal = Journal(folder / "journal.jsonl", about={})
        self.writer = VoteWriter(self.journal, self.destination)
        self.frames = SometimesAway(store.database, wanted.rule, gold=gold)
        self.pictures = Pictures(ImageCache(folder / "cache"), placeholders=placeholders)
        self.sitting = Sitting(
            wanted,
            frames=self.frames,
            pictures=self.pictures,
            journal=self.journal,
            writer=self.writer,
            curator="anna",
            why_no_n=self.destination.why_no_n,
            database=store.database,
        )

    def shown(self, start: int = 0, count: int = 100) -> list[int]:
        frames, _ = self.sitting.ahead(start, count)
        return [frame["snapshot_id"] for frame in frames]

    def vote(self, snapshot_id: int, vote: str = "4") -> str:
        name = f"vote-{len(self.journal.entries())}"
        self.sitting.accept([Wish(name, snapshot_id=snapshot_id, vote=vote)])
        return name

    def write(self) -> None:
        self.writer.start()
        self.writer.stop()
        assert self.writer.trouble is None
        self.writer = VoteWriter(self.journal, self.destination)


@contextmanager
def room(store: Store, folder: Path, wanted: Wanted, **options: object) -> Iterator[Room]:
    made = Room(store, folder, wanted, **options)
    with made.pictures:
        yield made
    made.journal.close()


QUEUE = Wanted("queue", [7, 3, 9, 1, 5], ByAnybody())


def test_frames_come_in_the_order_of_the_list_a_few_at_a_time(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        frames, after = made.sitting.ahead(0, 2)
        assert [(frame["place"], frame["snapshot_id"]) for frame in frames] == [(0, 7), (1, 3)]
        assert made.shown(after) == [9, 1, 5]
        assert made.sitting.ahead(5, 2) == ([], 5)
        assert set(frames[0]) == {"place", "snapshot_id", "title", "phase", "captured_at"}
        content, media_type = made.sitting.picture(7)
        assert (content, media_type) == (
            (tmp_path / "pictures" / "7.png").read_bytes(),
            "image/png",
        )
        with pytest.raises(KeyError):
            made.sitting.picture(2)


def test_what_anybody_rated_meanwhile_is_not_shown(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (3, 2, "ben"))
    add_gold(store)
    with room(store, tmp_path, QUEUE) as made:
        assert made.shown(count=1) == [7]
        rate(store, (7, 5, "ben"))
        store.execute("DELETE FROM webcam_snapshots WHERE id = 9")
        store.execute(
            "INSERT INTO manual_labels (source, image_id, is_sunset) VALUES ('webcam', 1, false),"
            " ('flickr', 5, false)"
        )
        assert made.shown() == [5]
        status = made.sitting.status()
        assert (status["total"], status["rated"], status["left"]) == (5, 3, 1)
        assert status["not_shown"] == {"deleted": 1}


def test_a_list_of_ones_own_shows_what_others_rated(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (3, 2, "ben"), (7, 2, "anna"))
    wanted = Wanted("own", QUEUE.snapshot_ids, ByCurator("anna"))
    with room(store, tmp_path, wanted) as made:
        assert made.shown() == [3, 9, 1, 5]
    add_gold(store)
    with room(store, tmp_path, wanted, gold=True) as made:
        assert made.shown() == [7, 3, 9, 1, 5], "a rating is no gold label"
        made.vote(3, "N")
        made.write()
        assert made.shown() == [7, 9, 1, 5]
    with room(store, tmp_path / "..", wanted, gold=True) as made:
        assert made.shown() == [7, 9, 1, 5]


def test_what_was_rated_before_the_report_is_rated_again_and_since_it_is_not(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, *((id, 2, "anna") for id in QUEUE.snapshot_ids))
    store.execute(
        "UPDATE webcam_snapshot_ratings SET created_at = '2026-03-01 12:00:00'",
        "UPDATE webcam_snapshot_ratings SET created_at = '2026-03-02 12:00:01' WHERE snapshot_id = 9",
    )
    wanted = Wanted("again", QUEUE.snapshot_ids, ByAnybody(since="2026-03-02 12:00:00"))
    with room(store, tmp_path, wanted) as made:
        assert made.shown() == [7, 3, 1, 5]
        made.vote(3, "5")
        made.write()
        assert made.shown() == [7, 1, 5]
    with room(store, tmp_path, wanted) as made:
        assert made.shown() == [7, 1, 5], "the database knows it after a restart"
    later = Wanted("later", QUEUE.snapshot_ids, ByAnybody(since="2099-01-01 00:00:00"))
    with room(store, tmp_path, later) as made:
        assert made.shown() == [7, 3, 9, 1, 5], "an earlier vote in the journal hides nothing"
        assert made.sitting.said(3) is None


def test_pictures_that_cannot_be_shown_are_left_out_and_counted(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    fill(store, folder)
    (folder / "7.png").unlink()
    (folder / "3.png").write_bytes(b"no picture")
    store.execute("UPDATE webcam_snapshots SET firebase_url = ' ' WHERE id = 9")
    cache = ImageCache(tmp_path / "cache")
    card = cache.store((folder / "1.png").read_bytes())
    with room(store, tmp_path, QUEUE, placeholders=[card]) as made:
        assert made.shown() == [5]
        status = made.sitting.status()
        assert status["left"] == 1
        assert sum(status["not_shown"].values()) == 4
        assert (
            status["not_shown"] | {"no_image": 1, "not_found": 1, "placeholder": 1}
            == status["not_shown"]
        )
        assert made.sitting.picture(1) == NoPicture("placeholder")


def test_where_no_picture_can_be_shown_nothing_is(sqlite: Store, tmp_path: Path) -> None:
    fill(sqlite, tmp_path / "pictures")
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    with room(sqlite, tmp_path, QUEUE) as made:
        assert made.sitting.ahead(0, 8) == ([], 5)
        status = made.sitting.status()
        assert (status["left"], status["not_shown"]) == (0, {"not_found": 5})


def test_a_database_that_is_away_stops_nobody_who_has_frames_ahead(
    sqlite: Store, tmp_path: Path
) -> None:
    fill(sqlite, tmp_path / "pictures")
    with room(sqlite, tmp_path, QUEUE) as made:
        made.frames.away = True
        with pytest.raises(LabelDatabaseError, match="away"):
            made.sitting.ahead(0, 2)
        made.frames.away = False
        assert made.shown(count=1) == [7]
        made.frames.away = True
        assert made.shown() == [7, 3, 9, 1, 5]


def test_a_vote_counts_as_rated_when_the_database_has_it(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        name = made.vote(7)
        status = made.sitting.status()
        assert (status["rated"], status["left"], status["waiting"]) == (0, 4, [name])
        assert made.shown() == [3, 9, 1, 5]
        made.write()
        status = made.sitting.status()
        assert (status["rated"], status["left"], status["waiting"]) == (1, 4, [])
        made.sitting.accept([Wish("undo-1234", undoes=name)])
        made.write()
        assert made.shown() == [7, 3, 9, 1, 5]
        assert made.sitting.status()["rated"] == 0
        assert ratings(store) == {}


def test_a_vote_that_is_saved_just_then_waits_or_counts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        name = made.vote(7)

        def outcome_before_it_is_saved(entry_id: str) -> Outcome | None:
            monkeypatch.undo()
            found = made.journal.outcome(entry_id)
            made.write()
            return found

        monkeypatch.setattr(made.journal, "outcome", outcome_before_it_is_saved)
        status = made.sitting.status()
        assert (status["rated"], status["waiting"]) == (0, [name])
        assert made.journal.outcome(name) == SAVED


def test_an_undo_that_is_sent_again_takes_back_nothing_that_was_voted_since(
    store: Store, tmp_path: Path
) -> None:
    """The server was killed before its answer, so the page sends all of it once more."""
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        undo = Wish("undo-1234", undoes=made.vote(7, "2"))
        made.sitting.accept([undo])
        made.vote(7, "5")
        made.write()
    with room(store, tmp_path, QUEUE) as made:
        made.sitting.accept([undo])
        made.write()
        status = made.sitting.status()
        assert (status["rated"], status["left"]) == (1, 4)
        assert made.shown() == [3, 9, 1, 5]
    assert ratings(store) == {7: "5"}


def test_votes_that_were_not_written_are_written_at_the_next_start(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        made.vote(7, "2")
    with room(store, tmp_path, QUEUE) as made:
        assert made.shown() == [3, 9, 1, 5]
        made.write()
        assert made.sitting.status()["rated"] == 1
    assert ratings(store) == {7: "2"}


def test_what_happened_to_a_snapshot_is_told(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    with room(store, tmp_path, QUEUE) as made:
        gone, kept = made.vote(7), made.vote(3)
        store.execute("DELETE FROM webcam_snapshots WHERE id = 7")
        made.write()
        store.execute("UPDATE webcam_snapshot_ratings SET rating = 1")
        made.sitting.accept([Wish("undo-gone", undoes=gone), Wish("undo-kept", undoes=kept)])
        made.write()
        first, second = made.sitting.status()["notices"]
        assert first["id"] == gone
        assert "Snapshot 7: it was deleted" in first["text"]
        assert second["id"] == "undo-kept"
        assert "Snapshot 3: your vote was changed elsewhere" in second["text"]


def test_n_is_refused_where_it_has_no_place(sqlite: Store, tmp_path: Path) -> None:
    sqlite.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN is_sunset_verdict")
    fill(sqlite, tmp_path / "pictures")
    with (
        room(sqlite, tmp_path, QUEUE) as made,
        pytest.raises(ValueError, match="no column is_sunset_verdict"),
    ):
        made.vote(7, "N")


def test_what_others_say_is_told_after_the_vote_alone(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    store.execute(
        "ALTER TABLE webcam_snapshots ADD COLUMN llm_model text",
        "ALTER TABLE webcam_snapshots ADD COLUMN llm_quality real",
        "UPDATE webcam_snapshots SET llm_model = 'gemini', llm_quality = 0.55 WHERE id = 7",
        "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version, ai_rating, raw_score) VALUES"
        " (7, 'binary-x', 3.25, 0.5)",
    )
    rate(store, (7, 2, "ben"), (7, 5, "zoe"))
    wanted = Wanted("own", [7, 3], ByCurator("anna"), notes={7: "uncertain: p is .5"})
    with room(store, tmp_path, wanted) as made:
        assert made.sitting.said(7) is None
        made.vote(7)
        said = made.sitting.said(7)
        assert said is not None
        assert {one.who: one.what for one in said} == {
            "2 other people": "3.5 stars",
            "gemini": "0.55 of 1",
            "binary-x": "3.2 stars",
            "the list": "uncertain: p is .5",
        }
        made.vote(3)
        assert made.sitting.said(3) == []
        frames = json.dumps(made.sitting.ahead(0, 8)) + json.dumps(made.sitting.status())
        assert "gemini" not in frames
        assert "uncertain" not in frames


def test_a_list_of_another_database_is_refused(sqlite: Store, tmp_path: Path) -> None:
    fill(sqlite, tmp_path / "pictures")
    where = {one: 1 + one % 3 for one in QUEUE.snapshot_ids}

    def begin(ids: list[int], webcams: dict[int, int]) -> None:
        with room(sqlite, tmp_path, Wanted("q", ids, ByAnybody(), webcam_ids=webcams)):
            pass

    begin([7, 3], where)
    with pytest.raises(WebcamMLError, match="q: it was made for another database: none of its 2"):
        begin([70, 30], {})
    with pytest.raises(WebcamMLError, match=r"there snapshot 3 is of webcam 9, .* of webcam 1"):
        begin([7, 3], where | {3: 9})
    with pytest.raises(WebcamMLError, match="nothing in it to rate"):
        begin([], {})


def test_a_file_gives_ids_in_its_order_with_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "snapshot_id;webcam_id;image_path_or_url;ai_rating;prediction_kind;human_rating\n"
        "5;2;/5.jpg;4.2;model;1.0\n3;;;;;\n5;2;;;;\n"
    )
    wanted = lists.from_file(path, curator="anna")
    assert wanted.snapshot_ids == [5, 3]
    assert wanted.webcam_ids == {5: 2}
    assert wanted.images == {5: "/5.jpg"}
    assert wanted.notes == {5: "model 4.2 (model), people 1.0"}
    path.write_text("snapshot_id\n5\n\nfive\n")
    with pytest.raises(WebcamMLError, match=r"list.csv, line 4: 'five' is no snapshot_id"):
        lists.from_file(path, curator="anna")


def test_a_webcam_is_rated_from_its_newest_frame_on(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    wanted = lists.from_webcam(store.database, 1, curator="anna")
    assert wanted.snapshot_ids == [12, 9, 6, 3]
    with pytest.raises(WebcamMLError, match="no snapshot of a webcam 77"):
        lists.from_webcam(store.database, 77, curator="anna")


def test_a_picture_is_shown_as_its_file_is(sqlite: Store, tmp_path: Path) -> None:
    fill(sqlite, tmp_path / "pictures")
    path = tmp_path / "pictures" / "7.png"
    Image.new("RGB", (2400, 1600), "orange").save(path, "JPEG")
    with room(sqlite, tmp_path, QUEUE) as made:
        assert made.sitting.picture(7) == (path.read_bytes(), "image/jpeg")
