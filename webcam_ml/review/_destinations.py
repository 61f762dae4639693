"""Where votes go: rows of the label database, or lines of a file for one that is elsewhere.

A vote is written in one transaction of its own. What stood in its place is noted in the journal before
anything is written, so that an undo restores exactly that, and so that writing the same vote again after
a kill changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from webcam_ml.demo import is_demo_file, renew_average
from webcam_ml.labels import LabelDatabase
from webcam_ml.review._journal import CHANGED, GONE, SAVED, Cast, Journal, Outcome, Row, Undo
from webcam_ml.review._votes import NO_SUNSET, Vote, stars_of

SNAPSHOTS = sa.table("webcam_snapshots", sa.column("id"))
ORIGIN = "webcam-ml"


class Destination(Protocol):
    """A place for votes."""

    why_no_n: str | None
    """Why a vote N has no place there; None if it has one."""

    def put(self, vote: Cast, journal: Journal) -> Outcome:
        """Write a vote, or find that it is written.

        Raises:
            WebcamMLError: It cannot be written now; nothing of it is.
        """

    def take_back(self, undo: Undo, journal: Journal) -> Outcome:
        """Restore what stood in the place of a vote.

        Raises:
            WebcamMLError: It cannot be done now; nothing of it is.
        """


@dataclass(frozen=True)
class RatingRows:
    """Votes as rows of webcam_snapshot_ratings, one for each snapshot and curator.

    Attributes:
        curator: The `user_session_id` of the curator.
        has_verdict: Whether there is a column for votes that say no sunset.
        of_demo: Whether there is no application that renews averages of snapshots, so that this has to.
    """

    curator: str
    has_verdict: bool
    of_demo: bool = False

    # The names of the key are also those of its UNIQUE constraint.
    table = sa.table(
        "webcam_snapshot_ratings",
        sa.column("snapshot_id", sa.Integer),
        sa.column("user_session_id", sa.String),
        sa.column("rating", sa.Integer),
        sa.column("is_sunset_verdict", sa.Boolean),
        sa.column("created_at", sa.String),
    )
    time = table.c.created_at

    def key(self, snapshot_id: int) -> Mapping[str, Any]:
        """Give what tells the vote on a snapshot apart."""
        return {"snapshot_id": snapshot_id, "user_session_id": self.curator}

    def values(self, vote: Vote) -> Row:
        """Give what a vote says."""
        verdict = {"is_sunset_verdict": vote != NO_SUNSET} if self.has_verdict else {}
        return {"rating": stars_of(vote), **verdict}

    @property
    def described(self) -> Mapping[str, Any]:
        """Give what describes a new row."""
        return {}

    @property
    def columns(self) -> list[str]:
        """Name the columns that a vote sets."""
        return ["rating", *(["is_sunset_verdict"] if self.has_verdict else [])]


@dataclass(frozen=True)
class GoldRows:
    """Votes as the curator's gold, rows of manual_labels."""

    table = sa.table(
        "manual_labels",
        sa.column("source", sa.String),
        # As text: PostgreSQL takes it for a number where the column has numbers, and SQLite too.
        sa.column("image_id", sa.String),
        sa.column("is_sunset", sa.Boolean),
        sa.column("rating", sa.Integer),
        sa.column("origin", sa.String),
        sa.column("labeled_at", sa.String),
    )
    time = table.c.labeled_at

    def key(self, snapshot_id: int) -> Mapping[str, Any]:
        """Give what tells the label of a snapshot apart."""
        return {"source": "webcam", "image_id": str(snapshot_id)}

    def values(self, vote: Vote) -> Row:
        """Give what a vote says."""
        return {"is_sunset": vote != NO_SUNSET, "rating": stars_of(vote)}

    @property
    def described(self) -> Mapping[str, Any]:
        """Give what describes a new row."""
        return {"origin": ORIGIN}

    @property
    def columns(self) -> list[str]:
        """Name the columns that a vote sets."""
        return ["is_sunset", "rating", "origin"]


VoteRows: TypeAlias = RatingRows | GoldRows


class DatabaseVotes:
    """Votes in the label database.

    Args:
        database: Where to.
        rows: Which rows they are.
    """

    def __init__(self, database: LabelDatabase, rows: VoteRows) -> None:
        self.rows = rows
        self._database = database
        self.why_no_n = (
            "the database has no column is_sunset_verdict for it (webcam_snapshot_ratings)"
            if isinstance(rows, RatingRows) and not rows.has_verdict
            else None
        )

    def put(self, vote: Cast, journal: Journal) -> Outcome:
        """Write a vote; see `Destination`."""
        wanted = self.rows.values(vote.vote)
        with self._database.writing() as connection:
            if not self._exists(connection, vote.snapshot_id):
                return GONE
            row = self.read(connection, vote.snapshot_id)
            # A kill may have come between the writing and the note that it is done.
            if not (journal.has_found(vote.id) and _says(row, wanted)):
                journal.note_found(vote.id, row)
                self.write(connection, vote.snapshot_id, {**self.rows.described, **wanted})
        return SAVED

    def take_back(self, undo: Undo, journal: Journal) -> Outcome:
        """Restore what stood in the place of a vote; see `Destination`."""
        vote = journal.cast(undo.undoes)
        if journal.outcome(vote.id) != SAVED:
            return GONE
        earlier = journal.found(vote.id)
        with self._database.writing() as connection:
            row = self.read(connection, vote.snapshot_id)
            if row == earlier:
                return SAVED
            if not _says(row, self.rows.values(vote.vote)):
                return CHANGED
            if earlier is None:
                connection.execute(sa.delete(self.rows.table).where(self._is(vote.snapshot_id)))
                self._renew(connection, vote.snapshot_id)
            else:
                self.write(connection, vote.snapshot_id, earlier)
        return SAVED

    def rehearse(self) -> None:
        """Write a vote on any snapshot and take it back, in a transaction that is never committed.

        Raises:
            LabelDatabaseError: The user of the URL may not vote there, or the table does not take it.
        """
        with self._database.writing() as connection:
            snapshot_id = connection.scalar(sa.select(SNAPSHOTS.c.id).limit(1))
            if snapshot_id is None:
                return
            self.write(connection, snapshot_id, {**self.rows.described, **self.rows.values("1")})
            self.write(connection, snapshot_id, self.rows.values("5"))
            connection.execute(sa.delete(self.rows.table).where(self._is(snapshot_id)))
            connection.rollback()

    def read(self, connection: sa.Connection, snapshot_id: int) -> Row | None:
        """Read the row of a snapshot; the time as text, None if there is no row."""
        table = self.rows.table
        time = sa.cast(self.rows.time, sa.Text).label(self.rows.time.name)
        statement = sa.select(*(table.c[name] for name in self.rows.columns), time)
        found = connection.execute(statement.where(self._is(snapshot_id))).mappings().one_or_none()
        return None if found is None else dict(found)

    def write(self, connection: sa.Connection, snapshot_id: int, values: Row) -> None:
        """Insert or update the row of a snapshot; its time is the database's unless it is given."""
        key = self.rows.key(snapshot_id)
        set_ = {self.rows.time.name: sa.func.current_timestamp(), **values}
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(
            insert(self.rows.table)
            .values({**key, **set_})
            .on_conflict_do_update(index_elements=list(key), set_=set_)
        )
        self._renew(connection, snapshot_id)

    def _renew(self, connection: sa.Connection, snapshot_id: int) -> None:
        if isinstance(self.rows, RatingRows) and self.rows.of_demo:
            renew_average(connection, snapshot_id)

    def _is(self, snapshot_id: int) -> sa.ColumnElement[bool]:
        table = self.rows.table
        return sa.and_(
            *(table.c[name] == value for name, value in self.rows.key(snapshot_id).items())
        )

    def _exists(self, connection: sa.Connection, snapshot_id: int) -> bool:
        found = sa.select(sa.literal(1)).where(SNAPSHOTS.c.id == snapshot_id)
        return connection.scalar(found) is not None


def database_votes(database: LabelDatabase, *, curator: str, gold: bool) -> DatabaseVotes:
    """Find out what the database has a place for.

    Args:
        database: Where votes go.
        curator: The `user_session_id` of whoever votes.
        gold: Whether they are gold labels.

    Raises:
        LabelDatabaseError: The database cannot be read, or lacks a table or column.
    """
    with database.reading() as connection:
        if gold:
            _require(database, connection, GoldRows.table, ())
            return DatabaseVotes(database, GoldRows())
        _require(database, connection, RatingRows.table, ("is_sunset_verdict",))
        rows = RatingRows(
            curator,
            has_verdict=database.has_columns(connection, RatingRows.table),
            of_demo=is_demo_file(connection),
        )
    return DatabaseVotes(database, rows)


def _require(
    database: LabelDatabase,
    connection: sa.Connection,
    table: sa.TableClause,
    optional: tuple[str, ...],
) -> None:
    needed = [column.name for column in table.columns if column.name not in optional]
    database.require_columns(connection, {table.name: needed, SNAPSHOTS.name: ["id"]})


def _says(row: Row | None, values: Row) -> bool:
    """Whether a row says what a vote says."""
    return row is not None and all(row[name] == value for name, value in values.items())
