"""What stands behind a label, and what judges that are no people said of the same picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from webcam_ml.dataset import Manifest
from webcam_ml.dataset.judges import Calibration
from webcam_ml.disagreement._document import JudgeSaid, Said
from webcam_ml.labels import SCORE


@dataclass(frozen=True, eq=False)
class SaidOfRows:
    """What people and judges said of labelled rows.

    Attributes:
        said: The columns of `JUDGEMENTS_TABLE`.
        judges: Name → what its scores mean.
    """

    said: pl.DataFrame
    judges: Mapping[str, Calibration]

    @classmethod
    def in_manifest(cls, manifest: Manifest) -> "SaidOfRows | None":
        """Take it out of a manifest; None if its label source hears no judges."""
        heard = manifest.meta.heard
        if heard is None or manifest.said is None:
            return None
        return cls(manifest.said, {one.calibration.name: one.calibration for one in heard.judges})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all judges, in order."""
        return tuple(sorted(self.judges))

    def of(self, snapshots: Sequence[int]) -> dict[int, Said]:
        """Say it of some snapshots, by their ids."""
        rows = self.said.filter(pl.col("snapshot_id").is_in(snapshots))
        parts = {
            key[0]: part for key, part in rows.partition_by("snapshot_id", as_dict=True).items()
        }
        return {snapshot: self._of(parts.get(snapshot, rows.clear())) for snapshot in snapshots}

    def _of(self, rows: pl.DataFrame) -> Said:
        scores = rows.filter(pl.col("kind") == SCORE).sort("judge")
        people = rows.filter(pl.col("kind") != SCORE)
        return Said(
            votes=dict(people.select("kind", "votes").sort("kind").iter_rows()),
            judges=[
                self._judge(name, score)
                for name, score in scores.select("judge", "value").iter_rows()
            ],
        )

    def _judge(self, name: str, score: float) -> JudgeSaid:
        calibration = self.judges[name]
        stars = None
        if calibration.stars is not None:
            stars = round(float(calibration.stars(np.array([score]))[0]), 2)
        return JudgeSaid(judge=name, score=score, stars=stars, speaks=calibration.speaks)
