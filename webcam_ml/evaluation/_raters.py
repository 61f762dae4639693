"""How well people agree: as well as a model of their ratings can be expected to do."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from webcam_ml.contracts import STAR_COLUMNS, STARS
from webcam_ml.evaluation._document import Raters
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.metrics import FloatArray, Interval, WebcamBootstrap

MIN_RATINGS = 30


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Each rating of a picture with several, and what the picture's other raters said.

    Attributes:
        rows: The split that the pictures are of.
        row: [ratings] the picture's place among them.
        given: [ratings] stars.
        target: [ratings] the mean of the others, or whether that reaches the threshold (binary).
    """

    rows: SplitRows
    row: NDArray[np.int64]
    given: FloatArray
    target: FloatArray

    @classmethod
    def of(cls, rows: SplitRows, *, binary_threshold: float | None) -> Self:
        """Leave out each rating of a split in turn."""
        counts = rows.frame.select(STAR_COLUMNS).to_numpy().astype(np.int64)
        stars = np.array(STARS)
        raters = counts.sum(axis=1)
        several = counts * (raters >= 2)[:, None]
        row, star = np.nonzero(several)
        times = several[row, star]
        row, given = np.repeat(row, times), np.repeat(stars[star], times).astype(np.float64)
        others = ((counts @ stars)[row] - given) / (raters[row] - 1)
        target = others
        if binary_threshold is not None:
            target = (others >= binary_threshold).astype(np.float64)
        return cls(rows, row, given, target)

    def raters(self) -> Raters:
        """Compare one person and the model."""
        return Raters(
            metric=self.rows.primary_metric.name,
            ratings=len(self.given),
            snapshots=len(np.unique(self.row)),
            webcams=len(np.unique(self.rows.webcam_id[self.row])),
            one_person=self.measured(self.given),
            model=self.measured(self.rows.prediction[self.row]),
        )

    def measured(self, prediction: FloatArray) -> Interval:
        """Measure a prediction of the others, [ratings], on the same resamples as any other."""
        if len(self.given) < MIN_RATINGS:
            return Interval(
                value=None,
                low=None,
                high=None,
                reason=f"{len(self.given)} ratings of pictures with several raters; "
                f"{MIN_RATINGS} are needed",
            )
        metric = self.rows.primary_metric
        return self._bootstrap.estimate(metric, self.target, prediction).interval()

    @cached_property
    def _bootstrap(self) -> WebcamBootstrap:
        return WebcamBootstrap(
            self.rows.webcam_id[self.row],
            bootstrap_samples=self.rows.bootstrap_samples,
            random_state=self.rows.random_state,
        )


def rater_agreement(rows: SplitRows, *, binary_threshold: float | None) -> Raters:
    """Predict the others' mean rating by one person's, for each person of each picture.

    Args:
        rows: A split, with the counts of its ratings by star.
        binary_threshold: Binary: the others find a picture good if their mean reaches it.

    Returns:
        The primary metric of one person's stars, and of the model on the same pictures against the
        same others: the two can be compared with each other, and with nothing else.
    """
    return LeftOut.of(rows, binary_threshold=binary_threshold).raters()
