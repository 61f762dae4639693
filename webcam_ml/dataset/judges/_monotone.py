"""A map that never falls, learned from pairs, and written down as knots."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# What is stored is what is used: six decimals are more than any of these values knows.
DECIMALS = 6
# A mean of counts that is a half may miss it by this much.
ROUNDING = 1e-9


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


def fit_mean(score: Array, value: Array) -> MonotoneMap:
    """Fit the non-decreasing map with the least squared error (isotonic regression).

    Args:
        score: [rows], at least one.
        value: [rows] what it should be on average.
    """
    at, code, counts = np.unique(score, return_inverse=True, return_counts=True)
    return fit_sums(
        at, counts.astype(np.float64), np.bincount(code, weights=value).astype(np.float64)
    )


def fit_sums(at: Array, weight: Array, total: Array) -> MonotoneMap:
    """Fit the map of `fit_mean` to what is known of each score.

    Args:
        at: [scores] different scores, in ascending order.
        weight: [scores] the weight of its rows together; those without any are left out.
        total: [scores] the weighted sum of their values.
    """
    from scipy.optimize import isotonic_regression

    has = weight > 0
    return _as_map(at[has], isotonic_regression(total[has] / weight[has], weights=weight[has]).x)


def fit_median(score: Array, value: Array) -> MonotoneMap:
    """Fit the non-decreasing map with the least absolute error (isotonic median regression).

    It is at least `a` where the isotonic share of values of at least `a` is a half or more; where the
    share is a half, both neighbours are as good, and the middle is taken, as a median does. (Robertson,
    Wright and Dykstra, Order Restricted Statistical Inference, 1988.)

    Args:
        score: [rows], at least one.
        value: [rows] what it should be in the middle.
    """
    from scipy.optimize import isotonic_regression

    at, code, counts = np.unique(score, return_inverse=True, return_counts=True)
    order = np.argsort(value, kind="stable")
    values, starts = np.unique(value[order], return_index=True)
    code = code[order]
    at_least = counts.astype(np.float64)
    low, high = (np.full(len(at), values[0]) for _ in range(2))
    for level, start, end in zip(values[1:], starts[:-1], starts[1:], strict=True):
        at_least -= np.bincount(code[start:end], minlength=len(at))
        share = isotonic_regression(at_least / counts, weights=counts).x
        low[share > 0.5 + ROUNDING] = level
        high[share > 0.5 - ROUNDING] = level
    return _as_map(at, (low + high) / 2)


def _as_map(at: Array, levels: Array) -> MonotoneMap:
    levels = levels.round(DECIMALS)
    is_end = np.append(levels[1:] != levels[:-1], True)
    is_start = np.append(True, is_end[:-1])
    kept = is_start | is_end
    return MonotoneMap(tuple(zip(at[kept].tolist(), levels[kept].tolist(), strict=True)))
