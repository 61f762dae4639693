"""Metrics, each written once for rows that carry weights by webcam.

One resample of the webcams is one vector of weights, so a metric takes a matrix of them, one row for
each resample, and returns as many values; with all weights 1 it is the plain metric. Undefined
values (a resample with one class, say) are NaN inside this module and None with a reason outside.
What the numbers mean to a curator stands in ``docs/evaluation.md``; how intervals come from the
resamples, in ``_intervals``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from webcam_ml.contracts import STARS
from webcam_ml.metrics._scales import (
    CORRELATION,
    ERROR,
    EXPLAINED,
    IDENTITY,
    PROPORTION,
    FloatArray,
    Scale,
)

CALIBRATION_BINS = 10

# Elements of one temporary [resamples, rows] matrix: 32 MB of float64.
_CHUNK_ELEMENTS = 4_000_000
# Below this share of the plain variance, a resample's variance is rounding noise.
_NO_VARIANCE = 1e-12


def sum_by(code: NDArray[np.intp], values: FloatArray, n_codes: int) -> FloatArray:
    """[codes] sums of the values that share a code, 0 to ``n_codes`` − 1."""
    # The conversion changes no value; numpy's type stubs need it.
    return np.bincount(code, weights=values, minlength=n_codes).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows to measure, with the webcam that each belongs to.

    Attributes:
        target: [rows] what people said: 0 or 1 (binary), 1–5 stars (regression).
        prediction: [rows] what the scorer said: 0–1 (binary), 1–5 stars (regression).
        webcam: [rows] code of the webcam, 0 to ``n_webcams`` − 1.
        n_webcams: How many webcams there are.
        threshold: Binary: predictions at or above it count as positive. NaN for regression.
    """

    target: FloatArray
    prediction: FloatArray
    webcam: NDArray[np.intp]
    n_webcams: int
    threshold: float = float("nan")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.target)

    @cached_property
    def rows_by_webcam(self) -> FloatArray:
        """[webcams] how many rows each webcam has."""
        return self.sum_by_webcam(np.ones(self.rows))

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """[rows] whether the target is the positive class."""
        return np.equal(self.target, 1.0)

    @cached_property
    def predicted_positive(self) -> NDArray[np.bool_]:
        """[rows] whether the prediction reaches the threshold."""
        return self.prediction >= self.threshold

    def sum_by_webcam(self, values: FloatArray) -> FloatArray:
        """[webcams] sums of one value a row."""
        return sum_by(self.webcam, values, self.n_webcams)

    def sums_by_webcam(self, *columns: FloatArray) -> FloatArray:
        """[webcams, columns] sums of several values a row."""
        return np.stack([self.sum_by_webcam(column) for column in columns], axis=1)

    @cached_property
    def concordance(self) -> FloatArray:
        """[webcams, webcams] how many pairs of rows of different class are in order.

        Of a positive row of the first webcam and a negative row of the second: how many pairs have the
        higher prediction on the positive row; ties count a half.
        """
        counts = np.zeros((self.n_webcams, self.n_webcams))
        positive = np.flatnonzero(self.positive)
        positive = positive[np.argsort(self.prediction[positive])]
        positive_webcam, positive_score = self.webcam[positive], self.prediction[positive]
        negative = np.flatnonzero(~self.positive)
        negative = negative[np.lexsort((self.prediction[negative], self.webcam[negative]))]
        negative_webcam, negative_score = self.webcam[negative], self.prediction[negative]
        # A negative row counts a half for the first positive row that is not below it and for all after
        # that, and another half from the first one that is above it. So one search a negative row is enough.
        halves = np.stack(
            [
                np.searchsorted(positive_score, negative_score, side="left"),
                np.searchsorted(positive_score, negative_score, side="right"),
            ]
        )
        for second in np.unique(negative_webcam):
            first_row, end_row = np.searchsorted(negative_webcam, [second, second + 1])
            steps = np.sort(halves[:, first_row:end_row], axis=None)
            lengths = np.diff(steps, prepend=0, append=len(positive))
            in_order = np.repeat(np.arange(len(lengths)) / 2, lengths)
            counts[:, second] = sum_by(positive_webcam, in_order, self.n_webcams)
        return counts


Compute = Callable[[Sample, FloatArray], FloatArray]


@dataclass(frozen=True)
class Metric:
    """One metric: how to compute it, on which scale its interval lies, when it is undefined.

    Attributes:
        name: Name in reports.
        scale: The scale on which its interval is symmetric.
        higher_is_better: False for errors.
        compute: (sample, [resamples, webcams] weights, not all 0 in any resample) → [resamples]
            values, NaN where undefined.
        undefined: Why the metric has no value on a sample where ``compute`` gave NaN.
        rests_on: [rows] mask of the rows that the metric uses; None if it uses all.
    """

    name: str
    scale: Scale
    higher_is_better: bool
    compute: Compute
    undefined: Callable[[Sample], str]
    rests_on: Callable[[Sample], NDArray[np.bool_]] | None = field(default=None)


@dataclass(frozen=True)
class Measurement:
    """A metric's plain value, or None with the reason why it has none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Confusion:
    """Rows by what people said and what the scorer said at its threshold."""

    tn: int
    fp: int
    fn: int
    tp: int


# --- binary ---------------------------------------------------------------------------------------


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _confusion_by_webcam(sample: Sample) -> FloatArray:
    """[webcams, 4] counts of tn, fp, fn, tp."""
    cell = 2 * sample.positive + sample.predicted_positive
    return sample.sums_by_webcam(*(np.asarray(cell == c, dtype=np.float64) for c in range(4)))


def _confusions(sample: Sample, weights: FloatArray) -> tuple[FloatArray, ...]:
    return tuple((weights @ _confusion_by_webcam(sample)).T)


def _precision(sample: Sample, weights: FloatArray) -> FloatArray:
    _, fp, _, tp = _confusions(sample, weights)
    return _ratio(tp, tp + fp)


def _recall(sample: Sample, weights: FloatArray) -> FloatArray:
    _, _, fn, tp = _confusions(sample, weights)
    return _ratio(tp, tp + fn)


def _f1(sample: Sample, weights: FloatArray) -> FloatArray:
    _, fp, fn, tp = _confusions(sample, weights)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _balanced_accuracy(sample: Sample, weights: FloatArray) -> FloatArray:
    tn, fp, fn, tp = _confusions(sample, weights)
    return (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)) / 2


def _roc_auc(sample: Sample, weights: FloatArray) -> FloatArray:
    positives = sample.sum_by_webcam(sample.positive.astype(np.float64))
    negatives = sample.rows_by_webcam - positives
    pairs = (weights @ positives) * (weights @ negatives)
    in_order = np.einsum("rg,rg->r", weights @ sample.concordance, weights)
    return _ratio(in_order, pairs)


def _in_chunks(
    sample: Sample,
    weights: FloatArray,
    order: NDArray[np.intp],
    compute: Callable[[FloatArray], FloatArray],
) -> FloatArray:
    """Spread webcam weights over ordered rows, a bounded number of resamples at a time."""
    columns = sample.webcam[order]
    step = max(1, _CHUNK_ELEMENTS // max(1, sample.rows))
    parts = [compute(weights[i : i + step][:, columns]) for i in range(0, len(weights), step)]
    return np.concatenate(parts)


def _average_precision(sample: Sample, weights: FloatArray) -> FloatArray:
    order = np.argsort(-sample.prediction, kind="stable")
    ordered = sample.prediction[order]
    level = np.cumsum(np.append(0, ordered[1:] != ordered[:-1]))
    positive = np.flatnonzero(sample.positive[order])
    if not len(positive):
        return np.full(len(weights), np.nan)
    # Precision counts where a positive row is found, so all else is only summed up to there.
    levels, first = np.unique(level[positive], return_index=True)
    starts = np.searchsorted(level, np.append(0, levels[:-1] + 1))
    last = np.searchsorted(level, levels[-1], side="right")

    def compute(row_weights: FloatArray) -> FloatArray:
        gained = np.add.reduceat(row_weights[:, positive], first, axis=1)
        chosen = np.cumsum(np.add.reduceat(row_weights[:, :last], starts, axis=1), axis=1)
        true = np.cumsum(gained, axis=1)
        found, everything = true[:, -1].copy(), row_weights.sum(axis=1)
        np.divide(true, chosen, out=true, where=chosen > 0)
        defined = (found > 0) & (found < everything)
        return np.where(defined, _ratio((gained * true).sum(axis=1), found), np.nan)

    return _in_chunks(sample, weights, order, compute)


def _brier(sample: Sample, weights: FloatArray) -> FloatArray:
    return _mean(sample, weights, (sample.prediction - sample.target) ** 2)


def equal_mass_bins(scores: FloatArray, n_bins: int = CALIBRATION_BINS) -> NDArray[np.intp]:
    """Assign each score to one of ``n_bins`` bins that hold about equally many rows.

    Edges are quantiles of the scores, as in scikit-learn's ``calibration_curve`` with
    ``strategy="quantile"``; equal scores share a bin, so ties may leave bins empty.

    Returns:
        [rows] bin of each row, 0 to ``n_bins`` − 1.
    """
    edges = np.quantile(scores, np.linspace(0, 1, n_bins + 1))
    return np.searchsorted(edges[1:-1], scores, side="left").astype(np.intp)


def surplus_by_bin(sample: Sample) -> FloatArray:
    """[webcams, bins] sums of target minus prediction: positive where predictions are too low."""
    cells = sample.webcam * CALIBRATION_BINS + equal_mass_bins(sample.prediction)
    surplus = sum_by(cells, sample.target - sample.prediction, sample.n_webcams * CALIBRATION_BINS)
    return surplus.reshape(sample.n_webcams, CALIBRATION_BINS)


def _expected_calibration_error(sample: Sample, weights: FloatArray) -> FloatArray:
    # The bins stay those of the sample: moving them with each resample would add a noise that the
    # reported number, on its fixed bins, does not have.
    gap = np.abs(weights @ surplus_by_bin(sample)).sum(axis=1)
    return _ratio(gap, weights @ sample.rows_by_webcam)


def _one_class(sample: Sample) -> str:
    return (
        f"needs both classes, and {int(sample.positive.sum())} of {sample.rows} rows are positive"
    )


def _none_predicted(sample: Sample) -> str:
    return f"no row is predicted positive at the threshold {sample.threshold:.6g}"


def _no_positive(sample: Sample) -> str:
    return f"none of {sample.rows} rows is positive"


def _neither(sample: Sample) -> str:
    return f"none of {sample.rows} rows is positive and none is predicted to be"


def _no_value(sample: Sample) -> str:
    return f"has no value on {sample.rows} rows"


BINARY_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("roc_auc", PROPORTION, True, _roc_auc, _one_class),
        Metric("average_precision", PROPORTION, True, _average_precision, _one_class),
        Metric(
            "precision", PROPORTION, True, _precision, _none_predicted,
            rests_on=lambda sample: sample.predicted_positive,
        ),
        Metric(
            "recall", PROPORTION, True, _recall, _no_positive,
            rests_on=lambda sample: sample.positive,
        ),
        Metric("f1", PROPORTION, True, _f1, _neither),
        Metric("balanced_accuracy", PROPORTION, True, _balanced_accuracy, _one_class),
        Metric("brier", PROPORTION, False, _brier, _no_value),
        Metric(
            "expected_calibration_error", PROPORTION, False, _expected_calibration_error, _no_value
        ),
    )
}  # fmt: skip


# --- regression -----------------------------------------------------------------------------------


def _mean(sample: Sample, weights: FloatArray, values: FloatArray) -> FloatArray:
    return _ratio(weights @ sample.sum_by_webcam(values), weights @ sample.rows_by_webcam)


def _mae(sample: Sample, weights: FloatArray) -> FloatArray:
    return _mean(sample, weights, np.abs(sample.prediction - sample.target))


def _rmse(sample: Sample, weights: FloatArray) -> FloatArray:
    return np.sqrt(_mean(sample, weights, (sample.prediction - sample.target) ** 2))


def _moments(sample: Sample, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variances of predictions and targets (NaN where only rounding noise), and covariance."""
    x = sample.prediction - sample.prediction.mean()
    y = sample.target - sample.target.mean()
    sums = weights @ sample.sums_by_webcam(np.ones(sample.rows), x, y, x * x, y * y, x * y)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (sums[:, i] / sums[:, 0] for i in range(1, 6))
    var_x, var_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    return (
        np.where(var_x > _NO_VARIANCE * np.maximum(mean_xx, 1e-30), var_x, np.nan),
        np.where(var_y > _NO_VARIANCE * np.maximum(mean_yy, 1e-30), var_y, np.nan),
        mean_xy - mean_x * mean_y,
    )


def _pearson(sample: Sample, weights: FloatArray) -> FloatArray:
    var_x, var_y, covariance = _moments(sample, weights)
    return np.clip(covariance / np.sqrt(var_x * var_y), -1.0, 1.0)


def _r2(sample: Sample, weights: FloatArray) -> FloatArray:
    _, variance, _ = _moments(sample, weights)
    return 1.0 - _mean(sample, weights, (sample.prediction - sample.target) ** 2) / variance


def _spearman(sample: Sample, weights: FloatArray) -> FloatArray:
    """Weighted Spearman correlation: Pearson's of weighted mid-ranks, in each resample anew."""
    x_values, x_level = np.unique(sample.prediction, return_inverse=True)
    y_values, y_level = np.unique(sample.target, return_inverse=True)
    order = np.argsort(x_level, kind="stable")
    x_level, y_level = x_level[order], y_level[order]
    x_starts = np.searchsorted(x_level, np.arange(len(x_values)))
    y_order = np.argsort(y_level, kind="stable")
    y_starts = np.searchsorted(y_level[y_order], np.arange(len(y_values)))

    def ranks(level_weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        total = level_weights.sum(axis=1, keepdims=True)
        # Mid-rank as a share of all rows, less its mean, which is always one half.
        rank = (np.cumsum(level_weights, axis=1) - level_weights / 2) / total - 0.5
        variance = (level_weights * rank**2).sum(axis=1) / total[:, 0]
        return rank, np.where(variance > _NO_VARIANCE, variance, np.nan)

    def compute(row_weights: FloatArray) -> FloatArray:
        x_rank, x_variance = ranks(np.add.reduceat(row_weights, x_starts, axis=1))
        y_rank, y_variance = ranks(np.add.reduceat(row_weights[:, y_order], y_starts, axis=1))
        products = row_weights * x_rank[:, x_level] * y_rank[:, y_level]
        covariance = products.sum(axis=1) / row_weights.sum(axis=1)
        correlation: FloatArray = covariance / np.sqrt(x_variance * y_variance)
        return np.clip(correlation, -1.0, 1.0)

    return _in_chunks(sample, weights, order, compute)


def whole_stars(ratings: FloatArray) -> NDArray[np.intp]:
    """Round ratings to whole stars, halves up, and keep them on the scale of 1 to 5."""
    return np.clip(np.floor(ratings + 0.5), STARS[0], STARS[-1]).astype(np.intp)


def _quadratic_weighted_kappa(sample: Sample, weights: FloatArray) -> FloatArray:
    n_stars = len(STARS)
    cell = (whole_stars(sample.target) - 1) * n_stars + whole_stars(sample.prediction) - 1
    by_webcam = np.bincount(
        sample.webcam * n_stars**2 + cell, minlength=sample.n_webcams * n_stars**2
    ).reshape(sample.n_webcams, n_stars**2)
    observed = (weights @ by_webcam).reshape(len(weights), n_stars, n_stars)
    total = observed.sum(axis=(1, 2))
    stars = np.arange(n_stars)
    cost = ((stars[:, None] - stars[None, :]) ** 2).astype(np.float64)
    by_people, by_model = observed.sum(axis=2), observed.sum(axis=1)
    disagreement = np.einsum("rij,ij->r", observed, cost)
    by_chance = np.einsum("ri,rj,ij->r", by_people, by_model, cost)
    return 1.0 - _ratio(disagreement * total, by_chance)


def _constant(sample: Sample) -> str:
    what = [
        name
        for name, values in (("rating", sample.target), ("prediction", sample.prediction))
        if values.max() - values.min() <= 1e-9 * max(1.0, float(np.abs(values).max()))
    ]
    return f"needs ratings and predictions that vary, and every {' and every '.join(what)} is equal"


def _constant_target(sample: Sample) -> str:
    return f"needs ratings that vary, and all {sample.rows} are equal"


def _one_star(sample: Sample) -> str:
    return f"ratings and predictions of all {sample.rows} rows round to the same star"


REGRESSION_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mae", ERROR, False, _mae, _no_value),
        Metric("rmse", ERROR, False, _rmse, _no_value),
        Metric("pearson", CORRELATION, True, _pearson, _constant),
        Metric("spearman", CORRELATION, True, _spearman, _constant),
        Metric("r2", EXPLAINED, True, _r2, _constant_target),
        Metric("quadratic_weighted_kappa", CORRELATION, True, _quadratic_weighted_kappa, _one_star),
    )
}


def _mean_of_target(sample: Sample, weights: FloatArray) -> FloatArray:
    return _mean(sample, weights, sample.target)


# Means of what people said: they measure no scorer, but reliability needs their intervals.
MEAN_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("positive_rate", PROPORTION, True, _mean_of_target, _no_value),
        Metric("mean_rating", IDENTITY, True, _mean_of_target, _no_value),
    )
}

# Of any number that each row has.
MEAN = Metric("mean", IDENTITY, False, _mean_of_target, _no_value)

METRICS: Mapping[str, Metric] = {**BINARY_METRICS, **REGRESSION_METRICS}


# --- plain values ---------------------------------------------------------------------------------


def _as_rows(y_true: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    target = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(prediction, dtype=np.float64)
    if target.ndim != 1 or target.shape != predicted.shape:
        raise ValueError(
            f"one prediction for each row is needed, got shapes {target.shape} and {predicted.shape}"
        )
    if not len(target):
        raise ValueError("there are no rows to measure")
    if not (np.isfinite(target).all() and np.isfinite(predicted).all()):
        raise ValueError("targets and predictions must be finite numbers")
    return target, predicted


def make_sample(
    y_true: ArrayLike,
    prediction: ArrayLike,
    webcam_id: ArrayLike,
    *,
    threshold: float | None = None,
) -> Sample:
    """Check arrays and gather them for measuring.

    Args:
        y_true: [rows] targets: 0 or 1 (binary), 1–5 stars (regression).
        prediction: [rows] predictions, on the same scale.
        webcam_id: [rows] the webcam of each row.
        threshold: Decision threshold of a binary scorer.

    Raises:
        ValueError: Shapes that differ, no rows, or a value that is not finite.
    """
    target, predicted = _as_rows(y_true, prediction)
    webcams, codes = np.unique(np.asarray(webcam_id), return_inverse=True)
    if codes.shape != target.shape:
        raise ValueError(f"{len(target)} rows but webcam ids of shape {codes.shape}")
    return Sample(
        target=target,
        prediction=predicted,
        webcam=codes.astype(np.intp),
        n_webcams=len(webcams),
        threshold=float("nan") if threshold is None else threshold,
    )


def measure(metric: Metric, sample: Sample, weight: FloatArray | None = None) -> Measurement:
    """Compute the plain value of one metric, or say why there is none.

    Args:
        metric: An entry of ``METRICS``.
        sample: The rows.
        weight: [webcams] how much each row of a webcam weighs; 1 if None.
    """
    weights = np.ones(sample.n_webcams) if weight is None else weight
    value = float(metric.compute(sample, weights[np.newaxis])[0])
    if np.isnan(value):
        return Measurement(None, metric.undefined(sample))
    return Measurement(value)


def _require_classes(target: FloatArray) -> None:
    if not np.isin(target, (0.0, 1.0)).all():
        raise ValueError("binary targets must be 0 or 1")


def binary_metrics(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold: float
) -> dict[str, Measurement]:
    """Measure a binary scorer.

    Args:
        y_true: [rows] 0 or 1.
        y_score: [rows] scores, 0 to 1, higher for the positive class.
        threshold: Scores at or above it count as predicted positive.

    Returns:
        roc_auc, average_precision, precision, recall, f1, balanced_accuracy, brier and
        expected_calibration_error (ten bins of equal mass), as scikit-learn defines them, except
        that an undefined one is None with the reason instead of 0, 1 or NaN.

    Raises:
        ValueError: Shapes that differ, no rows, targets other than 0 and 1, or scores not finite.
    """
    target, score = _as_rows(y_true, y_score)
    _require_classes(target)
    sample = Sample(target, score, np.zeros(len(target), dtype=np.intp), 1, threshold)
    return {name: measure(metric, sample) for name, metric in BINARY_METRICS.items()}


def confusion(y_true: ArrayLike, y_score: ArrayLike, *, threshold: float) -> Confusion:
    """Count rows by class and by decision.

    Args:
        y_true: [rows] 0 or 1.
        y_score: [rows] scores.
        threshold: Scores at or above it count as predicted positive.

    Raises:
        ValueError: As for `binary_metrics`.
    """
    target, score = _as_rows(y_true, y_score)
    _require_classes(target)
    sample = Sample(target, score, np.zeros(len(target), dtype=np.intp), 1, threshold)
    tn, fp, fn, tp = (int(count) for count in _confusion_by_webcam(sample)[0])
    return Confusion(tn=tn, fp=fp, fn=fn, tp=tp)


def regression_metrics(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, Measurement]:
    """Measure a scorer that predicts the rating.

    Args:
        y_true: [rows] ratings, 1 to 5 stars.
        y_pred: [rows] predicted ratings, in stars.

    Returns:
        mae, rmse, pearson, spearman, r2 as scipy and scikit-learn define them, and
        quadratic_weighted_kappa of ratings and predictions rounded to whole stars (halves up); an
        undefined one is None with the reason.

    Raises:
        ValueError: Shapes that differ, no rows, or a value that is not finite.
    """
    target, predicted = _as_rows(y_true, y_pred)
    sample = Sample(target, predicted, np.zeros(len(target), dtype=np.intp), 1)
    return {name: measure(metric, sample) for name, metric in REGRESSION_METRICS.items()}
