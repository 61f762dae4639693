"""The tables that every label database has, as far as they are read.

Those that an older one may lack stand beside what reads them.
"""

import sqlalchemy as sa

from webcam_ml.contracts import WEBCAM_COLUMNS

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
