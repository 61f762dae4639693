"""What others said of a frame: people, judges, models. Asked for only after the curator's vote."""

from dataclasses import dataclass

import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase
from webcam_ml.review._destinations import RatingRows

SCORED = sa.table(
    "webcam_snapshots", sa.column("id"), sa.column("llm_model"), sa.column("llm_quality")
)
SERVED = sa.table(
    "webcam_snapshots",
    sa.column("id"),
    sa.column("ai_model_version_regression"),
    sa.column("ai_regression_score"),
)
RECORDED = sa.table(
    "snapshot_ai_inferences",
    sa.column("snapshot_id"),
    sa.column("model_version"),
    sa.column("ai_rating"),
    sa.column("scored_at"),
)


@dataclass(frozen=True)
class Said:
    """What one of the others said.

    Attributes:
        who: Its name, as it is; not yet escaped.
        what: In words.
    """

    who: str
    what: str


def read_said(database: LabelDatabase, snapshot_id: int, *, curator: str) -> list[Said]:
    """Read what other people, judges and models said of a snapshot; nothing where there is no column.

    Raises:
        LabelDatabaseError: The database cannot be read.
    """
    with database.reading() as connection:
        said = _people(connection, snapshot_id, curator)
        for table, name, value, form in (
            (SCORED, "llm_model", "llm_quality", "{:.2f} of 1"),
            (SERVED, "ai_model_version_regression", "ai_regression_score", "{:.2f} of 1"),
            (RECORDED, "model_version", "ai_rating", "{:.1f} stars"),
        ):
            if database.has_columns(connection, table) and database.may_read(connection, table):
                key = table.c.snapshot_id if table is RECORDED else table.c.id
                statement = sa.select(table.c[name], table.c[value]).where(
                    key == snapshot_id, table.c[value].is_not(None)
                )
                if table is RECORDED:
                    statement = statement.order_by(table.c.scored_at.desc()).limit(1)
                said += [
                    Said(str(who or "a model without a name"), form.format(float(number)))
                    for who, number in connection.execute(statement)
                ]
    return said


def _people(connection: sa.Connection, snapshot_id: int, curator: str) -> list[Said]:
    ratings = RatingRows.table.c
    number, total = connection.execute(
        sa.select(sa.func.count(ratings.rating), sa.func.sum(ratings.rating)).where(
            ratings.snapshot_id == snapshot_id, ratings.user_session_id != curator
        )
    ).one()
    if not number:
        return []
    who = "1 other person" if number == 1 else f"{number:,} other people"
    return [Said(who, f"{float(total) / number:.1f} stars")]
