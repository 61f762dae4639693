"""Labels reduced to what a training uses: which snapshot of which webcam has which label."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import JUDGED_SNAPSHOTS_TABLE, JUDGEMENTS_TABLE, LABELS_TABLE
from webcam_ml.labels._judgements import SAID_FILE, SNAPSHOTS_FILE, scores_of
from webcam_ml.labels._labels import LABELS_FILE, Labels

VALUE_COLUMNS = ("snapshot_id", "webcam_id", "label_value")
JUDGED_COLUMNS = ("snapshot_id", "webcam_id", "judge", "score")


@dataclass(frozen=True, eq=False)
class LabelValues:
    """Labels without what describes them.

    How many ratings a label is made from is not among them: a second rating that leaves the average
    as it was changes nothing that a model is trained on.

    Attributes:
        frame: One row per labelled snapshot, ordered by `snapshot_id`, with the columns of
            `VALUE_COLUMNS`; `label_value` is in stars.
        judged: What judges said of snapshots that no person voted on, ordered by `snapshot_id`, with
            the columns of `JUDGED_COLUMNS`; None where the label source hears people alone.
    """

    frame: pl.DataFrame
    judged: pl.DataFrame | None = None

    @classmethod
    def of(cls, labels: Labels) -> Self:
        """Take the values out of labels."""
        said = labels.judged
        judged = None if said is None else judged_values(said.snapshots, said.scores())
        return cls(labels.frame.select(VALUE_COLUMNS), judged)

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
        frame = LABELS_TABLE.read(folder / LABELS_FILE, *VALUE_COLUMNS)
        if not (folder / SNAPSHOTS_FILE).is_file():
            return cls(frame)
        snapshots = JUDGED_SNAPSHOTS_TABLE.read(folder / SNAPSHOTS_FILE, "snapshot_id", "webcam_id")
        scores = scores_of(JUDGEMENTS_TABLE.read(folder / SAID_FILE))
        return cls(frame, judged_values(snapshots, scores))

    def judged_on(self, webcams: pl.Series) -> Self:
        """Keep what judges said of these webcams alone."""
        if self.judged is None:
            return self
        judged = self.judged.filter(pl.col("webcam_id").is_in(webcams.implode()))
        return replace(self, judged=judged)

    @property
    def digest(self) -> str:
        """SHA-256 over the values: equal exactly where no label of people differs.

        What judges say does not count: they score every picture, so it would differ with each.
        """
        digest = hashlib.sha256()
        for name in VALUE_COLUMNS:
            values = self.frame[name].to_numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def judged_values(snapshots: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Put together what judges said of some snapshots, with the columns of `JUDGED_COLUMNS`."""
    return (
        snapshots.join(scores, on="snapshot_id").select(JUDGED_COLUMNS).sort("snapshot_id", "judge")
    )
