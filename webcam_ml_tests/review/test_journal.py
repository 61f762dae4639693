"""The journal: what was confirmed is there after any end of the process, and once."""

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from webcam_ml.review._journal import (
    GONE,
    SAVED,
    Cast,
    Journal,
    JournalError,
    Undo,
    votes_an_hour,
    waiting_in_other_journals,
)

AT = "2026-02-12T10:15:00.000+00:00"
ABOUT = {"curator": "anna"}


def cast(name: str, snapshot_id: int = 1, vote: str = "4", at: str = AT) -> Cast:
    return Cast(name, at, snapshot_id, vote)


def opened(path: Path) -> Journal:
    return Journal(path, about=ABOUT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "votes.jsonl"


def test_what_was_added_is_there_when_it_is_opened_again(path: Path) -> None:
    journal = opened(path)
    journal.add([cast("vote-1"), cast("vote-2", 2, "N"), Undo("undo-1", AT, "vote-1")])
    journal.note_found("vote-1", {"rating": 3, "created_at": "2026-01-01 00:00:00"})
    journal.note_found("vote-2", None)
    journal.settle("vote-1", SAVED)
    again = opened(path)
    assert again.entries() == journal.entries()
    assert [entry.id for entry in again.waiting()] == ["vote-2", "undo-1"]
    assert again.found("vote-1") == {"rating": 3, "created_at": "2026-01-01 00:00:00"}
    assert again.has_found("vote-2")
    assert again.found("vote-2") is None
    assert again.outcome("vote-1") == SAVED
    assert again.latest_vote(1) is None
    assert again.latest_vote(2) == cast("vote-2", 2, "N")


def test_an_entry_that_is_sent_twice_is_kept_once(path: Path) -> None:
    journal = opened(path)
    journal.add([cast("vote-1"), cast("vote-1")])
    journal.settle("vote-1", SAVED)
    journal.add([cast("vote-1", vote="1"), cast("vote-2")])
    assert journal.entries() == [cast("vote-1"), cast("vote-2")]
    assert [entry.id for entry in journal.waiting()] == ["vote-2"]
    assert opened(path).entries() == journal.entries()


def test_a_file_that_was_cut_anywhere_holds_what_was_whole_and_goes_on(path: Path) -> None:
    journal = opened(path)
    journal.add([cast("vote-1")])
    journal.add([cast("vote-2", 2)])
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        again = opened(path)
        kept = max(whole[:length].count(b"\n") - 1, 0)
        assert [entry.id for entry in again.entries()] == ["vote-1", "vote-2"][:kept]
        again.add([cast("vote-3")])
        assert opened(path).entries()[-1] == cast("vote-3")
        again.close()


def test_a_damaged_line_is_named_and_nothing_is_changed(path: Path) -> None:
    opened(path).add([cast("vote-1"), cast("vote-2")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{nonsense}\n", lines[2]]))
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"votes\.jsonl is no journal .* line 2 "):
        opened(path)
    assert path.read_bytes() == before


def test_a_later_format_is_refused(path: Path) -> None:
    path.write_text(json.dumps({"journal": 2}) + "\n")
    with pytest.raises(JournalError, match="format 2, not 1"):
        opened(path)


def test_only_votes_of_the_journal_can_be_taken_back(path: Path) -> None:
    journal = opened(path)
    with pytest.raises(ValueError, match="vote-1 is no vote"):
        journal.add([cast("vote-0"), Undo("undo-1", AT, "vote-1")])
    assert journal.entries() == []
    journal.add([cast("vote-1"), Undo("undo-1", AT, "vote-1")])
    with pytest.raises(ValueError, match="undo-1 is no vote"):
        journal.add([Undo("undo-2", AT, "undo-1")])


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """A limit on the size of files ends a write in its middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_nothing_of_what_it_refuses_and_goes_on_when_there_is_room(
    path: Path,
) -> None:
    journal = opened(path)
    journal.add([cast("vote-1")])
    before = path.read_bytes()
    with disk_of(len(before) + 20), pytest.raises(JournalError, match="cannot be written"):
        journal.add([cast("vote-2")])
    assert path.read_bytes() == before
    assert journal.entries() == [cast("vote-1")]
    journal.add([cast("vote-2")])
    assert opened(path).entries() == [cast("vote-1"), cast("vote-2")]


def test_a_vote_that_was_taken_back_leaves_the_one_before(path: Path) -> None:
    journal = opened(path)
    journal.add([cast("vote-1", vote="2"), cast("vote-2", vote="5")])
    assert journal.latest_vote(1) == cast("vote-2", vote="5")
    journal.add([Undo("undo-1", AT, "vote-2")])
    assert journal.latest_vote(1) == cast("vote-1", vote="2")


def test_votes_that_wait_elsewhere_are_counted(tmp_path: Path) -> None:
    here, done, left = (tmp_path / f"{name}.jsonl" for name in ("here", "done", "left"))
    for path in (here, done, left):
        journal = opened(path)
        journal.add([cast("vote-1"), cast("vote-2")])
        journal.settle("vote-1", GONE)
        if path == done:
            journal.settle("vote-2", SAVED)
    left.write_bytes(left.read_bytes() + b'{"id": "vote-')
    assert waiting_in_other_journals(tmp_path, here) == {left: 1}


def test_the_pace_is_that_of_this_sitting() -> None:
    start = datetime(2026, 2, 12, 10, tzinfo=UTC)
    times = [*range(0, 100, 10), *range(10_000, 10_200, 20)]
    entries = [
        cast(f"vote-{place}", at=(start + timedelta(seconds=second)).isoformat())
        for place, second in enumerate(times)
    ]
    soon, late = (start + timedelta(seconds=second) for second in (10_190, 99_999))
    assert votes_an_hour(entries, now=soon, pause=600) == pytest.approx(180)
    assert votes_an_hour(entries, now=late, pause=600) is None
    assert votes_an_hour(entries[:10], now=start + timedelta(seconds=90), pause=600) == 360
    assert votes_an_hour(entries[:2], now=start, pause=600) is None
    assert votes_an_hour([], now=start, pause=600) is None
