"""Which label is most worth a second look: how far would it move if many more people rated it?

A single vote is largely chance. What the model adds is what people say, on average, about pictures
with the same score: a mean m(s) that never falls as the score rises, and the spread v(s) around it.
A label is then a noisy measurement (rater variance ρ² divided by its n raters) of a picture whose
true mean rating varies around m(s), and the best guess at that true mean lies between the two
(empirical Bayes, as in James & Stein's shrinkage). The distance from the label to that guess is the
*expected correction*

    |rating − m(s)| · (ρ²/n) / (ρ²/n + max(v(s)² − ρ²/n̄, 0.1)),

where n̄ raters stand behind a label on average, so that ρ²/n̄ is the part of v² that is only raters.
It holds for binary and regression models alike, because only the order of the scores enters.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import STAR_COLUMNS, STARS

FloatArray: TypeAlias = NDArray[np.float64]

# People differ by about this much (stars, squared) where too few pictures have several raters.
USUAL_RATER_VARIANCE = 0.8**2
FEWEST_SNAPSHOTS_WITH_SEVERAL_RATERS = 30
# Pictures with one score never all deserve one rating, even if a bin shows it (stars, squared).
SMALLEST_VARIANCE_OF_PICTURES = 0.1

MOST_BINS = 10
FEWEST_ROWS_PER_BIN = 30
FEWEST_ROWS_TO_FIT = 30


@dataclass(frozen=True)
class RaterVariance:
    """How much people differ on one and the same picture.

    Attributes:
        value: ρ², in stars squared.
        snapshots: How many have several raters.
        measured: False if those are too few and `USUAL_RATER_VARIANCE` stands in.
    """

    value: float
    snapshots: int
    measured: bool

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """Pool the variance within snapshots: Σᵢ Σⱼ (rᵢⱼ − r̄ᵢ)² / Σᵢ (nᵢ − 1), nᵢ ≥ 2.

        Args:
            frame: stars_1 … stars_5, the votes behind each label.
        """
        votes = frame.select(STAR_COLUMNS).to_numpy().astype(np.float64)
        votes = votes[votes.sum(axis=1) >= 2]
        if len(votes) < FEWEST_SNAPSHOTS_WITH_SEVERAL_RATERS:
            return cls(value=USUAL_RATER_VARIANCE, snapshots=len(votes), measured=False)
        stars = np.asarray(STARS, dtype=np.float64)
        raters = votes.sum(axis=1)
        mean = votes @ stars / raters
        squares = float((votes * (stars - mean[:, None]) ** 2).sum())
        return cls(value=squares / float((raters - 1).sum()), snapshots=len(votes), measured=True)


@dataclass(frozen=True, eq=False)
class RatingGivenScore:
    """What people say about pictures of a given score, learned from rows that the model never saw.

    Attributes:
        scores: [rows] raw_score of the rows that it is fitted on.
        ratings: [rows] their labels, in stars.
        rater_variance: How much people differ on one picture.
        mean_raters: n̄, raters behind a label on average.
        held_out: False if all rows are used, because fewer than `FEWEST_ROWS_TO_FIT` are of webcams
            that the model has not seen; then wrong labels may be harder to find.
    """

    scores: FloatArray
    ratings: FloatArray
    rater_variance: RaterVariance
    mean_raters: float
    held_out: bool

    @classmethod
    def fit(cls, frame: pl.DataFrame) -> Self:
        """Learn mean and spread from the rows of webcams that the model has not seen.

        Args:
            frame: As for `expected_correction`.
        """
        unseen = frame.filter(pl.col("prediction_kind") != "recorded_known_webcam")
        held_out = unseen.height >= FEWEST_ROWS_TO_FIT or unseen.height == frame.height
        used = unseen if held_out else frame
        return cls(
            scores=used["raw_score"].cast(pl.Float64).to_numpy(),
            ratings=used["label_value"].cast(pl.Float64).to_numpy(),
            rater_variance=RaterVariance.of(frame),
            mean_raters=float(used["rating_count"].to_numpy().mean()),
            held_out=held_out,
        )

    def mean(self, scores: FloatArray) -> FloatArray:
        """[rows] m(s), in stars: isotonic regression of ratings on scores, linear in between."""
        return np.asarray(self._isotonic.predict(scores), dtype=np.float64)

    def spread(self, scores: FloatArray) -> FloatArray:
        """[rows] v(s), in stars: standard deviation of rating − m(s) among similar scores."""
        spread: FloatArray = self._spreads[np.searchsorted(self._edges, scores, side="left")]
        return spread

    def expected_correction(self, frame: pl.DataFrame) -> FloatArray:
        """[rows] stars that each label would be expected to move with many more raters."""
        scores = frame["raw_score"].cast(pl.Float64).to_numpy()
        ratings = frame["label_value"].cast(pl.Float64).to_numpy()
        noise = self.rater_variance.value / frame["rating_count"].cast(pl.Float64).to_numpy()
        pictures = np.maximum(
            self.spread(scores) ** 2 - self.rater_variance.value / self.mean_raters,
            SMALLEST_VARIANCE_OF_PICTURES,
        )
        correction: FloatArray = np.abs(ratings - self.mean(scores)) * noise / (noise + pictures)
        return correction

    @cached_property
    def _isotonic(self) -> Any:
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(y_min=STARS[0], y_max=STARS[-1], out_of_bounds="clip")
        return model.fit(self.scores, self.ratings)

    @cached_property
    def _edges(self) -> FloatArray:
        """Upper edges of all bins but the last: quantiles that are scores themselves.

        Equal scores share a bin, and since each edge is a score, no bin is empty.
        """
        n_bins = max(1, min(MOST_BINS, len(self.scores) // FEWEST_ROWS_PER_BIN))
        quantiles = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
        edges: FloatArray = np.quantile(self.scores, quantiles, method="inverted_cdf")
        return np.unique(edges[edges < self.scores.max()])

    @cached_property
    def _spreads(self) -> FloatArray:
        residuals = self.ratings - self.mean(self.scores)
        bins = np.searchsorted(self._edges, self.scores, side="left")
        return np.array([residuals[bins == b].std() for b in range(len(self._edges) + 1)])


def expected_correction(frame: pl.DataFrame) -> FloatArray:
    """Estimate how far each label would move if many more people rated its picture.

    Args:
        frame: One row a picture: ``raw_score`` (0–1, higher is better), ``label_value`` (1–5
            stars), ``rating_count`` (1 or more), ``stars_1`` … ``stars_5`` (the votes behind the
            label) and ``prediction_kind``. Mean and spread are learned from the rows whose webcam
            the model has not seen: all kinds but ``recorded_known_webcam``.

    Returns:
        [rows] stars, 0 or more; the formula stands in the module's docstring.

    Raises:
        ValueError: There are no rows, or a label rests on no rating.
    """
    if frame.is_empty():
        raise ValueError("there are no rows to rank")
    if not (frame["rating_count"] >= 1).all():
        raise ValueError("every label must rest on at least one rating")
    return RatingGivenScore.fit(frame).expected_correction(frame)
