"""What the application stored of its models' scores, wherever a database of its age has them.

There are three places, and the oldest databases have none: the table snapshot_ai_inferences, and of
webcam_snapshots the columns of the regression and of the binary model. What the scores are compared
with belongs in `disagreement` and `monitoring`.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import rating_of
from webcam_ml.labels._captured_at import with_utc_text
from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._inferences import INFERENCE_SCHEMA, INFERENCES, REPEATED_SCORES
from webcam_ml.labels._integrity import require_key
from webcam_ml.labels._read import REPEATED_SNAPSHOTS, REPEATED_WEBCAMS
from webcam_ml.labels._stream import fetch
from webcam_ml.labels._tables import SNAPSHOTS

OF_REGRESSION, OF_BINARY = (
    sa.table(
        SNAPSHOTS.name,
        sa.column("id", sa.Integer),
        sa.column(version, sa.Text),
        sa.column(score, sa.Double),
    )
    for version, score in (
        ("ai_model_version_regression", "ai_regression_score"),
        ("ai_model_version_binary", "ai_binary_score"),
    )
)
SCORING_PATH = sa.table(
    SNAPSHOTS.name, sa.column("id", sa.Integer), sa.column("scoring_path", sa.Text)
)
OF_WEBCAMS = sa.table(
    "webcams", sa.column("id", sa.Integer), sa.column("view_count"), sa.column("rating")
)
UNSCORED = "unscored"


@dataclass(frozen=True)
class Place:
    """Columns of one table that hold scores; `ai_rating` is None where it is not stored beside them."""

    snapshot_id: sa.ColumnClause[int]
    model_version: sa.ColumnClause[str]
    raw_score: sa.ColumnClause[float]
    ai_rating: sa.ColumnClause[float] | None = None

    def __str__(self) -> str:
        """Name table and column of the score."""
        return f"{self.raw_score.table}.{self.raw_score.name}"

    @property
    def is_filled(self) -> sa.ColumnElement[bool]:
        """Whether something is stored: webcam_snapshots has a row for each snapshot all the same."""
        named = self.model_version.is_not(None)
        return named if self.ai_rating is not None else sa.and_(named, self.raw_score.is_not(None))

    @property
    def key(self) -> list[sa.ColumnClause[Any]]:
        """What tells its rows apart."""
        return [self.snapshot_id, *([] if self.ai_rating is None else [self.model_version])]


@dataclass(frozen=True, eq=False)
class Served:
    """What the application stored, and of how many snapshots nothing.

    Attributes:
        frame: One row for each snapshot and model version: ``snapshot_id``, ``webcam_id``,
            ``captured_at`` (ISO 8601 in UTC), ``phase``, ``view_count`` and ``webcam_rating`` of its
            webcam, ``model_version``, ``raw_score`` and ``ai_rating`` as they are stored, also where they
            are null or off their scale, ordered by version and snapshot.
        snapshots: How many snapshots there are in the time looked at.
        unscored: How many of these have no score, or are marked as unscored.
        places: Where scores may be stored in this database; none: it has no such table or column.
    """

    frame: pl.DataFrame
    snapshots: int
    unscored: int
    places: tuple[str, ...]


def count_inferences(database: LabelDatabase) -> dict[str, int]:
    """Count the stored scores of each model version, the most frequent first.

    Raises:
        LabelDatabaseError: The database cannot be read, has no place for scores, or a place has
            several of one snapshot and version.
    """
    counts = Counter[str]()
    with database.reading() as connection:
        for place in _required_places(database, connection):
            version = place.model_version
            _require_key(connection, place, place.is_filled)
            statement = sa.select(version, sa.func.count()).where(place.is_filled)
            for name, rows in connection.execute(statement.group_by(version)):
                counts[str(name)] += int(rows)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def read_inferences(database: LabelDatabase, model_version: str) -> pl.DataFrame:
    """Read the scores that were stored under a model version.

    Returns:
        ``snapshot_id``, ``raw_score`` and ``ai_rating`` as they are stored, also where they are NULL or
        off their scale, ordered by snapshot_id, each snapshot once. Where a place has no ai_rating, it
        is the one that raw_score gives.

    Raises:
        LabelDatabaseError: As for `count_inferences`.
    """
    with database.reading() as connection:
        places = _required_places(database, connection)
        return _read(connection, places, only=model_version).select(list(INFERENCE_SCHEMA))


def read_served(database: LabelDatabase, *, days: int) -> Served:
    """Read what the application stored on the snapshots of the last days, counted from the newest.

    Args:
        database: Needs SELECT on webcam_snapshots, webcams and, where there is one,
            snapshot_ai_inferences.
        days: How far back.

    Raises:
        LabelDatabaseError: The database cannot be read, holds a value of the wrong kind, or rows that
            no key tells apart.
    """
    with database.reading() as connection:
        database.require_columns(
            connection, {SNAPSHOTS.name: ("id", "webcam_id", "phase", "captured_at")}
        )
        require_key(connection, [SNAPSHOTS.c.id], consequence=REPEATED_SNAPSHOTS)
        snapshots = _read_snapshots(connection)
        places = _places(database, connection)
        scores = _read(connection, places, only=None)
        marked = pl.Series("snapshot_id", [], pl.Int64)
        if database.has_columns(connection, SCORING_PATH):
            ids = sa.select(SCORING_PATH.c.id).where(SCORING_PATH.c.scoring_path == UNSCORED)
            marked = fetch(
                connection, ids, {"snapshot_id": pl.Int64}, total=0, what="unscored snapshots"
            )["snapshot_id"]
        webcams = _read_webcams(database, connection)
    recent = _recent(snapshots, days)
    frame = scores.join(recent, on="snapshot_id").join(webcams, on="webcam_id", how="left")
    has_score = pl.col("snapshot_id").is_in(frame["snapshot_id"].unique().implode())
    is_marked = pl.col("snapshot_id").is_in(marked.implode())
    return Served(
        frame=frame.sort("model_version", "snapshot_id"),
        snapshots=recent.height,
        unscored=recent.filter(~has_score | is_marked).height if places else 0,
        places=tuple(str(place) for place in places),
    )


def _places(database: LabelDatabase, connection: sa.Connection) -> list[Place]:
    """Say where this database has scores."""
    tables = (INFERENCES, OF_REGRESSION, OF_BINARY)
    return [
        Place(*list(table.columns)[:4])
        for table in tables
        if database.has_columns(connection, table)
    ]


def _required_places(database: LabelDatabase, connection: sa.Connection) -> list[Place]:
    places = _places(database, connection)
    if not places:
        database.require_columns(connection, {INFERENCES.name: INFERENCES.columns.keys()})
    return places


def _read(connection: sa.Connection, places: list[Place], *, only: str | None) -> pl.DataFrame:
    whole: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "model_version": pl.String,
        "raw_score": pl.Float64,
        "ai_rating": pl.Float64,
    }
    frames = [pl.DataFrame(schema=whole)]
    for place in places:
        columns: list[sa.ColumnClause[Any]] = [
            place.snapshot_id,
            place.model_version,
            place.raw_score,
        ]
        if place.ai_rating is not None:
            columns.append(place.ai_rating)
        chosen = place.is_filled
        if only is not None:
            chosen = sa.and_(chosen, place.model_version == only)
        _require_key(connection, place, chosen)
        statement = sa.select(*columns).where(chosen)
        names = dict(list(whole.items())[: len(columns)])
        frame = fetch(connection, statement, names, total=0, what="stored scores")
        if place.ai_rating is None:
            frame = frame.with_columns(ai_rating=rating_of(pl.col("raw_score")))
        frames.append(frame)
    # Where the application writes a score to two places, it is the same one.
    return (
        pl.concat(frames)
        .unique(["snapshot_id", "model_version"], keep="first", maintain_order=True)
        .sort("snapshot_id")
    )


def _require_key(connection: sa.Connection, place: Place, chosen: sa.ColumnElement[bool]) -> None:
    require_key(connection, place.key, among=chosen, consequence=REPEATED_SCORES)


def _read_snapshots(connection: sa.Connection) -> pl.DataFrame:
    total = connection.scalar(sa.select(sa.func.count()).select_from(SNAPSHOTS))
    table = SNAPSHOTS.c
    statement = sa.select(
        table.id,
        table.webcam_id,
        sa.cast(table.captured_at, sa.Text),
        sa.cast(table.phase, sa.Text),
    )
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "webcam_id": pl.Int64,
        "captured_at": pl.String,
        "phase": pl.String,
    }
    frame = fetch(connection, statement, schema, total=total or 0, what=SNAPSHOTS.name)
    return with_utc_text(frame.sort("snapshot_id"), table=SNAPSHOTS.name)


def _read_webcams(database: LabelDatabase, connection: sa.Connection) -> pl.DataFrame:
    """Read what the application's baseline knows of a webcam; a database that has it not: nothing."""
    schema: dict[str, type[pl.DataType]] = {
        "webcam_id": pl.Int64,
        "view_count": pl.Int64,
        "webcam_rating": pl.Float64,
    }
    if not database.has_columns(connection, OF_WEBCAMS):
        return pl.DataFrame(schema=schema)
    table = OF_WEBCAMS.c
    require_key(connection, [table.id], consequence=REPEATED_WEBCAMS)
    statement = sa.select(table.id, table.view_count, table.rating)
    return fetch(connection, statement, schema, total=0, what=OF_WEBCAMS.name)


def _recent(snapshots: pl.DataFrame, days: int) -> pl.DataFrame:
    moment = pl.col("captured_at").str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S")
    dated = snapshots.drop_nulls(["webcam_id", "captured_at"]).with_columns(moment=moment)
    since = pl.col("moment").max() - pl.duration(days=days)
    return dated.filter(pl.col("moment") > since).drop("moment")
