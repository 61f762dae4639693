"""Labels reduced to what a training uses: which snapshot of which webcam has which label."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import LABELS_TABLE
from webcam_ml.labels._labels import LABELS_FILE, Labels

VALUE_COLUMNS = ("snapshot_id", "webcam_id", "label_value")


@dataclass(frozen=True, eq=False)
class LabelValues:
    """Labels without what describes them.

    How many ratings a label is made from is not among them: a second rating that leaves the average
    as it was changes nothing that a model is trained on.

    Attributes:
        frame: One row per labelled snapshot, ordered by `snapshot_id`, with the columns of
            `VALUE_COLUMNS`; `label_value` is in stars.
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, labels: Labels) -> Self:
        """Take the values out of labels."""
        return cls(labels.frame.select(VALUE_COLUMNS))

    @classmethod
    def none(cls) -> Self:
        """Make the values of no labels at all."""
        return cls(pl.DataFrame(schema=LABELS_TABLE.schema_of(VALUE_COLUMNS)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the values of labels that `Labels.save` wrote; `Artifact.load` of labels, in part.

        Raises:
            TableError: One of the columns is missing or of another type.
        """
        return cls(LABELS_TABLE.read(folder / LABELS_FILE, *VALUE_COLUMNS))

    @property
    def digest(self) -> str:
        """SHA-256 over the values: equal exactly where no label differs."""
        digest = hashlib.sha256()
        for name in VALUE_COLUMNS:
            values = self.frame[name].to_numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()
