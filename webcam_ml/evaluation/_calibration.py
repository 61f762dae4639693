"""Does a score of 0.3 mean that people like 3 of 10 such pictures? Reliability and its error.

The expected calibration error is never 0, not even for a perfect model: in small bins chance alone
moves the share of positives away from the mean score. So the error is read beside what a perfect
model would show on as many rows from the same webcams.
"""

import numpy as np
from numpy.typing import ArrayLike

from webcam_ml.metrics import (
    CALIBRATION_BINS,
    FloatArray,
    effective_webcams,
    equal_mass_bins,
    make_sample,
    sum_by,
)


def perfect_model_error(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    webcam_id: ArrayLike,
    bootstrap_samples: int = 2000,
    random_state: int,
) -> float:
    """Compute the calibration error that chance alone would show on these rows.

    Two kinds of chance, and the larger counts. Single pictures: labels drawn from the scores
    themselves, as if those were right. Whole webcams: what is left of each webcam's surplus of
    positives when the mean surplus of its bin is taken away, with its sign drawn anew for all bins
    of a webcam together (a wild bootstrap over clusters), widened by √(k/(k−1)).

    Args:
        y_true: [rows] 0 or 1.
        y_score: [rows] scores, 0 to 1.
        webcam_id: [rows] the webcam of each row.
        bootstrap_samples: How many draws.
        random_state: Seed.

    Returns:
        The mean of the expected calibration error over the draws.

    Raises:
        ValueError: Shapes that differ, no rows, or a value that is not finite.
    """
    sample = make_sample(y_true, y_score, webcam_id)
    rng = np.random.default_rng(random_state)
    bins = equal_mass_bins(sample.prediction)
    surplus = sample.target - sample.prediction
    in_bin = np.bincount(bins, minlength=CALIBRATION_BINS)
    mean_surplus = sum_by(bins, surplus, CALIBRATION_BINS) / np.maximum(in_bin, 1)
    own = surplus - mean_surplus[bins]
    cells = sample.webcam * CALIBRATION_BINS + bins
    by_webcam = sum_by(cells, own, sample.n_webcams * CALIBRATION_BINS).reshape(
        sample.n_webcams, CALIBRATION_BINS
    )
    signs = rng.choice((-1.0, 1.0), size=(bootstrap_samples, sample.n_webcams))
    k = effective_webcams(sample.webcam)
    widening = float(np.sqrt(k / (k - 1.0))) if k > 1.0 else 1.0
    from_webcams = _error(signs @ by_webcam, sample.rows) * widening

    # Sums of independent draws with many small terms: a normal distribution of their variance.
    variance = sum_by(bins, sample.prediction * (1.0 - sample.prediction), CALIBRATION_BINS)
    noise = rng.standard_normal((bootstrap_samples, CALIBRATION_BINS)) * np.sqrt(variance)
    return max(from_webcams, _error(noise, sample.rows))


def _error(surplus_by_bin: FloatArray, rows: int) -> float:
    return float(np.abs(surplus_by_bin).sum(axis=1).mean() / rows)
