"""The demo's label database: made whole in one transaction, and never over existing data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, timedelta
from pathlib import Path

import sqlalchemy as sa

from webcam_ml.contracts import rating_of
from webcam_ml.demo._cameras import Camera, device_of
from webcam_ml.demo._elsewhere import draw_photographs, photographs_beside
from webcam_ml.demo._judged_rows import (
    OLD_MODEL,
    Row,
    gold_rows,
    judged_columns,
    old_score,
    photograph_row,
)
from webcam_ml.demo._options import DemoOptions
from webcam_ml.demo._plan import Snapshot
from webcam_ml.demo._schema import (
    APPLICATION_TABLES,
    EXTERNAL,
    GOLD,
    GROWN,
    INFERENCES,
    MARK,
    METADATA,
    RATINGS,
    SNAPSHOTS,
    WEBCAMS,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase

SCORED_EVERY = 12


@dataclass(frozen=True)
class DemoRecord:
    """What a database says about the demo that it holds.

    Attributes:
        generator: Version of the code that drew it.
        options: What it was made from.
        image_folder: Where its pictures are.
    """

    generator: int
    options: DemoOptions
    image_folder: Path


@contextmanager
def open_database(url: str) -> Iterator[sa.Connection]:
    """Connect within one transaction, which is committed at the end or not at all.

    Args:
        url: As `LabelDatabase` reads it.

    Raises:
        LabelDatabaseError: The URL is malformed.
        WebcamMLError: The database cannot be opened or written; the password is not shown.
    """
    name = str(LabelDatabase(url))  # checks the URL; the name leaves out the password
    parsed = sa.make_url(url.strip())
    if parsed.drivername == "postgres":
        parsed = parsed.set(drivername="postgresql")
    is_sqlite = parsed.get_backend_name() == "sqlite"
    # A server that keeps any bytes (SQL_ASCII) would otherwise be sent ASCII only.
    settings = {} if is_sqlite else {"client_encoding": "utf8"}
    engine = sa.create_engine(parsed, poolclass=sa.NullPool, connect_args=settings)
    if is_sqlite:
        _make_transactional(engine)
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        reason = LabelDatabase(url).said(error)
        raise WebcamMLError(
            f"Cannot make a demo in the {name}: {reason}. Check --database-url, and that its user "
            "may create tables there."
        ) from None


def _make_transactional(engine: sa.Engine) -> None:
    """Make SQLite's transactions cover new tables and lock at once; its driver begins too late."""

    @sa.event.listens_for(engine, "connect")
    def leave_transactions_to_sqlalchemy(
        connection: sa.engine.interfaces.DBAPIConnection, _: object
    ) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def read_record(connection: sa.Connection) -> DemoRecord | None:
    """What demo a database holds; None if it has none of the application's tables.

    Raises:
        WebcamMLError: The tables are there and are not a demo's.
    """
    there = set(sa.inspect(connection).get_table_names())
    where = str(LabelDatabase(connection.engine.url.render_as_string(hide_password=False)))
    if MARK.name not in there:
        foreign = [table.name for table in APPLICATION_TABLES if table.name in there]
        if foreign:
            raise WebcamMLError(
                f"The {where} already has {', '.join(foreign)}, and they are not a "
                "demo's. Nothing was changed. Give --database-url an empty database, or leave it "
                "out for an SQLite file in --folder."
            )
        return None
    columns = {column["name"] for column in sa.inspect(connection).get_columns(MARK.name)}
    mark = GROWN.tables[MARK.name] if "judges" in columns else MARK
    rows = connection.execute(sa.select(mark)).mappings().all()
    if len(rows) != 1:
        raise WebcamMLError(
            f"The table {MARK.name} in {where} has {len(rows)} rows instead of one: this is not a "
            "whole demo. Delete the database, or give --database-url another one."
        )
    row = dict(rows[0])
    options = DemoOptions(**{f.name: row[f.name] for f in fields(DemoOptions) if f.name in row})
    return DemoRecord(row["generator"], options, Path(row["image_folder"]))


def write_demo(
    connection: sa.Connection,
    record: DemoRecord,
    cameras: Sequence[Camera],
    plan: Sequence[Snapshot],
    *,
    already_there: int,
) -> None:
    """Store a demo, or the snapshots that it has gained.

    Args:
        connection: In the transaction that this becomes part of.
        record: Of the demo as it will be.
        cameras: All of them.
        plan: All snapshots, in order.
        already_there: Number of snapshots at the plan's beginning that are stored already.
    """
    options = record.options
    metadata = GROWN if options.judges else METADATA
    metadata.create_all(connection)

    def insert(table: sa.Table, rows: Sequence[Row]) -> None:
        if rows:
            connection.execute(metadata.tables[table.name].insert(), rows)

    if not already_there:
        insert(WEBCAMS, [_webcam_row(camera, options) for camera in cameras])
    new = plan[already_there:]
    insert(SNAPSHOTS, [_snapshot_row(one, record.image_folder, options) for one in new])
    first = sum(len(snapshot.votes) for snapshot in plan[:already_there]) + 1
    rows = [row for snapshot in new for row in _rating_rows(snapshot, options)]
    insert(RATINGS, [{"id": number, **row} for number, row in enumerate(rows, first)])
    scored = [snapshot for snapshot in new if snapshot.id % SCORED_EVERY == 0]
    insert(INFERENCES, [_inference_row(options.seed, snapshot) for snapshot in scored])
    if options.judges:
        photographs = draw_photographs(options, len(plan))[photographs_beside(already_there) :]
        insert(
            EXTERNAL,
            [photograph_row(options.seed, one, record.image_folder) for one in photographs],
        )
        insert(GOLD, gold_rows(options.seed, new, photographs))
    connection.execute(MARK.delete())
    mark = {
        "generator": record.generator,
        **options.as_record(),
        "image_folder": str(record.image_folder),
    }
    insert(MARK, [mark])
    if connection.dialect.name == "postgresql":
        _move_sequences(connection, metadata)


def _webcam_row(camera: Camera, options: DemoOptions) -> Row:
    row: Row = {
        "id": camera.webcam_id,
        "title": camera.title,
        "status": "active",
        "source": camera.source,
        "view_count": camera.view_count,
        "rating": camera.rating,
        "lat": camera.latitude,
        "lng": camera.longitude,
        "country": camera.country,
    }
    return row | {"custom_camera_id": device_of(camera)} if options.judges else row


def _snapshot_row(snapshot: Snapshot, image_folder: Path, options: DemoOptions) -> Row:
    path = (image_folder / snapshot.file_name).as_posix()
    row: Row = {
        "id": snapshot.id,
        "webcam_id": snapshot.webcam.webcam_id,
        "phase": snapshot.phase,
        "rank": None,
        "initial_rating": snapshot.initial_rating,
        "calculated_rating": snapshot.cached_rating,
        "firebase_url": path,
        "firebase_path": f"snapshots/{snapshot.webcam.webcam_id}/{snapshot.file_name}",
        "captured_at": snapshot.captured_at,
        "created_at": snapshot.captured_at + timedelta(seconds=20),
    }
    return row | judged_columns(options.seed, snapshot) if options.judges else row


def _rating_rows(snapshot: Snapshot, options: DemoOptions) -> Iterator[Row]:
    for vote in snapshot.votes:
        row: Row = {
            "snapshot_id": snapshot.id,
            "user_session_id": vote.session,
            "rating": vote.stars,
            "verdict": "not a sunset" if vote.stars is None else None,
            "created_at": snapshot.captured_at + timedelta(seconds=round(3600 * vote.hours_later)),
        }
        yield row | {"is_sunset_verdict": vote.stars is not None} if options.judges else row


def _inference_row(seed: int, snapshot: Snapshot) -> Row:
    """The score of an old and bad model: random, whatever the picture shows."""
    raw = old_score(seed, snapshot)
    return {
        "id": snapshot.id // SCORED_EVERY,
        "snapshot_id": snapshot.id,
        "model_version": OLD_MODEL,
        "raw_score": raw,
        "ai_rating": round(rating_of(raw), 2),
        "scored_at": (snapshot.captured_at + timedelta(seconds=40)).replace(tzinfo=UTC),
    }


def _move_sequences(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make PostgreSQL's sequences continue after the ids that were inserted."""
    for table in (SNAPSHOTS, RATINGS, INFERENCES, EXTERNAL):
        if table.name not in metadata.tables:
            continue
        connection.execute(
            sa.text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                f"GREATEST((SELECT MAX(id) FROM {table.name}), 1))"
            )
        )
