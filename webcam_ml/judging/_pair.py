"""Rows that two models are measured on, and what can be said of their difference."""

import hashlib
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import TargetType, target_of
from webcam_ml.dataset import SPLIT_NAMES
from webcam_ml.judging._evidence import Pair
from webcam_ml.metrics import (
    FloatArray,
    WebcamEstimate,
    paired_difference,
    webcam_estimate,
)

# A camera counts as at most this many rows in the pair: else six busy cameras decide alone. With
# fewer these six count too little: with 10, a model that is worse on just them passes too often.
MAX_ROWS_OF_A_CAMERA = 30
STORED_DIGITS = 6
IDENTITY = ("snapshot_id", "camera_id", "split", "target_label", "sha256")


class Counted(NamedTuple):
    """Which candidate this is, from 1, since the line of the ledger that made the rival live."""

    since_entry: int
    candidate_number: int


# From model_version, the model's SHA-256 and that of the pair's rows; the same pair keeps its number.
CountCandidate = Callable[[str, str, str], Counted]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows with a picture, what people said of them, and what each model says.

    Attributes:
        frame: With the columns of `IDENTITY`, ordered by split and snapshot_id.
        target_type: What the targets are.
        bootstrap_samples: Resamples of the cameras behind each interval.
        random_state: Seed of all of them.
        scores: Model (its role) → [rows] raw_score.
    """

    frame: pl.DataFrame
    target_type: TargetType
    bootstrap_samples: int
    random_state: int
    scores: dict[str, FloatArray]

    @property
    def digests(self) -> list[str]:
        """[rows] SHA-256 of each row's picture."""
        return self.frame["sha256"].to_list()

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.frame.height

    @property
    def cameras(self) -> FloatArray:
        """[rows] the camera of each row."""
        return self.frame["camera_id"].to_numpy()

    @property
    def n_cameras(self) -> int:
        """From how many cameras."""
        return self.frame["camera_id"].n_unique()

    @property
    def target(self) -> FloatArray:
        """[rows] 0 or 1 (binary), 1–5 stars (regression)."""
        return self.frame["target_label"].to_numpy()

    @property
    def positive(self) -> NDArray[np.bool_]:
        """[rows] which targets count as positive."""
        return self.target >= target_of(self.target_type).positive_label

    @property
    def sha256(self) -> str:
        """SHA-256 over the columns of `IDENTITY`: which rows these are, and their targets."""
        buffer = io.BytesIO()
        self.frame.select(IDENTITY).sort("snapshot_id").write_csv(buffer, line_terminator="\n")
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    def with_scores(self, model: str, scores: FloatArray) -> "ScoredRows":
        """Add what a model says."""
        return replace(self, scores={**self.scores, model: scores})

    def where(self, mask: NDArray[np.bool_]) -> "ScoredRows":
        """Keep some rows."""
        return replace(
            self,
            frame=self.frame.filter(pl.Series(mask, dtype=pl.Boolean)),
            scores={model: scores[mask] for model, scores in self.scores.items()},
        )

    def of_splits(self, splits: Collection[str], *, but_cameras: Collection[int]) -> "ScoredRows":
        """Keep the rows of some splits, without those of some cameras."""
        return self.where(
            (
                self.frame["split"].is_in(list(splits))
                & ~self.frame["camera_id"].is_in(list(but_cameras))
            ).to_numpy()
        )

    def prediction(self, model: str) -> FloatArray:
        """[rows] what a model says, on the scale of the targets."""
        return target_of(self.target_type).prediction(self.scores[model])

    def estimate(self, metric: str, model: str, threshold: float | None) -> WebcamEstimate:
        """Measure one model."""
        return webcam_estimate(
            metric,
            self.target,
            self.prediction(model),
            webcam_id=self.cameras,
            threshold=threshold,
            bootstrap_samples=self.bootstrap_samples,
            random_state=self.random_state,
        )

    def difference(
        self,
        metric: str,
        first: str,
        second: str,
        *,
        thresholds: tuple[float, float] | None = None,
        max_rows: float | None = None,
    ) -> WebcamEstimate:
        """Measure the first model minus the second."""
        return paired_difference(
            metric,
            self.target,
            self.prediction(first),
            self.prediction(second),
            webcam_id=self.cameras,
            thresholds=thresholds,
            bootstrap_samples=self.bootstrap_samples,
            random_state=self.random_state,
            max_rows=max_rows,
        )

    def primary_difference(self, first: str, second: str) -> WebcamEstimate:
        """Measure the difference that decides; see `MAX_ROWS_OF_A_CAMERA`."""
        return self.difference(
            target_of(self.target_type).primary_metric,
            first,
            second,
            max_rows=MAX_ROWS_OF_A_CAMERA,
        )

    def say_the_same(self, first: str, second: str) -> bool:
        """Whether two models order all rows alike, or where ratings count, rate them alike."""
        from scipy import stats

        one, other = self.scores[first], self.scores[second]
        if not target_of(self.target_type).in_stars:
            one, other = stats.rankdata(one), stats.rankdata(other)
        return bool(np.array_equal(one, other))


def measure_pair(rows: ScoredRows, first: str, second: str, counted: Counted) -> Pair:
    """Measure the difference that decides, first model less second, and the rows behind it.

    Args:
        rows: At least one, with the scores of both.
        first: The candidate's role.
        second: The live model's role.
        counted: Which candidate it is.
    """
    difference = rows.primary_difference(first, second)
    return Pair(
        splits=[name for name in SPLIT_NAMES if name in set(rows.frame["split"])],
        sha256=rows.sha256,
        since_entry=counted.since_entry,
        candidate_number=counted.candidate_number,
        rows=rows.rows,
        webcams=rows.n_cameras,
        positives=int(rows.positive.sum()),
        webcams_with_a_positive=len(np.unique(rows.cameras[rows.positive])),
        effective_webcams=round(difference.effective_webcams, 2),
        difference=stored_bound(difference.value),
        standard_error=stored_bound(difference.standard_error),
        reason=difference.reason,
        same_scores=rows.say_the_same(first, second),
    )


def stored_bound(value: float | None) -> float | None:
    """Round to what evidence keeps, as `Interval` does."""
    # + 0.0 turns −0.0 into 0.0.
    return None if value is None else round(value, STORED_DIGITS) + 0.0
