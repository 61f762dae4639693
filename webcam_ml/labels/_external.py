"""Pictures from elsewhere: photographs of no webcam, with the owner and licence of each.

They have keys of their own, below zero, so that none is ever taken for a snapshot or a webcam.
"""

import logging

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import EXTERNAL_IMAGES_TABLE
from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._integrity import require_key
from webcam_ml.labels._stream import fetch
from webcam_ml.labels._tables import stripped

logger = logging.getLogger(__name__)

EXTERNAL = sa.table(
    "external_images",
    sa.column("id"),
    sa.column("image_url"),
    sa.column("source"),
    sa.column("owner"),
    sa.column("license"),
)
REPEATED_IMAGES = "Each would be trained on several times"


def read_external_images(connection: sa.Connection, database: LabelDatabase) -> pl.DataFrame:
    """Read all pictures from elsewhere.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read; one without the table has none, which is warned of.

    Returns:
        The columns of `EXTERNAL_IMAGES_TABLE`, ordered by `snapshot_id`; the address may be null. What
        one owner published at one source has one `webcam_id`, and a picture without an owner has
        its own.

    Raises:
        LabelDatabaseError: A column is missing, or an id is below 1 or stands there twice.
    """
    if not sa.inspect(connection).has_table(EXTERNAL.name):
        logger.warning(
            "external_images: true adds nothing, for there is no table %s in %s",
            EXTERNAL.name,
            database,
        )
        return pl.DataFrame(schema=EXTERNAL_IMAGES_TABLE.schema)
    database.require_columns(connection, {EXTERNAL.name: EXTERNAL.columns.keys()})
    require_key(connection, [EXTERNAL.c.id], consequence=REPEATED_IMAGES)
    key, *texts = EXTERNAL.c
    statement = sa.select(key, *(stripped(column) for column in texts))
    schema = EXTERNAL_IMAGES_TABLE.schema
    del schema["webcam_id"]
    frame = fetch(connection, statement, schema, total=0, what=EXTERNAL.name)
    below = frame.filter(pl.col("snapshot_id") < 1)
    if below.height:
        raise LabelDatabaseError(
            f"Table {EXTERNAL.name}: id is {below['snapshot_id'].sort()[0]}, and {below.height:,} are below "
            "1. Nothing was read. Number the pictures from 1, or leave external_images out."
        )
    owner = ["picture_source", "picture_owner"]
    first = pl.col("snapshot_id").min().over(owner)
    return (
        frame.with_columns(
            webcam_id=pl.when(pl.col("picture_owner").is_null())
            .then(pl.col("snapshot_id"))
            .otherwise(first)
        )
        .with_columns(-pl.col("snapshot_id", "webcam_id"))
        .select(EXTERNAL_IMAGES_TABLE.names)
        .sort("snapshot_id")
    )
