"""The application's label database for tests: its tables, extra columns and all, and rows.

`create_schema` makes the tables on SQLite or PostgreSQL. `webcam`, `snapshot` and `rating` make one
row each with ordinary defaults, `insert_rows` stores them, and `plain_rows` makes a small and
boring set of labels for tests that only need some.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

Row = Mapping[str, object]

METADATA = sa.MetaData()

# Columns that webcam-ml does not know stand first, last and in between: readers go by name.
WEBCAMS = sa.Table(
    "webcams",
    METADATA,
    sa.Column("country", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("lat", sa.Float),
    sa.Column("lng", sa.Float),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("view_count", sa.Integer),
    sa.Column("title", sa.Text),
    sa.Column("rating", sa.Integer),
    sa.Column("last_fetched_at", sa.DateTime),
)

SNAPSHOTS = sa.Table(
    "webcam_snapshots",
    METADATA,
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
    sa.Column("firebase_path", sa.Text),
    sa.Column("firebase_url", sa.Text),
    sa.Column("calculated_rating", sa.Numeric(3, 2, asdecimal=False)),
    sa.Column("phase", sa.String(10)),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("initial_rating", sa.Integer),
    sa.Column("captured_at", sa.DateTime),
    sa.Column("rank", sa.Integer),
    sa.Column("webcam_id", sa.Integer, sa.ForeignKey("webcams.id")),
)

RATINGS = sa.Table(
    "webcam_snapshot_ratings",
    METADATA,
    sa.Column("created_at", sa.DateTime, server_default=sa.func.current_timestamp()),
    sa.Column("verdict", sa.Text),
    sa.Column("rating", sa.Integer, sa.CheckConstraint("rating BETWEEN 1 AND 5")),
    sa.Column("user_session_id", sa.String(255)),
    sa.Column("snapshot_id", sa.ForeignKey("webcam_snapshots.id", ondelete="CASCADE")),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.UniqueConstraint("snapshot_id", "user_session_id"),
)

INFERENCES = sa.Table(
    "snapshot_ai_inferences",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ai_rating", sa.Numeric(3, 2, asdecimal=False)),
    sa.Column("raw_score", sa.Double),
    sa.Column("model_version", sa.Text),
    sa.Column("snapshot_id", sa.ForeignKey("webcam_snapshots.id", ondelete="CASCADE")),
    sa.Column("scored_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp()),
    sa.UniqueConstraint("snapshot_id", "model_version"),
)

FIRST_FRAME = datetime(2026, 2, 12, 6, 0)  # naive UTC, as the database holds it


@dataclass(frozen=True)
class Rows:
    """Rows of the three tables that labels come from."""

    webcams: tuple[Row, ...] = ()
    snapshots: tuple[Row, ...] = ()
    ratings: tuple[Row, ...] = ()


def create_schema(engine: sa.Engine) -> None:
    """Create the application's four tables."""
    METADATA.create_all(engine)


def webcam(id: int, **columns: object) -> Row:
    """One row of `webcams`."""
    return {
        "id": id,
        "title": f"Camera {id}",
        "source": "windy",
        "view_count": 1200,
        "rating": None,
        "lat": 47.37,
        "lng": 8.54,
        "country": "CH",
    } | columns


def snapshot(id: int, webcam_id: int | None, **columns: object) -> Row:
    """One row of `webcam_snapshots`, unrated, with an image that nobody has to fetch."""
    return {
        "id": id,
        "webcam_id": webcam_id,
        "phase": "sunset",
        "initial_rating": None,
        "calculated_rating": None,
        "firebase_url": f"https://images.example/{id}.jpg",
        "captured_at": FIRST_FRAME + timedelta(minutes=20 * id),
    } | columns


def rating(
    snapshot_id: int, stars: float | None, session: str = "curator-1", **columns: object
) -> Row:
    """One row of `webcam_snapshot_ratings`; `stars=None` is a verdict-only vote."""
    return {"snapshot_id": snapshot_id, "user_session_id": session, "rating": stars} | columns


def insert_rows(engine: sa.Engine, rows: Rows) -> None:
    """Store rows, parents before children."""
    with engine.begin() as connection:
        _insert(connection, WEBCAMS, rows.webcams)
        _insert(connection, SNAPSHOTS, rows.snapshots)
        _insert(connection, RATINGS, rows.ratings)


def plain_rows(*, n_webcams: int = 12, frames_per_webcam: int = 4, random_state: int = 0) -> Rows:
    """Some webcams with frames, each rated by one curator, with fresh cached averages."""
    rng = random.Random(random_state)
    webcams: list[Row] = []
    snapshots: list[Row] = []
    ratings: list[Row] = []
    for webcam_id in sorted(rng.sample(range(1, 16_500_000), n_webcams)):
        webcams.append(webcam(webcam_id))
        for _ in range(frames_per_webcam):
            snapshot_id = len(snapshots) + 1
            stars = rng.choice((1, 1, 1, 2, 3, 4, 5))
            phase = rng.choice(("sunrise", "sunset"))
            snapshots.append(
                snapshot(snapshot_id, webcam_id, calculated_rating=float(stars), phase=phase)
            )
            ratings.append(rating(snapshot_id, stars))
    return Rows(tuple(webcams), tuple(snapshots), tuple(ratings))


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> None:
    # Rows with the same columns go in one statement; a column that is left out gets its default.
    by_columns: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for row in rows:
        by_columns.setdefault(tuple(sorted(row)), []).append(dict(row))
    for alike in by_columns.values():
        connection.execute(table.insert(), alike)
