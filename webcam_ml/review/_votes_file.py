"""Votes in a CSV file, for a database that is elsewhere: `--export`, and what `import-votes` reads."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from webcam_ml.contracts import for_spreadsheets
from webcam_ml.errors import WebcamMLError
from webcam_ml.printable import printable
from webcam_ml.review._csv import SHOWN_CHARACTERS, read_lines, whole_number
from webcam_ml.review._journal import CHANGED, GONE, SAVED, Cast, Journal, Outcome, Undo
from webcam_ml.review._votes import (
    LONGEST_CURATOR,
    NO_SUNSET,
    RUBRIC,
    Vote,
    is_curator,
    parse_vote,
)
from webcam_ml.store import write_atomically

COLUMNS = ("snapshot_id", "vote", "curator", "voted_at")
PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class FiledVote:
    """A line of a file of votes."""

    snapshot_id: int
    vote: Vote
    curator: str
    voted_at: str = ""


def read_votes(path: Path, *, curator: str | None = None) -> list[FiledVote]:
    """Read a file of votes, in the order of its lines; a vote that stands there twice comes once.

    Args:
        path: With the columns snapshot_id and vote, and curator unless that is given.
        curator: Whose votes they all are, whatever the file says.

    Raises:
        WebcamMLError: The file cannot be read, or any of its lines; the first few are named.
    """
    needed = ["snapshot_id", "vote", *([] if curator else ["curator"])]
    votes: dict[tuple[int, str], FiledVote] = {}
    problems = []
    for line in read_lines(path, needed=needed):
        cells = line.cells
        snapshot_id, vote = whole_number(cells["snapshot_id"]), parse_vote(cells["vote"])
        who = curator or cells["curator"].strip()
        if snapshot_id is None:
            problems.append(f"line {line.number}: {_shown(cells['snapshot_id'])} is no snapshot_id")
        elif vote is None:
            problems.append(
                f"line {line.number}: {_shown(cells['vote'])} is no vote ({', '.join(RUBRIC)})"
            )
        elif not who:
            problems.append(f"line {line.number}: nobody is named as curator")
        elif not is_curator(who):
            problems.append(
                f"line {line.number}: {_shown(who)} is no curator (1 to {LONGEST_CURATOR} characters that "
                "can be printed)"
            )
        else:
            found = FiledVote(snapshot_id, vote, who, cells.get("voted_at", "").strip())
            before = votes.setdefault((snapshot_id, who), found)
            if before.vote != vote:
                problems.append(
                    f"line {line.number}: {printable(who)} gave snapshot {snapshot_id} {vote}, and "
                    f"{before.vote} in a line above"
                )
    if problems:
        more = f"; {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise WebcamMLError(
            f"{path}: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}. Nothing was imported: correct these "
            "lines, or delete them"
        )
    return list(votes.values())


class FileVotes:
    """Votes in a file; what others voted there stays.

    Args:
        path: The file; made with the first vote.
        curator: Whose votes these are.

    Raises:
        WebcamMLError: The file is there and is no file of votes.
    """

    why_no_n: str | None = None

    def __init__(self, path: Path, *, curator: str) -> None:
        self._path = path
        self._curator = curator
        read = read_votes(path) if path.exists() else []
        self._votes = {(vote.snapshot_id, vote.curator): vote for vote in read}

    def put(self, vote: Cast, journal: Journal) -> Outcome:
        """Write a vote; see `Destination`."""
        wanted = FiledVote(vote.snapshot_id, vote.vote, self._curator, vote.at)
        there = self._votes.get((vote.snapshot_id, self._curator))
        if not (journal.has_found(vote.id) and there == wanted):
            journal.note_found(vote.id, None if there is None else vars(there))
            self._replace(vote.snapshot_id, wanted)
        return SAVED

    def take_back(self, undo: Undo, journal: Journal) -> Outcome:
        """Restore what stood in the place of a vote; see `Destination`."""
        vote = journal.cast(undo.undoes)
        if journal.outcome(vote.id) != SAVED:
            return GONE
        row = journal.found(vote.id)
        earlier = None if row is None else FiledVote(**row)
        there = self._votes.get((vote.snapshot_id, self._curator))
        if there == earlier:
            return SAVED
        if there is None or there.vote != vote.vote:
            return CHANGED
        self._replace(vote.snapshot_id, earlier)
        return SAVED

    def counts(self) -> Mapping[str, int]:
        """Count the curator's votes in the file: stars, and N."""
        own = [one.vote for one in self._votes.values() if one.curator == self._curator]
        none = own.count(NO_SUNSET)
        return {"stars": len(own) - none, "N": none}

    def voted(self) -> set[int]:
        """Give the snapshots that the curator voted on."""
        return {snapshot_id for snapshot_id, who in self._votes if who == self._curator}

    def _replace(self, snapshot_id: int, vote: FiledVote | None) -> None:
        votes = dict(self._votes)
        votes.pop((snapshot_id, self._curator), None)
        if vote is not None:
            votes[snapshot_id, self._curator] = vote
        rows = [vars(one) for one in votes.values()]
        frame = pl.DataFrame(
            rows, schema={"snapshot_id": pl.Int64} | dict.fromkeys(COLUMNS[1:], pl.String)
        )
        text = io.BytesIO()
        frame.with_columns(for_spreadsheets()).write_csv(text, line_terminator="\n")
        try:
            write_atomically(self._path, text.getvalue())
        except OSError as error:
            raise WebcamMLError(
                f"{self._path} cannot be written ({error.strerror}); the votes wait in the journal. Free "
                "some space, or make the folder writable"
            ) from error
        self._votes = votes


def _shown(text: str) -> str:
    return repr(printable(text[:SHOWN_CHARACTERS]))
