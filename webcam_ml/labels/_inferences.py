"""The table of model scores, snapshot_ai_inferences, and writing scores of a candidate into it.

The only table that the graph ever writes; votes are written by `review`. What the application has
stored, here or elsewhere, is read in `_served`.
"""

import math
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._integrity import require_key
from webcam_ml.labels._stream import fetch
from webcam_ml.progress import track

INFERENCES = sa.table(
    "snapshot_ai_inferences",
    sa.column("snapshot_id", sa.Integer),
    sa.column("model_version", sa.Text),
    sa.column("raw_score", sa.Double),
    sa.column("ai_rating", sa.Numeric(3, 2, asdecimal=False)),
    sa.column("scored_at", sa.DateTime(timezone=True)),
)
INFERENCE_SCHEMA: dict[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "raw_score": pl.Float64,
    "ai_rating": pl.Float64,
}
BATCH_ROWS = 1_000
REPEATED_SCORES = "A snapshot has one score of a model"


@dataclass(frozen=True)
class Recorded:
    """What recording changed in the table.

    Attributes:
        new: Rows that were not there.
        changed: Rows whose score was another.
        unchanged: Rows that said the same already; they keep their scored_at.
    """

    new: int
    changed: int
    unchanged: int


def record_inferences(
    database: LabelDatabase, inferences: pl.DataFrame, *, model_version: str
) -> Recorded:
    """Write scores under a model version, in batches and one transaction: all of them or none.

    A row that is there is overwritten if its score is another and left alone otherwise, so that
    recording twice has the effect of recording once. PostgreSQL: needs SELECT, INSERT and UPDATE on
    this table and nothing else; if its ids come from a sequence of its own (serial), USAGE on that
    too.

    Args:
        database: Where to.
        inferences: The columns of `INFERENCE_SCHEMA`; each snapshot once.
        model_version: The model that gave the scores.

    Raises:
        LabelDatabaseError: The database cannot be written, or refuses a row; nothing is written.
    """
    wanted = inferences.select(
        pl.col(name).cast(kind) for name, kind in INFERENCE_SCHEMA.items()
    ).sort("snapshot_id")
    with database.writing() as connection:
        _require_table(database, connection)
        there = _read(connection, model_version)
        same = wanted.join(there, on=list(INFERENCE_SCHEMA), how="semi", nulls_equal=True)
        differing = wanted.join(same, on="snapshot_id", how="anti", maintain_order="left")
        statement = _upsert(connection.dialect.name)
        batches = math.ceil(differing.height / BATCH_ROWS)
        for start in track(
            range(0, differing.height, BATCH_ROWS),
            total=batches,
            what="recording scores",
            unit=f"batches of {BATCH_ROWS:,} rows",
        ):
            batch = differing.slice(start, BATCH_ROWS)
            connection.execute(
                statement, [{"model_version": model_version, **row} for row in batch.to_dicts()]
            )
    changed = differing.join(there, on="snapshot_id", how="semi").height
    return Recorded(new=differing.height - changed, changed=changed, unchanged=same.height)


def _require_table(database: LabelDatabase, connection: sa.Connection) -> None:
    database.require_columns(connection, {INFERENCES.name: INFERENCES.columns.keys()})


def _read(connection: sa.Connection, model_version: str) -> pl.DataFrame:
    table = INFERENCES.c
    chosen = table.model_version == model_version
    require_key(
        connection,
        [table.snapshot_id, table.model_version],
        among=chosen,
        consequence=REPEATED_SCORES,
    )
    total = connection.scalar(sa.select(sa.func.count()).select_from(INFERENCES).where(chosen))
    statement = (
        sa.select(
            table.snapshot_id,
            table.raw_score,
            table.ai_rating,
        )
        .where(chosen)
        .order_by(table.snapshot_id)
    )
    return fetch(connection, statement, INFERENCE_SCHEMA, total=total or 0, what=INFERENCES.name)


def _upsert(dialect: str) -> sa.Insert:
    """Insert rows, or bring score and time of those that are there up to date."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(INFERENCES)
    return statement.on_conflict_do_update(
        index_elements=["snapshot_id", "model_version"],
        set_={
            "raw_score": statement.excluded.raw_score,
            "ai_rating": statement.excluded.ai_rating,
            "scored_at": sa.func.current_timestamp(),
        },
    )
