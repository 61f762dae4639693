"""The losses and squashing functions that targets are made of, with numpy and with torch.

Both are imported where they are used: the definitions that Dagster loads reach this module.
They decide a training: the digest of this file is in the key under which a training is kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]


def sigmoid(value: Array) -> Array:
    """1 / (1 + exp(−value)) without overflow."""
    import numpy as np

    return np.exp(-np.logaddexp(0.0, -value))


def clamp(value: Array) -> Array:
    """Keep values in 0–1."""
    import numpy as np

    return np.clip(value, 0.0, 1.0)


def log_loss(target: Array, value: Array) -> float:
    """Mean logistic loss of log-odds [rows] against 0 or 1."""
    import numpy as np

    # log(1 + exp(−margin)), written so that large margins do not overflow
    return float(np.logaddexp(0.0, -np.where(target == 1, value, -value)).mean())


def squared_error(target: Array, value: Array) -> float:
    """Mean squared error of values [rows], clamped to 0–1, against ratings of 0–1."""
    return float(((clamp(value) - target) ** 2).mean())


def constant_log_loss(target: Array, weight: NDArray[np.float32]) -> float:
    """Weighted logistic loss of the best constant prediction."""
    import numpy as np

    mean = float(np.average(target, weights=weight))
    return -(mean * math.log(mean) + (1 - mean) * math.log(1 - mean))


def constant_squared_error(target: Array, weight: NDArray[np.float32]) -> float:
    """Weighted squared error of the best constant prediction."""
    import numpy as np

    mean = float(np.average(target, weights=weight))
    return float(np.average((target - mean) ** 2, weights=weight))


def torch_log_loss(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Logistic loss of each row's log-odds."""
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(value, target, reduction="none")


def torch_squared_error(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared error of each row, not clamped, so that its gradient never vanishes."""
    return (value - target) ** 2
