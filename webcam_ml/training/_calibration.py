"""From a head's value to a calibrated probability, and to a yes or no."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webcam_ml.contracts import sigmoid

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlattScaling:
    """probability = sigmoid(slope · value + intercept), slope > 0."""

    slope: float
    intercept: float

    def __call__(self, value: Array) -> Array:
        """Turn values into probabilities."""
        return sigmoid(self.slope * value + self.intercept)


def fit_platt(value: Array, target: Array) -> PlattScaling:
    """Fit slope and intercept by maximum likelihood.

    Targets are moved a little off 0 and 1 by Platt's rule, (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2),
    which keeps the slope finite when the values separate the classes. The slope is fitted as an
    exponential and is therefore positive: calibration never reverses a ranking.

    Source: J. Platt, Probabilistic Outputs for Support Vector Machines, 1999.

    Args:
        value: [rows], predicted without having seen the row's webcam.
        target: [rows], 0 or 1.
    """
    from scipy.optimize import minimize

    positives = float(target.sum())
    negatives = float(len(target) - positives)
    soft = np.where(target == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre = float(value.mean())
    spread = float(value.std()) or 1.0
    standard = (value - centre) / spread

    def loss_and_gradient(parameters: Array) -> tuple[float, Array]:
        slope = np.exp(parameters[0])
        margin = slope * standard + parameters[1]
        loss = np.logaddexp(0.0, margin) - soft * margin
        residual = sigmoid(margin) - soft
        gradient = np.array([float((residual * standard).sum() * slope), float(residual.sum())])
        return float(loss.sum()), gradient

    prior = float(np.log((positives + 1) / (negatives + 1)))
    # A slope below 1e-3 standard units is a model without signal; the bound keeps it above zero.
    fit = minimize(
        loss_and_gradient,
        np.array([0.0, prior]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(np.log(1e-3), np.log(1e3)), (-50.0, 50.0)],
    )
    slope = float(np.exp(fit.x[0])) / spread
    return PlattScaling(slope=slope, intercept=float(fit.x[1]) - slope * centre)


def best_f1_threshold(score: Array, target: Array) -> float | None:
    """Choose the threshold with the highest F1, half-way between neighbouring scores.

    Args:
        score: [rows] in 0–1.
        target: [rows], 0 or 1.

    Returns:
        The threshold, the highest of equally good ones; a score at or above it counts as positive.
        None if no row is positive: then F1 is 0 at every threshold.
    """
    if not target.any():
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(target[order])
    called = np.arange(1, len(score) + 1)
    f1 = 2 * hits / (called + target.sum())
    # A cut is possible only between different scores.
    possible = np.append(ranked[:-1] > ranked[1:], True)
    best = int(np.argmax(np.where(possible, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)
