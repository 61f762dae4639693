"""The journal of votes: on disk before the page hears of it, kept until the database has it.

One JSON object a line, appended and flushed to the disk:

* the first line says whose votes these are and where they go;
* ``{"id", "at", "snapshot_id", "vote"}`` is a vote, ``{"id", "at", "undoes"}`` takes one back;
* ``{"found", "row"}`` is what stood in the place of vote `found` before it was written: what an undo
  restores;
* ``{"settled", "as"}`` says that an entry needs no more work, and how it ended.

The page makes the id of an entry, so one that is sent twice is kept once. A line that a kill or a full
disk cut short was never confirmed to anybody and is removed.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from webcam_ml.errors import WebcamMLError
from webcam_ml.review._votes import Vote

Row: TypeAlias = Mapping[str, Any]
Outcome: TypeAlias = Literal["saved", "gone", "changed"]

# How an entry ended. `saved`: it is where it should be. `gone`: its snapshot was deleted. `changed`: an
# undo found another vote than the one that it should take back, and left it.
SAVED: Outcome = "saved"
GONE: Outcome = "gone"
CHANGED: Outcome = "changed"

FORMAT = 1
VOTES_THAT_MAKE_A_PACE = 5


@dataclass(frozen=True)
class Cast:
    """A vote on a snapshot.

    Attributes:
        id: The page's name for it.
        at: When the server heard of it, ISO 8601 in UTC.
    """

    id: str
    at: str
    snapshot_id: int
    vote: Vote


@dataclass(frozen=True)
class Undo:
    """A vote is taken back.

    Attributes:
        id: The page's name for it.
        at: When the server heard of it, ISO 8601 in UTC.
        undoes: The id of the vote.
    """

    id: str
    at: str
    undoes: str


Entry: TypeAlias = Cast | Undo


class JournalError(WebcamMLError):
    """The journal cannot be read or written."""


class Journal:
    """The votes of one curator for one place, kept in one file; safe to use from several threads.

    Only one process may have it open: whoever makes one holds a lock on the file's folder.

    Args:
        path: The file; made if it is not there.
        about: Whose votes these are and where they go, for people who look into the file.

    Raises:
        JournalError: The file is not a journal, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, *, about: Mapping[str, str]) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        # Those that are not settled yet, in their order.
        self._waiting: dict[str, Entry] = {}
        self._found: dict[str, Row | None] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._undone: set[str] = set()
        self._latest: dict[int, list[Cast]] = {}
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = self._read()
        except OSError as error:
            raise self._unwritable(error) from error
        if self._size == 0:
            self._append([{"journal": FORMAT, **about}])

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def add(self, entries: Sequence[Entry]) -> None:
        """Put entries on the disk; those that are there already stay as they are.

        Raises:
            JournalError: The disk is full or the file cannot be written; none of them is kept.
            ValueError: An undo is of a vote that is not in the journal.
        """
        with self._changed:
            new: dict[str, Entry] = {}
            for entry in entries:
                if entry.id in self._entries or entry.id in new:
                    continue
                if isinstance(entry, Undo):
                    undone = self._entries.get(entry.undoes) or new.get(entry.undoes)
                    if not isinstance(undone, Cast):
                        raise ValueError(f"{entry.undoes} is no vote of this journal")
                new[entry.id] = entry
            if new:
                self._append([vars(entry) for entry in new.values()])
                for entry in new.values():
                    self._keep(entry)
                self._changed.notify_all()

    def note_found(self, vote_id: str, row: Row | None) -> None:
        """Note what stood in a vote's place before it is written; None for nothing.

        Raises:
            JournalError: The file cannot be written.
        """
        with self._changed:
            self._append([{"found": vote_id, "row": None if row is None else dict(row)}])
            self._found[vote_id] = row

    def settle(self, entry_id: str, outcome: Outcome) -> None:
        """Note that an entry needs no more work.

        Raises:
            JournalError: The file cannot be written.
        """
        with self._changed:
            self._append([{"settled": entry_id, "as": outcome}])
            self._settle(entry_id, outcome)

    def has_found(self, vote_id: str) -> bool:
        """Whether it is noted what stood in a vote's place: its writing has begun at least once."""
        return vote_id in self._found

    def found(self, vote_id: str) -> Row | None:
        """Give what stood in a vote's place before it."""
        return self._found[vote_id]

    def cast(self, vote_id: str) -> Cast:
        """Give the vote with an id."""
        entry = self._entries[vote_id]
        assert isinstance(entry, Cast)
        return entry

    def outcome(self, entry_id: str) -> Outcome | None:
        """Say how an entry ended; None while it waits, or for one that is not there."""
        return self._outcomes.get(entry_id)

    def waiting(self) -> list[Entry]:
        """List the entries that are not settled yet, in their order."""
        with self._changed:
            return list(self._waiting.values())

    def wait_for_work(self, seconds: float) -> Entry | None:
        """Give the first entry that is not settled, waiting for one if there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, seconds)
            return next(iter(self._waiting.values()), None)

    def wait_until_settled(self, entry_ids: Sequence[str], seconds: float) -> None:
        """Wait until entries are settled, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting.keys().isdisjoint(entry_ids), seconds)

    def latest_vote(self, snapshot_id: int) -> Cast | None:
        """Give the last vote on a snapshot that was not taken back."""
        votes = self._latest.get(snapshot_id, [])
        return next((one for one in reversed(votes) if one.id not in self._undone), None)

    def entries(self) -> list[Entry]:
        """List all entries, in their order."""
        with self._changed:
            return list(self._entries.values())

    def _keep(self, entry: Entry) -> None:
        self._entries[entry.id] = self._waiting[entry.id] = entry
        if isinstance(entry, Cast):
            self._latest.setdefault(entry.snapshot_id, []).append(entry)
        else:
            self._undone.add(entry.undoes)

    def _settle(self, entry_id: str, outcome: Outcome) -> None:
        self._outcomes[entry_id] = outcome
        del self._waiting[entry_id]

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        data = b"".join(
            json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n" for line in lines
        )
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(0, "the disk took only a part of it")
            os.fsync(self._file)
        except OSError as error:
            # What was cut short must not stand before what comes next.
            os.ftruncate(self._file, self._size)
            raise self._unwritable(error) from error
        self._size += written

    def _read(self) -> int:
        """Read the file and give its size, without a last line that was cut short."""
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.ftruncate(self._file, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._take(json.loads(line), first=number == 1)
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(
                    f"{self.path} is no journal of votes that this version can read: line {number} "
                    f"({error!r}). Nothing was changed. Move the file aside, and import what it holds by "
                    "hand (webcam-ml import-votes); a new one is begun"
                ) from error
        return len(whole)

    def _take(self, line: dict[str, Any], *, first: bool) -> None:
        if first:
            if line["journal"] != FORMAT:
                raise ValueError(f"format {line['journal']}, not {FORMAT}")
        elif "found" in line:
            self._found[line["found"]] = line["row"]
        elif "settled" in line:
            self._settle(line["settled"], line["as"])
        else:
            self._keep(Undo(**line) if "undoes" in line else Cast(**line))

    def _unwritable(self, error: OSError) -> JournalError:
        return JournalError(
            f"the journal of votes {self.path} cannot be written ({error.strerror}). What it holds is "
            "whole, and what was pressed since stays in the page. Free some space, or make the folder "
            "writable"
        )


def waiting_in_other_journals(folder: Path, here: Path) -> dict[Path, int]:
    """Count what waits in the journals of a folder, without touching them.

    Args:
        folder: Where they are.
        here: The one to leave out.

    Returns:
        File → how many entries; only of files in which any waits.
    """
    found = {}
    for path in sorted(set(folder.glob("*.jsonl")) - {here}):
        waiting: set[str] = set()
        for text in path.read_bytes().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # cut short: nobody was told that it is kept
            waiting.add(line["id"]) if "id" in line else waiting.discard(line.get("settled"))
        if waiting:
            found[path] = len(waiting)
    return found


def votes_an_hour(entries: Sequence[Entry], *, now: datetime, pause: float) -> float | None:
    """Say how many votes an hour are cast in the present sitting.

    Args:
        entries: Of the journal, in their order.
        now: The time, in UTC.
        pause: So many seconds without a vote end a sitting.

    Returns:
        None before there are a few votes, and after a pause.
    """
    times: list[datetime] = []
    before = now
    for entry in reversed(entries):
        at = datetime.fromisoformat(entry.at)
        if (before - at).total_seconds() > pause:
            break
        before = at
        if isinstance(entry, Cast):
            times.append(at)
    if len(times) < VOTES_THAT_MAKE_A_PACE:
        return None
    seconds = (times[0] - times[-1]).total_seconds()
    return (len(times) - 1) * 3600 / seconds if seconds > 0 else None
