"""Snapshots that nobody has rated yet, as many as there are: no more of each than what chooses among them.

Where the picture of a chosen one is, `read_image_sources` asks for: a million addresses would take
more memory than all the rest.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from webcam_ml.labels._captured_at import with_utc_text
from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._devices import read_devices, with_several_webcams
from webcam_ml.labels._integrity import require_given, require_key
from webcam_ml.labels._no_votes import GOLD, MEANING_OF_SOURCE, OF_SNAPSHOT
from webcam_ml.labels._query import LabelQuery
from webcam_ml.labels._read import REPEATED_SNAPSHOTS
from webcam_ml.labels._stream import fetch
from webcam_ml.labels._tables import RATINGS, SNAPSHOTS, stripped

logger = logging.getLogger(__name__)

# Which columns are read.
NEEDED = {
    SNAPSHOTS.name: ("id", "webcam_id", "captured_at", "firebase_url"),
    RATINGS.name: ("snapshot_id", "user_session_id"),
}
IDS_PER_QUERY = 1_000


@dataclass(frozen=True, eq=False)
class Unrated:
    """Which snapshots are rated, and which could be.

    Attributes:
        frame: Those that nobody voted on, with a webcam and an image: `snapshot_id`, `webcam_id`,
            `captured_at` (ISO 8601 in UTC, or null), ordered by `snapshot_id`.
        rated: The same of those that somebody voted on, whatever the vote says; `webcam_id` may be null.
        devices: `webcam_id` and `device_id` of webcams that share a device with another one.
        left_out: How many have no vote and cannot be shown: `no_webcam`, `no_image`.
    """

    frame: pl.DataFrame
    rated: pl.DataFrame
    devices: pl.DataFrame
    left_out: Mapping[str, int]


def read_unrated(database: LabelDatabase, query: LabelQuery) -> Unrated:
    """Read which snapshots nobody has voted on yet.

    A vote is any row of webcam_snapshot_ratings, one without stars too: somebody has looked at the
    frame. With `curator_sessions` only votes of these sessions are, because no other makes a label.
    A gold label (manual_labels) is one where the database has it and the role may read it.

    Args:
        database: Where the snapshots are.
        query: Whose votes count.

    Raises:
        LabelDatabaseError: The database cannot be read, lacks a table or column, or holds a value of
            the wrong kind in one.
    """
    with database.reading() as connection:
        database.require_columns(connection, NEEDED)
        require_key(connection, [SNAPSHOTS.c.id], consequence=REPEATED_SNAPSHOTS)
        voted = _read_voted(connection, database, query)
        snapshots = _read_snapshots(connection)
        devices = read_devices(connection, database)
    rated = snapshots.join(voted, on="snapshot_id", how="semi")
    unrated = snapshots.join(voted, on="snapshot_id", how="anti", maintain_order="left")
    placed = unrated.filter(pl.col("webcam_id").is_not_null())
    usable = placed.filter(pl.col("image").is_not_null())
    return Unrated(
        frame=usable.drop("image"),
        rated=rated.drop("image"),
        devices=with_several_webcams(devices, snapshots["webcam_id"].drop_nulls().unique()),
        left_out={
            "no_webcam": unrated.height - placed.height,
            "no_image": placed.height - usable.height,
        },
    )


def read_image_sources(database: LabelDatabase, snapshot_ids: Sequence[int]) -> pl.DataFrame:
    """Read where the pictures of some snapshots are.

    Args:
        database: Where the snapshots are.
        snapshot_ids: Of which.

    Returns:
        `snapshot_id` and `image_path_or_url`, ordered by snapshot_id. A snapshot that is gone, or has
        no image any more, is not among them.

    Raises:
        LabelDatabaseError: The database cannot be read, or has one of the snapshots twice.
    """
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "image_path_or_url": pl.String,
    }
    found = [pl.DataFrame(schema=schema)]
    statement = sa.select(SNAPSHOTS.c.id, stripped(SNAPSHOTS.c.firebase_url))
    with database.reading() as connection:
        for start in range(0, len(snapshot_ids), IDS_PER_QUERY):
            ids = snapshot_ids[start : start + IDS_PER_QUERY]
            chosen = SNAPSHOTS.c.id.in_(ids)
            require_key(connection, [SNAPSHOTS.c.id], among=chosen, consequence=REPEATED_SNAPSHOTS)
            some = statement.where(chosen)
            found.append(fetch(connection, some, schema, total=0, what="addresses of pictures"))
    return pl.concat(found).drop_nulls().sort("snapshot_id")


def _read_snapshots(connection: sa.Connection) -> pl.DataFrame:
    total = connection.scalar(sa.select(sa.func.count()).select_from(SNAPSHOTS))
    statement = sa.select(
        SNAPSHOTS.c.id,
        SNAPSHOTS.c.webcam_id,
        sa.cast(SNAPSHOTS.c.captured_at, sa.Text),
        # Only whether there is an image matters, so one character is enough.
        sa.func.substr(stripped(SNAPSHOTS.c.firebase_url), 1, 1),
    )
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "webcam_id": pl.Int64,
        "captured_at": pl.String,
        "image": pl.String,
    }
    frame = fetch(connection, statement, schema, total=total or 0, what=SNAPSHOTS.name)
    return with_utc_text(frame.sort("snapshot_id"), table=SNAPSHOTS.name)


def _read_voted(
    connection: sa.Connection, database: LabelDatabase, query: LabelQuery
) -> pl.DataFrame:
    """Read the `snapshot_id` of each vote."""
    votes = sa.select(RATINGS.c.snapshot_id).where(RATINGS.c.snapshot_id.is_not(None))
    if query.curator_sessions:
        votes = votes.where(RATINGS.c.user_session_id.in_(query.curator_sessions))
    found = [_ids(connection, votes)]
    if database.has_columns(connection, GOLD):
        if database.may_read(connection, GOLD):
            require_given(connection, GOLD.c.source, meaning=MEANING_OF_SOURCE)
            found.append(_ids(connection, sa.select(GOLD.c.image_id).where(OF_SNAPSHOT)))
        else:
            logger.warning(
                "%s: the role may not read %s, so snapshots that have only a gold label count as "
                "unrated. GRANT SELECT ON %s to it",
                database, GOLD.name, GOLD.name,
            )  # fmt: skip
    return pl.concat(found).unique()


def _ids(connection: sa.Connection, statement: sa.Select[tuple[int]]) -> pl.DataFrame:
    return fetch(connection, statement, {"snapshot_id": pl.Int64}, total=0, what="votes")
