"""The scales on which metrics are nearly normal, so that a symmetric interval makes sense there.

A proportion near 1 cannot lie as far above its estimate as below. On the logit scale it can, and the
interval, converted back to the metric's own scale, stays within its range.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """An increasing map from a metric's range to the whole line, with its inverse and slope.

    Attributes:
        name: How reports call it.
        lowest: Lower end of the metric's range.
        highest: Upper end of the metric's range.
        forward: Metric to line.
        inverse: Line to metric.
        slope: Derivative of ``forward``, at a metric's value.
    """

    name: str
    lowest: float
    highest: float
    forward: Callable[[float], float]
    inverse: Callable[[float], float]
    slope: Callable[[float], float]

    def has_inside(self, value: float) -> bool:
        """Say whether the value lies strictly between the ends of the range."""
        return self.lowest < value < self.highest


def _expit(x: float) -> float:
    # Written with tanh, which saturates where exp would overflow.
    return float(0.5 * (1.0 + np.tanh(0.5 * x)))


PROPORTION = Scale(
    name="logit",
    lowest=0.0,
    highest=1.0,
    forward=lambda v: float(np.log(v / (1.0 - v))),
    inverse=_expit,
    slope=lambda v: 1.0 / (v * (1.0 - v)),
)
CORRELATION = Scale(
    name="Fisher z",
    lowest=-1.0,
    highest=1.0,
    forward=lambda v: float(np.arctanh(v)),
    inverse=lambda x: float(np.tanh(x)),
    slope=lambda v: 1.0 / (1.0 - v * v),
)
ERROR = Scale(
    name="log",
    lowest=0.0,
    highest=float("inf"),
    forward=lambda v: float(np.log(v)),
    inverse=lambda x: float(np.exp(min(x, 700.0))),
    slope=lambda v: 1.0 / v,
)
# 1 − R² is an error as a share of the variance, hence the log.
EXPLAINED = Scale(
    name="log of the unexplained share",
    lowest=float("-inf"),
    highest=1.0,
    forward=lambda v: float(-np.log(1.0 - v)),
    inverse=lambda x: float(1.0 - np.exp(min(-x, 700.0))),
    slope=lambda v: 1.0 / (1.0 - v),
)
# Differences and means: nearly normal as they are.
IDENTITY = Scale(
    name="identity",
    lowest=float("-inf"),
    highest=float("inf"),
    forward=lambda v: v,
    inverse=lambda x: x,
    slope=lambda _: 1.0,
)
