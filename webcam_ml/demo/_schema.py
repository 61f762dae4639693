"""The application's tables, as far as a demo fills them, and the mark that says it is a demo.

The schema is that of the surrounding application; columns that webcam-ml does not know stand
between the others, as they do in the real tables.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

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

# What the application has grown since: the same tables with more columns, and two more. Where judges
# are, the database is like this; otherwise it is one of the time before.
GROWN = sa.MetaData()
for table in METADATA.sorted_tables:
    table.to_metadata(GROWN)


def _more(table: sa.Table | str, *columns: sa.Column[Any]) -> None:
    for column in columns:
        GROWN.tables[str(table)].append_column(column)


def _said_by_language_model() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("llm_quality", sa.REAL),
        sa.Column("llm_model", sa.Text),
        sa.Column("llm_provider", sa.Text),
        sa.Column("llm_rated_at", sa.DateTime),
        sa.Column("llm_confidence", sa.REAL),
        sa.Column("llm_is_sunset", sa.Boolean),
        sa.Column("llm_is_sunrise", sa.Boolean),
        sa.Column("llm_has_clouds", sa.Boolean),
        sa.Column("llm_obstruction", sa.Text),
        sa.Column("llm_time_of_day", sa.Text),
        sa.Column("llm_sky_coverage", sa.REAL),
        sa.Column(
            "llm_metadata",
            sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
        ),
    )


def _said_by_live_models() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("ai_regression_score", sa.Numeric(7, 6, asdecimal=False)),
        sa.Column("ai_model_version_regression", sa.Text),
        sa.Column("ai_binary_score", sa.Numeric(7, 6, asdecimal=False)),
        sa.Column("ai_binary_is_sunset", sa.Boolean),
        sa.Column("ai_model_version_binary", sa.Text),
        sa.Column("scoring_path", sa.Text),
        sa.Column("scoring_state", sa.Text),
    )


_more(MARK, sa.Column("judges", sa.Boolean, nullable=False))
_more(WEBCAMS, sa.Column("custom_camera_id", sa.Integer))
_more(SNAPSHOTS, *_said_by_language_model(), *_said_by_live_models())
_more(RATINGS, sa.Column("is_sunset_verdict", sa.Boolean))

GOLD = sa.Table(
    "manual_labels",
    GROWN,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("image_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("is_sunset", sa.Boolean, nullable=False),
    sa.Column("rating", sa.Integer, sa.CheckConstraint("rating BETWEEN 1 AND 5")),
    sa.Column("origin", sa.Text),
    sa.Column("labeled_at", sa.DateTime, server_default=sa.func.current_timestamp()),
    sa.CheckConstraint("is_sunset = (rating IS NOT NULL)"),
)

EXTERNAL = sa.Table(
    "external_images",
    GROWN,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("image_url", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("license", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("category", sa.Text),
    *_said_by_language_model(),
    *_said_by_live_models(),
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
    sa.UniqueConstraint("source", "source_id"),
)

# What the application owns; parents before children.
APPLICATION_TABLES = (WEBCAMS, SNAPSHOTS, RATINGS, INFERENCES, GOLD, EXTERNAL)
