"""Which webcams are one device of the operator, as the database says.

A device gets a new webcam id whenever it is aimed anew. An older database does not know of that.
"""

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import DEVICES_TABLE
from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._integrity import require_key
from webcam_ml.labels._stream import fetch

DEVICES = sa.table("webcams", sa.column("id"), sa.column("custom_camera_id"))
REPEATED_DEVICES = "One webcam would be taken for several of its device"


def read_devices(connection: sa.Connection, database: LabelDatabase) -> pl.DataFrame:
    """Read which webcams belong to a device.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read.

    Returns:
        `webcam_id` and `device_id`; empty where the database has no such column, or the user of the
        URL may not look there: labels do not need it.

    Raises:
        LabelDatabaseError: A `custom_camera_id` is no whole number, or a webcam stands there twice.
    """
    schema = DEVICES_TABLE.schema
    known = database.has_columns(connection, DEVICES) and database.may_read(connection, DEVICES)
    if not known:
        return pl.DataFrame(schema=schema)
    of_device = DEVICES.c.custom_camera_id.is_not(None)
    require_key(connection, [DEVICES.c.id], among=of_device, consequence=REPEATED_DEVICES)
    statement = sa.select(DEVICES.c.id, DEVICES.c.custom_camera_id).where(of_device)
    return fetch(connection, statement, schema, total=0, what="devices")


def with_several_webcams(devices: pl.DataFrame, webcams: pl.Series) -> pl.DataFrame:
    """Keep the devices that own several of some webcams, ordered by device and webcam."""
    return (
        devices.filter(pl.col("webcam_id").is_in(webcams.implode()))
        .filter(pl.len().over("device_id") > 1)
        .sort("device_id", "webcam_id")
    )
