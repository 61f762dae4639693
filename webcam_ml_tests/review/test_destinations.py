"""Votes in the database and in a file: equal to what was pressed, whatever is killed in between."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, read_dated_votes
from webcam_ml.review._destinations import Destination, database_votes
from webcam_ml.review._frames import DatabaseFrames
from webcam_ml.review._journal import CHANGED, GONE, SAVED, Cast, Journal, Outcome, Row, Undo
from webcam_ml.review._votes import RUBRIC, Vote
from webcam_ml.review._votes_file import FileVotes, read_votes
from webcam_ml.review._wanted import ByAnybody
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.review.conftest import add_gold, fill, gold, rate, ratings, rows

AT = "2026-02-12T10:15:00.000+00:00"
numbers = itertools.count(1)


class Killed(BaseException):
    """The process ends here."""


class FragileJournal(Journal):
    """A journal whose process is killed when it is about to write, the next time or the one after."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, about={})
        self.writes_left: int | None = None

    def note_found(self, vote_id: str, row: Row | None) -> None:
        self._count_down()
        super().note_found(vote_id, row)
        self._count_down()

    def settle(self, entry_id: str, outcome: Outcome) -> None:
        self._count_down()
        super().settle(entry_id, outcome)

    def _count_down(self) -> None:
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left < 0:
                raise Killed


class Desk:
    """A journal and where its votes go; killed and started again at will."""

    def __init__(self, path: Path, destination: Callable[[], Destination]) -> None:
        self._path = path
        self._destination = destination
        self._start()

    def _start(self) -> None:
        self.journal = FragileJournal(self._path)
        self.destination = self._destination()

    def vote(self, snapshot_id: int, vote: Vote) -> str:
        name = f"vote-{next(numbers)}"
        self.journal.add([Cast(name, AT, snapshot_id, vote)])
        return name

    def undo(self, vote_id: str) -> str:
        name = f"undo-{next(numbers)}"
        self.journal.add([Undo(name, AT, vote_id)])
        return name

    def write(self, *, killed_after: int | None = None) -> None:
        """Write what waits; with a number, be killed at the write after so many, and start again."""
        self.journal.writes_left = killed_after
        try:
            for entry in self.journal.waiting():
                put = self.destination
                outcome = (
                    put.put(entry, self.journal)
                    if isinstance(entry, Cast)
                    else put.take_back(entry, self.journal)
                )
                self.journal.settle(entry.id, outcome)
        except Killed:
            self.journal.close()
            self._start()
            self.write()
        self.journal.writes_left = None


def ratings_desk(store: Store, tmp_path: Path, curator: str = "anna") -> Desk:
    return Desk(
        tmp_path / f"{curator}.jsonl",
        lambda: database_votes(store.database, curator=curator, gold=False),
    )


def play(desk: Desk, expected: dict[int, str], *, steps: int, rng: random.Random) -> None:
    """Vote, vote again and take back at random, with kills in between; `expected` follows in Python."""
    done: list[tuple[str, int, str | None]] = []
    for _ in range(steps):
        if done and rng.random() < 0.3:
            name, snapshot_id, before = done.pop()
            desk.undo(name)
            if before is None:
                del expected[snapshot_id]
            else:
                expected[snapshot_id] = before
        else:
            snapshot_id, vote = rng.randint(1, 8), rng.choice(list(RUBRIC))
            done.append((desk.vote(snapshot_id, vote), snapshot_id, expected.get(snapshot_id)))
            expected[snapshot_id] = vote
        if rng.random() < 0.7:
            desk.write(killed_after=rng.choice([None, 0, 1, 2, 3]))
    desk.write()


@pytest.mark.parametrize("seed", range(3))
def test_the_database_has_what_was_pressed_wherever_the_process_is_killed(
    store: Store, tmp_path: Path, seed: int
) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (1, 3, "ben"), (2, 2, "anna"), (3, 5, "anna"))
    expected = {2: "2", 3: "5"}
    play(ratings_desk(store, tmp_path), expected, steps=25, rng=random.Random(seed))
    assert ratings(store, "anna") == expected
    assert ratings(store, "ben") == {1: "3"}


def test_gold_labels_are_what_was_pressed_wherever_the_process_is_killed(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    add_gold(store)
    desk = Desk(
        tmp_path / "gold.jsonl", lambda: database_votes(store.database, curator="anna", gold=True)
    )
    expected: dict[int, str] = {}
    play(desk, expected, steps=25, rng=random.Random(7))
    assert gold(store) == expected
    assert ratings(store) == {}
    query = "SELECT DISTINCT source, origin FROM manual_labels"
    assert rows(store, query) == [("webcam", "webcam-ml")]


def test_a_file_has_what_was_pressed_wherever_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("snapshot_id,vote,curator\n3,2,ben\n4,5,anna\n")
    desk = Desk(tmp_path / "votes.jsonl", lambda: FileVotes(path, curator="anna"))
    expected = {4: "5"}
    play(desk, expected, steps=40, rng=random.Random(3))
    found = read_votes(path)
    assert {one.snapshot_id: one.vote for one in found if one.curator == "anna"} == expected
    assert [one.vote for one in found if one.curator == "ben"] == ["2"]


def whole_rows(store: Store) -> list[Mapping[str, Any]]:
    query = "SELECT * FROM webcam_snapshot_ratings ORDER BY snapshot_id, user_session_id"
    return [dict(row._mapping) for row in rows(store, query)]


def test_an_undo_restores_the_earlier_row_with_its_time(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (1, 2, "anna"))
    store.execute("UPDATE webcam_snapshot_ratings SET created_at = '2026-01-05 06:07:08'")
    before = whole_rows(store)
    desk = ratings_desk(store, tmp_path)
    names = [desk.vote(1, "5"), desk.vote(1, "N"), desk.vote(2, "1")]
    desk.write()
    assert str(whole_rows(store)[0]["created_at"]) > "2026-01-06", "a vote is of now"
    for name in reversed(names):
        desk.undo(name)
    desk.write()
    assert whole_rows(store) == before


def test_a_vote_that_was_changed_elsewhere_is_not_taken_back(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    desk = ratings_desk(store, tmp_path)
    name = desk.vote(1, "5")
    desk.write()
    store.execute("UPDATE webcam_snapshot_ratings SET rating = 2")
    undo = desk.undo(name)
    desk.write()
    assert desk.journal.outcome(undo) == CHANGED
    assert ratings(store) == {1: "2"}


def test_a_vote_on_a_deleted_snapshot_ends_and_those_after_it_go_on(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    desk = ratings_desk(store, tmp_path)
    first, second = desk.vote(1, "5"), desk.vote(2, "4")
    undo = desk.undo(first)
    store.execute("DELETE FROM webcam_snapshots WHERE id = 1")
    desk.write()
    assert [desk.journal.outcome(one) for one in (first, second, undo)] == [GONE, SAVED, GONE]
    assert ratings(store) == {2: "4"}


def test_without_a_column_for_it_there_is_no_n_and_stars_are_plain(
    store: Store, tmp_path: Path
) -> None:
    store.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN is_sunset_verdict")
    fill(store, tmp_path / "pictures")
    desk = ratings_desk(store, tmp_path)
    assert "no column is_sunset_verdict" in str(desk.destination.why_no_n)
    desk.vote(1, "4")
    desk.undo(desk.vote(1, "5"))
    desk.write()
    assert rows(store, "SELECT snapshot_id, rating FROM webcam_snapshot_ratings") == [(1, 4)]


def test_gold_finds_its_image_by_number_or_by_text(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path / "pictures")
    add_gold(store, image_id="text")
    store.execute(
        "INSERT INTO manual_labels (source, image_id, is_sunset, rating) VALUES ('flickr', '3', true, 5)"
    )
    desk = Desk(
        tmp_path / "gold.jsonl", lambda: database_votes(store.database, curator="anna", gold=True)
    )
    desk.vote(3, "2")
    desk.write()
    desk.vote(3, "N")
    desk.write()
    assert gold(store) == {3: "N"}
    query = "SELECT rating FROM manual_labels WHERE source = 'flickr'"
    assert rows(store, query) == [(5,)]


def test_gold_needs_its_table(store: Store) -> None:
    with pytest.raises(LabelDatabaseError, match="no table manual_labels"):
        database_votes(store.database, curator="anna", gold=True)


def test_the_rehearsal_leaves_nothing(store: Store, tmp_path: Path) -> None:
    database_votes(store.database, curator="anna", gold=False).rehearse()
    fill(store, tmp_path / "pictures")
    rate(store, *((id, 3, "anna") for id in range(1, 13)))
    before = whole_rows(store)
    database_votes(store.database, curator="anna", gold=False).rehearse()
    assert whole_rows(store) == before


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Somebody else holds the row of anna's vote on snapshot 1."""
    with store.engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(sa.text("UPDATE webcam_snapshot_ratings SET rating = 3"))
        yield
        transaction.commit()


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_vote_is_of_now_whatever_zone_the_database_has(
    store: Store, tmp_path: Path, zone: str
) -> None:
    store.execute(f"ALTER DATABASE {store.engine.url.database} SET timezone = '{zone}'")
    fill(store, tmp_path / "pictures")
    add_gold(store)
    # The time of a rating has no zone, that of gold has one.
    store.execute("ALTER TABLE manual_labels ALTER labeled_at TYPE timestamptz")
    desk = ratings_desk(store, tmp_path)
    desk.vote(1, "4")
    desk.write()
    as_gold = Desk(
        tmp_path / "gold.jsonl", lambda: database_votes(store.database, curator="anna", gold=True)
    )
    as_gold.vote(2, "5")
    as_gold.write()
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    times = read_dated_votes(store.database, [1, 2])["voted_at"]
    assert [now - minute < time < now + minute for time in times] == [True, True]

    def answered(since: datetime) -> frozenset[int]:
        rule = ByAnybody(since=f"{since:%Y-%m-%d %H:%M:%S}")
        return DatabaseFrames(store.database, rule, gold=False).look([1, 2, 3]).answered

    assert answered(now - minute) == {1, 2}
    assert answered(now + minute) == frozenset()


# SQLite has one writer at a time.
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_an_update_of_the_application_that_comes_first_is_seen(
    store: Store, tmp_path: Path
) -> None:
    fill(store, tmp_path / "pictures")
    rate(store, (1, 1, "anna"))
    impatient = LabelDatabase(f"{store.url}&options=-clock_timeout%3D100")
    desk = Desk(
        tmp_path / "anna.jsonl", lambda: database_votes(impatient, curator="anna", gold=False)
    )
    desk.vote(1, "5")
    with locked(store), pytest.raises(LabelDatabaseError, match="lock timeout"):
        desk.write()
    assert ratings(store) == {1: "3"}
    desk.write()
    assert ratings(store) == {1: "5"}
