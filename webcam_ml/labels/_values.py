"""Labels reduced to what decides: which snapshot of which webcam has which label."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.labels._labels import Labels, scan_stored

VALUE_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "webcam_id": pl.Int64,
    "label_value": pl.Float64,
}


@dataclass(frozen=True, eq=False)
class LabelValues:
    """Labels without what describes them.

    How many ratings a label rests on is not among them: a second rating that leaves the average
    as it was changes nothing that a model is trained on.

    Attributes:
        frame: One row per labelled snapshot, ordered by `snapshot_id`, with the columns of
            `VALUE_SCHEMA`; `label_value` is in stars.
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, labels: Labels) -> Self:
        """Take the values out of labels."""
        return cls(labels.frame.select(*VALUE_SCHEMA))

    @classmethod
    def none(cls) -> Self:
        """Make the values of no labels at all."""
        return cls(pl.DataFrame(schema=VALUE_SCHEMA))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the values of labels that `Labels.save` wrote; `Artifact.load` of labels, in part.

        Raises:
            LabelsFileError: The columns are not those that this version writes.
        """
        return cls(scan_stored(folder).select(*VALUE_SCHEMA).collect())

    @property
    def digest(self) -> str:
        """SHA-256 over the values: equal exactly where no label differs."""
        digest = hashlib.sha256()
        for name in VALUE_SCHEMA:
            values = self.frame[name].to_numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()
