"""Votes N: a person saw no sunset event at all, and gave no stars.

They stand among the ratings (`is_sunset_verdict` false, `rating` NULL) and among the curator's gold
labels (`manual_labels`). An older database has neither.
"""

import polars as pl
import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._integrity import require_yes_or_no
from webcam_ml.labels._stream import fetch

VERDICTS = sa.table(
    "webcam_snapshot_ratings",
    sa.column("snapshot_id"),
    sa.column("user_session_id"),
    sa.column("rating"),
    sa.column("is_sunset_verdict", sa.Boolean),
)
GOLD = sa.table(
    "manual_labels",
    sa.column("image_id"),
    sa.column("source", sa.Text),
    sa.column("is_sunset", sa.Boolean),
    sa.column("rating"),
)
IS_NO = VERDICTS.c.is_sunset_verdict.is_(sa.false()) & VERDICTS.c.rating.is_(None)
OF_SNAPSHOT = GOLD.c.source == "webcam"
OF_EXTERNAL_IMAGE = GOLD.c.source != "webcam"
MEANING_OF_SOURCE = "whether image_id is one of a snapshot or of a picture from elsewhere"


def count_no_votes(connection: sa.Connection, database: LabelDatabase) -> int | None:
    """Count the votes N; one that stands in both tables counts once.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read.

    Returns:
        How many; None where the database has no place for them, or the user of the URL may not
        look there: labels that do not use them do not need to.

    Raises:
        LabelDatabaseError: A verdict is neither true nor false, or an image_id no number.
    """
    found = []
    if _is_open(connection, database, VERDICTS):
        found.append(read_no_votes(connection))
    if _is_open(connection, database, GOLD):
        require_yes_or_no(connection, GOLD.c.is_sunset)
        is_no = OF_SNAPSHOT & GOLD.c.is_sunset.is_(sa.false())
        gold = _ids(connection, sa.select(GOLD.c.image_id).where(is_no))
        found.append(gold.join(found[0], on="snapshot_id", how="anti") if found else gold)
    return sum(votes.height for votes in found) if found else None


def _is_open(connection: sa.Connection, database: LabelDatabase, table: sa.TableClause) -> bool:
    return database.has_columns(connection, table) and database.may_read(connection, table)


def read_no_votes(connection: sa.Connection) -> pl.DataFrame:
    """Read the `snapshot_id` of each vote N among the ratings.

    Raises:
        LabelDatabaseError: A verdict is neither true nor false.
    """
    require_yes_or_no(connection, VERDICTS.c.is_sunset_verdict)
    return _ids(connection, sa.select(VERDICTS.c.snapshot_id).where(IS_NO))


def _ids(connection: sa.Connection, statement: sa.Select[tuple[int]]) -> pl.DataFrame:
    return fetch(connection, statement, {"snapshot_id": pl.Int64}, total=0, what="votes N")
