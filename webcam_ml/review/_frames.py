"""The frames of a list: what the page shows of each, and on which somebody has voted meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase
from webcam_ml.review._destinations import GoldRows, RatingRows
from webcam_ml.review._wanted import ByAnybody, ByCurator, Wanted

WEBCAMS = sa.table("webcams", sa.column("id"), sa.column("title", sa.String))
SNAPSHOTS = sa.table(
    "webcam_snapshots",
    sa.column("id"),
    sa.column("webcam_id"),
    sa.column("phase", sa.String),
    sa.column("captured_at"),
    sa.column("firebase_url", sa.String),
)
IDS_PER_QUERY = 1_000
BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Frame:
    """What is known of a snapshot before anybody says what it is worth.

    Attributes:
        image: Path or URL of its picture; None if it has none.
    """

    snapshot_id: int
    webcam_id: int | None
    image: str | None
    title: str | None = None
    phase: str | None = None
    captured_at: str | None = None


@dataclass(frozen=True)
class Look:
    """What a look at some snapshots found.

    Attributes:
        frames: Those that are there.
        answered: Those that need no vote any more.
    """

    frames: Mapping[int, Frame]
    answered: frozenset[int]


class Frames(Protocol):
    """Where frames are looked up."""

    def look(self, snapshot_ids: Sequence[int]) -> Look:
        """Look some snapshots up.

        Raises:
            LabelDatabaseError: The database cannot be read now.
        """


class DatabaseFrames:
    """Frames of the label database.

    Args:
        database: Where they are.
        rule: Whose votes make one need no vote.
        gold: Whether gold labels are given: then it is them that count.

    Raises:
        LabelDatabaseError: The database cannot be read, or lacks a table or column.
    """

    def __init__(self, database: LabelDatabase, rule: ByAnybody | ByCurator, *, gold: bool) -> None:
        self._database = database
        self._rule = rule
        ratings, labels = RatingRows.table, GoldRows.table
        with database.reading() as connection:
            database.require_columns(
                connection,
                {
                    WEBCAMS.name: WEBCAMS.columns.keys(),
                    SNAPSHOTS.name: SNAPSHOTS.columns.keys(),
                    ratings.name: ["snapshot_id", "user_session_id", "created_at"],
                },
            )
            has_gold = database.has_columns(connection, labels) and database.may_read(
                connection, labels
            )
        self._ask_ratings = isinstance(rule, ByAnybody) or not gold
        self._ask_gold = has_gold and (isinstance(rule, ByAnybody) or gold)

    def look(self, snapshot_ids: Sequence[int]) -> Look:
        """Look some snapshots up; see `Frames`."""
        frames: dict[int, Frame] = {}
        answered: set[int] = set()
        with self._database.reading() as connection:
            for start in range(0, len(snapshot_ids), IDS_PER_QUERY):
                some = snapshot_ids[start : start + IDS_PER_QUERY]
                found = _read_frames(connection, some)
                frames |= found
                # Of those that are there: an id may be beyond what the column of gold labels holds.
                answered |= self._answered(connection, list(found))
        return Look(frames, frozenset(answered))

    def _answered(self, connection: sa.Connection, ids: Sequence[int]) -> set[int]:
        answered: set[int] = set()
        if self._ask_ratings:
            ratings = RatingRows.table
            statement = sa.select(ratings.c.snapshot_id).where(ratings.c.snapshot_id.in_(ids))
            if isinstance(self._rule, ByCurator):
                statement = statement.where(ratings.c.user_session_id == self._rule.curator)
            answered |= self._since(connection, statement, ratings.c.created_at)
        if self._ask_gold:
            labels = GoldRows.table
            statement = sa.select(labels.c.image_id).where(
                labels.c.source == "webcam", labels.c.image_id.in_([str(one) for one in ids])
            )
            answered |= self._since(connection, statement, labels.c.labeled_at)
        return answered

    def _since(
        self, connection: sa.Connection, statement: sa.Select[Any], time: sa.ColumnClause[Any]
    ) -> set[int]:
        if isinstance(self._rule, ByAnybody) and self._rule.since is not None:
            statement = statement.where(time >= self._rule.since)
        return {int(one) for one in connection.scalars(statement)}


class ListedFrames:
    """Frames of which a list says where their pictures are, without any database.

    Args:
        wanted: The list.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def look(self, snapshot_ids: Sequence[int]) -> Look:
        """Look some snapshots up; see `Frames`."""
        wanted = self._wanted
        frames = {
            one: Frame(one, wanted.webcam_ids.get(one), wanted.images.get(one))
            for one in snapshot_ids
        }
        return Look(frames, frozenset())


def _read_frames(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Frame]:
    statement = (
        sa.select(
            SNAPSHOTS.c.id,
            SNAPSHOTS.c.webcam_id,
            SNAPSHOTS.c.firebase_url,
            WEBCAMS.c.title,
            SNAPSHOTS.c.phase,
            sa.cast(SNAPSHOTS.c.captured_at, sa.Text),
        )
        .select_from(SNAPSHOTS.outerjoin(WEBCAMS, WEBCAMS.c.id == SNAPSHOTS.c.webcam_id))
        .where(SNAPSHOTS.c.id.in_(ids))
    )
    return {
        snapshot_id: Frame(snapshot_id, webcam_id, *map(_trimmed, texts))
        for snapshot_id, webcam_id, *texts in connection.execute(statement)
    }


def _trimmed(text: str | None) -> str | None:
    return (text or "").strip(BLANKS) or None
