"""The tables that every label database has, as far as they are read.

Those that an older one may lack stand beside what reads them.
"""

from typing import Any

import sqlalchemy as sa

from webcam_ml.contracts import WEBCAM_COLUMNS

# What stands around a text by mistake: blanks, and the line ends of the tool that stored it.
SURROUNDING_BLANKS = " \t\r\n"

WEBCAMS = sa.table(
    "webcams",
    sa.column("id"),
    *(sa.column(column.name.removeprefix("webcam_")) for column in WEBCAM_COLUMNS),
)
SNAPSHOTS = sa.table(
    "webcam_snapshots",
    sa.column("id"),
    sa.column("webcam_id"),
    sa.column("phase"),
    sa.column("captured_at"),
    sa.column("calculated_rating"),
    sa.column("firebase_url"),
)
RATINGS = sa.table(
    "webcam_snapshot_ratings",
    sa.column("snapshot_id"),
    sa.column("user_session_id", sa.String),
    sa.column("rating"),
)


def stripped(column: sa.ColumnClause[Any]) -> sa.ColumnElement[str | None]:
    """Select a column as text without what surrounds it, and NULL where nothing else is there."""
    return sa.func.nullif(sa.func.trim(sa.cast(column, sa.Text), SURROUNDING_BLANKS), "")
