"""`webcam-ml import-votes`: votes from a file into the label database, after saying what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase
from webcam_ml.review._destinations import SNAPSHOTS, DatabaseVotes, database_votes
from webcam_ml.review._journal import Row
from webcam_ml.review._votes import NO_SUNSET
from webcam_ml.review._votes_file import FiledVote, read_votes

IDS_PER_QUERY = 1_000
IDS_SHOWN = 5


@dataclass(frozen=True)
class Import:
    """What importing a file of votes changes.

    Attributes:
        new: Votes on snapshots on which the curator had none.
        changed: Votes where the curator's was another, with what stood there.
        unchanged: How many say the same as the database; these stay as they are, with their time.
    """

    new: list[FiledVote]
    changed: list[tuple[Row, FiledVote]]
    unchanged: int


def import_votes(
    path: Path, database: LabelDatabase, *, curator: str | None, gold: bool, apply: bool
) -> Import:
    """Bring the votes of a file into the database, all in one transaction or none.

    Args:
        path: As `webcam-ml review --export` writes it, a spreadsheet in between or not.
        database: Where to.
        curator: Whose votes they are; None: as the file says.
        gold: Whether they become gold labels.
        apply: Whether anything is written; if not, it is only said what would be.

    Raises:
        WebcamMLError: The file or a line of it is unusable, or a snapshot is not in the database;
            nothing is written.
        LabelDatabaseError: The database cannot be read or written; nothing is written.
    """
    votes = read_votes(path, curator=curator)
    if gold:
        votes = _one_each(votes, path)
    by_curator: dict[str, list[FiledVote]] = {}
    for vote in votes:
        by_curator.setdefault(vote.curator, []).append(vote)
    places = {who: database_votes(database, curator=who, gold=gold) for who in by_curator}
    _require_place_for_n(votes, places, path)
    new: list[FiledVote] = []
    changed: list[tuple[Row, FiledVote]] = []
    with database.writing() if apply else database.reading() as connection:
        _require_known(connection, votes, path=path, database=database)
        for who, theirs in by_curator.items():
            place = places[who]
            for vote in theirs:
                wanted = place.rows.values(vote.vote)
                row = place.read(connection, vote.snapshot_id)
                if row is None:
                    new.append(vote)
                elif any(row[name] != value for name, value in wanted.items()):
                    changed.append((row, vote))
                else:
                    continue
                if apply:
                    values = {**place.rows.described, **wanted}
                    place.write(connection, vote.snapshot_id, values)
    return Import(new, changed, unchanged=len(votes) - len(new) - len(changed))


def said(row: Row) -> str:
    """Say what a row of the database says, as a vote."""
    return NO_SUNSET if row["rating"] is None else str(row["rating"])


def known_ids(connection: sa.Connection, snapshot_ids: Sequence[int]) -> set[int]:
    """Give those of some snapshots that are in the database."""
    known: set[int] = set()
    for start in range(0, len(snapshot_ids), IDS_PER_QUERY):
        some = SNAPSHOTS.c.id.in_(snapshot_ids[start : start + IDS_PER_QUERY])
        known |= set(connection.scalars(sa.select(SNAPSHOTS.c.id).where(some)))
    return known


def _require_known(
    connection: sa.Connection, votes: Sequence[FiledVote], *, path: Path, database: LabelDatabase
) -> None:
    ids = sorted({vote.snapshot_id for vote in votes})
    known = known_ids(connection, ids)
    unknown = [snapshot_id for snapshot_id in ids if snapshot_id not in known]
    if unknown:
        raise WebcamMLError(
            f"{path}: {len(unknown):,} of {len(ids):,} snapshots are not in {database}: "
            f"{_some(unknown)}. Nothing was imported. If that is the right database (DATABASE_URL), they "
            "were deleted since: delete their lines"
        )


def _require_place_for_n(
    votes: Sequence[FiledVote], places: dict[str, DatabaseVotes], path: Path
) -> None:
    n = sum(vote.vote == NO_SUNSET for vote in votes)
    why = next((place.why_no_n for place in places.values()), None)
    if n and why:
        raise WebcamMLError(
            f"{path}: {n:,} votes are N, which has no place: {why}. Nothing was imported: delete their lines"
        )


def _one_each(votes: Sequence[FiledVote], path: Path) -> list[FiledVote]:
    """Keep one vote of each snapshot, which has one gold label, whoever gives it."""
    by_snapshot: dict[int, FiledVote] = {}
    for vote in votes:
        before = by_snapshot.setdefault(vote.snapshot_id, vote)
        if before.vote != vote.vote:
            raise WebcamMLError(
                f"{path}: snapshot {vote.snapshot_id} is {before.vote} for {before.curator} and "
                f"{vote.vote} for {vote.curator}, and it has one gold label. Nothing was imported: "
                "delete one of the lines"
            )
    return list(by_snapshot.values())


def _some(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - IDS_SHOWN:,} more" if len(ids) > IDS_SHOWN else ""
    return ", ".join(map(str, ids[:IDS_SHOWN])) + more
