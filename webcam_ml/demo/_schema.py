"""The application's tables, as far as a demo fills them, and the mark that says it is a demo.

The schema is that of the surrounding application; columns that webcam-ml does not know stand
between the others, as they do in the real tables.
"""

import sqlalchemy as sa

from webcam_ml.labels import DEMO_MARK

METADATA = sa.MetaData()

# What tells a demo from real labels: this table with one row.
MARK = sa.Table(
    DEMO_MARK,
    METADATA,
    sa.Column("generator", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("webcams", sa.Integer, nullable=False),
    sa.Column("snapshots", sa.Integer, nullable=False),
    sa.Column("raters_per_snapshot", sa.Double, nullable=False),
    sa.Column("unrated_fraction", sa.Double, nullable=False),
    sa.Column("image_width", sa.Integer, nullable=False),
    sa.Column("image_folder", sa.Text, nullable=False),
)

WEBCAMS = sa.Table(
    "webcams",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("view_count", sa.Integer),
    sa.Column("rating", sa.Integer),
    sa.Column("lat", sa.Double, nullable=False),
    sa.Column("lng", sa.Double, nullable=False),
    sa.Column("country", sa.Text),
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
)

SNAPSHOTS = sa.Table(
    "webcam_snapshots",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("webcam_id", sa.ForeignKey("webcams.id"), nullable=False, index=True),
    sa.Column(
        "phase", sa.String(10), sa.CheckConstraint("phase IN ('sunrise', 'sunset')"), nullable=False
    ),
    sa.Column("rank", sa.Integer),
    sa.Column("initial_rating", sa.Integer, sa.CheckConstraint("initial_rating BETWEEN 1 AND 5")),
    sa.Column("calculated_rating", sa.Numeric(3, 2, asdecimal=False)),
    sa.Column("firebase_url", sa.Text),
    sa.Column("firebase_path", sa.Text),
    sa.Column("captured_at", sa.DateTime, nullable=False),
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
)

RATINGS = sa.Table(
    "webcam_snapshot_ratings",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "snapshot_id", sa.ForeignKey("webcam_snapshots.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("user_session_id", sa.String(255), nullable=False),
    sa.Column("rating", sa.Integer, sa.CheckConstraint("rating BETWEEN 1 AND 5")),
    sa.Column("verdict", sa.Text),
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
    sa.UniqueConstraint("snapshot_id", "user_session_id"),
)

INFERENCES = sa.Table(
    "snapshot_ai_inferences",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column(
        "snapshot_id", sa.ForeignKey("webcam_snapshots.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("raw_score", sa.Double, nullable=False),
    sa.Column("ai_rating", sa.Numeric(3, 2, asdecimal=False), nullable=False),
    sa.Column("scored_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp()),
    sa.UniqueConstraint("snapshot_id", "model_version"),
)

# What the application owns; parents before children.
APPLICATION_TABLES = (WEBCAMS, SNAPSHOTS, RATINGS, INFERENCES)
