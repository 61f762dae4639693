"""A map that never falls, learned from pairs, and written down as knots."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# What is stored is what is used: six decimals are more than any of these values knows.
DECIMALS = 6


@dataclass(frozen=True)
class MonotoneMap:
    """A non-decreasing map from scores to values.

    A score that was seen has its own value, and one between two neighbours the mean of theirs; outside,
    the first or the last value holds. So only the order of the scores matters: an increasing
    distortion of all of them changes no value.

    Attributes:
        knots: Score and value of both ends of each level, in ascending order.
    """

    knots: tuple[tuple[float, float], ...]

    def __call__(self, score: Array) -> Array:
        """Give the value of each score, [rows] → [rows]."""
        at, values = np.array(self.knots, dtype=np.float64).T
        last = len(at) - 1
        above = np.searchsorted(at, score, side="left").clip(0, last)
        below = (np.searchsorted(at, score, side="right") - 1).clip(0, last)
        return np.asarray((values[below] + values[above]) / 2, dtype=np.float64)

    @classmethod
    def of(cls, knots: Sequence[Sequence[float]]) -> "MonotoneMap":
        """Read knots as JSON has them."""
        return cls(tuple((float(score), float(value)) for score, value in knots))


def fit_monotone(score: Array, value: Array) -> MonotoneMap:
    """Fit the non-decreasing map with the least squared error (isotonic regression).

    Args:
        score: [rows], at least one.
        value: [rows] what it should be on average.
    """
    from scipy.optimize import isotonic_regression

    at, code, counts = np.unique(score, return_inverse=True, return_counts=True)
    means = np.bincount(code, weights=value) / counts
    levels = isotonic_regression(means, weights=counts).x.round(DECIMALS)
    is_end = np.append(levels[1:] != levels[:-1], True)
    is_start = np.append(True, is_end[:-1])
    kept = is_start | is_end
    return MonotoneMap(tuple(zip(at[kept].tolist(), levels[kept].tolist(), strict=True)))
