"""One device of the operator under several webcam ids, as the database says."""

import polars as pl

from webcam_ml.dataset.duplicates._groups import Group


def groups_of(devices: pl.DataFrame) -> tuple[Group, ...]:
    """Give the webcams of each device.

    Args:
        devices: `webcam_id` and `device_id`.

    Returns:
        Ids in ascending order, devices in the order of their own.
    """
    webcams = devices.sort("device_id", "webcam_id").group_by("device_id", maintain_order=True)
    return tuple(tuple(ids) for ids in webcams.agg("webcam_id")["webcam_id"].to_list())


def devices_in_two_splits(devices: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """List the devices whose webcams are in more than one split.

    Args:
        devices: `webcam_id` and `device_id`.
        rows: Of the manifest: `webcam_id` and `split`.

    Returns:
        `device_id`, `webcams` and `splits` (each as text) and `snapshots` of each, most snapshots
        first.
    """
    ids = pl.col("webcam_id").unique().sort()
    return (
        rows.join(devices, on="webcam_id")
        .group_by("device_id")
        .agg(
            ids.cast(pl.String).str.join(", ").alias("webcams"),
            pl.col("split").unique().sort().str.join(", ").alias("splits"),
            pl.len().alias("snapshots"),
        )
        .filter(pl.col("splits").str.contains(","))
        .sort(["snapshots", "device_id"], descending=[True, False])
    )
