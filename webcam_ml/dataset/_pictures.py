"""Rows of a manifest that have a picture to learn from, and how many have none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from webcam_ml.contracts import PEOPLE_ON_WEBCAMS
from webcam_ml.dataset._manifest import Manifest
from webcam_ml.dataset.images import ImageIndex


@dataclass(frozen=True)
class RowsWithPictures:
    """Manifest rows with their pictures and cameras, ordered by snapshot_id.

    Attributes:
        frame: The manifest's columns, `sha256`, and `camera_id`: the same for webcams that the
            manifest takes for one camera, else webcam_id (of pictures from elsewhere, their
            owner's). Folds and resamples keep the rows of one camera together.
        left_out: How many rows have no usable picture, by reason; `placeholder` counts those that
            show a card instead of what the webcam sees.
    """

    frame: pl.DataFrame
    left_out: Mapping[str, int]

    @property
    def of_people(self) -> "RowsWithPictures":
        """The rows of webcams that people labelled."""
        return replace(self, frame=self.frame.filter(PEOPLE_ON_WEBCAMS))

    def at_most(self, rows: int) -> "RowsWithPictures":
        """Keep so many rows or fewer, of each camera equally many as far as it has them, one at least.

        Which rows of a camera stay follows from their pictures' digests alone: as labels grow, those that
        stayed before stay, as long as a camera's part does not shrink.
        """
        if self.frame.height <= rows:
            return self
        sizes = np.sort(self.frame["camera_id"].value_counts()["count"].to_numpy())
        # The largest part of a camera with which all together are not too many: cameras that have less
        # leave the rest to the others.
        before = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        parts = (rows - before) // np.arange(len(sizes), 0, -1)
        part = max(1, int(parts[np.argmax(parts < sizes)]))
        rank = pl.col("sha256").rank("ordinal").over("camera_id")
        return replace(self, frame=self.frame.filter(rank <= part))

    @property
    def judged(self) -> pl.DataFrame:
        """The rows that only a judge knows or that are of no webcam, as far as they weigh anything."""
        return self.frame.filter(~PEOPLE_ON_WEBCAMS, pl.col("label_weight") > 0)


def rows_with_pictures(manifest: Manifest, index: ImageIndex) -> RowsWithPictures:
    """Join the rows of a manifest with the pictures that were fetched for them.

    Args:
        manifest: Rows of one split or of all.
        index: The pictures of the whole manifest.

    Raises:
        ValueError: A row is not in the index: the two were not made from the same manifest.
    """
    joined = manifest.frame.with_columns(
        manifest.meta.cameras(manifest.frame["webcam_id"]).alias("camera_id")
    ).join(
        index.frame.select("snapshot_id", "status", "error", "sha256"),
        on="snapshot_id",
        how="left",
        maintain_order="left",
    )
    unknown = joined["status"].null_count()
    if unknown:
        raise ValueError(f"{unknown} rows of manifest_{manifest.part} are not in the image index")
    without = joined.filter(pl.col("status") != "ok")
    return RowsWithPictures(
        frame=joined.filter(pl.col("status") == "ok").drop("status", "error"),
        left_out=dict(without.group_by("error").agg(pl.len()).sort("error").iter_rows()),
    )
