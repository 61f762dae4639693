"""One file under many snapshots of a webcam: a URL of the current picture, a camera that froze."""

from dataclasses import dataclass

import polars as pl

from webcam_ml.dataset.images import ImageIndex


@dataclass(frozen=True, eq=False)
class SameFile:
    """Files that several snapshots of one webcam have.

    Attributes:
        files: One row a file and webcam: webcam_id, sha256, snapshots (how many have it), snapshot_id
            (the first of them), labels (how many different ones they have), lowest and highest (of
            the labels, in stars), classes (how many different target labels); most snapshots first.
        compared: Number of snapshots with a usable picture.
    """

    files: pl.DataFrame
    compared: int

    @property
    def snapshots(self) -> int:
        """How many snapshots share their file with another of the same webcam."""
        return int(self.files["snapshots"].sum())

    def with_different_labels(self) -> pl.DataFrame:
        """The files whose snapshots have different labels."""
        return self.files.filter(pl.col("labels") > 1)

    def with_both_classes(self) -> pl.DataFrame:
        """The files whose snapshots are of more than one class."""
        return self.files.filter(pl.col("classes") > 1)


def find_same_file(rows: pl.DataFrame, index: ImageIndex) -> SameFile:
    """Find files that several snapshots of one webcam have.

    Args:
        rows: Of a manifest: snapshot_id, webcam_id, label_value, target_label.
        index: Their pictures.
    """
    pictures = index.usable().select("snapshot_id", "sha256")
    shared = (
        rows.join(pictures, on="snapshot_id")
        .group_by("webcam_id", "sha256")
        .agg(
            pl.len().cast(pl.Int64).alias("snapshots"),
            pl.col("snapshot_id").min(),
            pl.col("label_value").n_unique().cast(pl.Int64).alias("labels"),
            pl.col("label_value").min().alias("lowest"),
            pl.col("label_value").max().alias("highest"),
            pl.col("target_label").n_unique().cast(pl.Int64).alias("classes"),
        )
        .filter(pl.col("snapshots") > 1)
        .sort(["snapshots", "snapshot_id"], descending=[True, False])
    )
    return SameFile(shared, compared=pictures.height)
