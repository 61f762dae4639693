"""Intervals that hold for new webcams, not only for new frames of the same ones.

Frames of one camera resemble each other and cameras are very unequal, so rows are not independent
and whole webcams are resampled. The method: the standard error comes from a bootstrap over
webcams, on a scale where the metric is nearly normal; it is widened by √(k/(k−1)) and Student's t
with k−1 degrees of freedom, where k = (Σn)²/Σn² is the effective number of webcams. Measured
coverage, beside that of the percentile bootstrap, which is too low, stands in
``docs/evaluation.md``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from webcam_ml.metrics._metrics import MEAN, METRICS, Metric, make_sample, measure
from webcam_ml.metrics._scales import IDENTITY, PROPORTION, FloatArray, Scale

MIN_EFFECTIVE_WEBCAMS = 2.0
# Where more resamples than this have no value, the spread of the others says little.
MAX_UNDEFINED_FRACTION = 0.1


class Interval(BaseModel):
    """A metric with its interval; None where there is none, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    @model_serializer(mode="wrap")
    def _without_empty_reason(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = serialize(self)
        if self.reason is None:
            del fields["reason"]
        return fields


@dataclass(frozen=True)
class WebcamEstimate:
    """A metric with all that its bounds need, at any confidence.

    Attributes:
        value: The metric on the rows as they are.
        scale: The scale on which the interval is symmetric.
        standard_error: On that scale, √(k/(k−1)) included; None if there are no bounds, and for a
            proportion of exactly 0 or 1, whose bounds come from the rule of three.
        rows: How many rows were measured.
        webcams: From how many webcams they are.
        effective_webcams: k = (Σn)²/Σn² of the rows that the metric uses.
        reason: Why the value or the bounds are missing.
    """

    value: float | None
    scale: Scale
    standard_error: float | None
    rows: int
    webcams: int
    effective_webcams: float
    reason: str | None = None

    def lower_bound(self, confidence: float = 0.95) -> float | None:
        """The value that the metric exceeds with this confidence (one-sided)."""
        return self._bound(1.0 - confidence)

    def upper_bound(self, confidence: float = 0.95) -> float | None:
        """The value that the metric stays below with this confidence (one-sided)."""
        return self._bound(confidence)

    def interval(self, confidence: float = 0.95) -> Interval:
        """The two-sided interval."""
        tail = (1.0 - confidence) / 2
        return Interval(
            value=_stored(self.value),
            low=_stored(self._bound(tail)),
            high=_stored(self._bound(1.0 - tail)),
            reason=self.reason,
        )

    def _bound(self, quantile: float) -> float | None:
        from scipy import stats

        if self.value is None or self.reason is not None:
            return None
        if self.standard_error is None:
            return self._bound_at_end(quantile)
        t = float(stats.t.ppf(quantile, df=self.effective_webcams - 1.0))
        return self.scale.inverse(self.scale.forward(self.value) + t * self.standard_error)

    def _bound_at_end(self, quantile: float) -> float | None:
        """Bound of a proportion that is exactly 0 or 1, where resamples show no spread.

        The rule of three, over webcams: if a share q of webcams were unlike those seen, all k of
        them would look perfect with a probability of (1 − q)^k.
        """
        shortfall = 1.0 - min(quantile, 1.0 - quantile) ** (1.0 / self.effective_webcams)
        if self.value == self.scale.highest:
            return self.scale.highest - shortfall if quantile < 0.5 else self.scale.highest
        return self.scale.lowest + shortfall if quantile > 0.5 else self.scale.lowest


def _stored(value: float | None) -> float | None:
    # Six decimals are more than any of these numbers is exact to; the rest could differ between
    # machines that add in another order, and equal runs must give equal bytes.
    return None if value is None else round(value, 6) + 0.0


class WebcamBootstrap:
    """Resamples of the webcams of one set of rows, drawn once and used for every metric on them.

    Args:
        webcam_id: [rows] the webcam of each row.
        bootstrap_samples: How many resamples.
        random_state: Seed; equal seeds and equal sets of webcams give equal resamples.
    """

    def __init__(
        self, webcam_id: ArrayLike, *, bootstrap_samples: int = 2000, random_state: int
    ) -> None:
        self.webcam_id = np.asarray(webcam_id)
        self.n_webcams = len(np.unique(self.webcam_id))
        self._weights: FloatArray = (
            np.random.default_rng(random_state)
            .multinomial(
                self.n_webcams,
                np.full(self.n_webcams, 1.0 / self.n_webcams),
                size=bootstrap_samples,
            )
            .astype(np.float64)
        )

    def estimate(
        self,
        metric: Metric,
        y_true: ArrayLike,
        prediction: ArrayLike,
        *,
        threshold: float | None = None,
    ) -> WebcamEstimate:
        """Estimate one metric with its standard error over webcams.

        Args:
            metric: An entry of ``METRICS``.
            y_true: [rows] targets.
            prediction: [rows] scores (binary) or predicted stars (regression).
            threshold: Decision threshold, for the binary metrics that need one.

        Raises:
            ValueError: Shapes that differ, or a value that is not finite.
        """
        sample = make_sample(y_true, prediction, self.webcam_id, threshold=threshold)
        measured = measure(metric, sample)
        rests_on = None if metric.rests_on is None else metric.rests_on(sample)
        return self._with_error(
            measured.value,
            metric.scale,
            metric.compute(sample, self._weights),
            effective_webcams(self.webcam_id if rests_on is None else self.webcam_id[rests_on]),
            measured.reason,
        )

    def difference(
        self,
        metric: Metric,
        y_true: ArrayLike,
        first: ArrayLike,
        second: ArrayLike,
        *,
        thresholds: tuple[float, float] | None = None,
        max_rows: float | None = None,
    ) -> WebcamEstimate:
        """Estimate how much a metric differs between two scorers on the same rows.

        Args:
            metric: An entry of ``METRICS``.
            y_true: [rows] targets.
            first: [rows] predictions of the first scorer.
            second: [rows] predictions of the second scorer.
            thresholds: Decision thresholds of the two, for the binary metrics that need one.
            max_rows: Rows of a webcam that has more weigh as much as this many together; None: each
                row weighs 1.

        Returns:
            The metric of the first minus that of the second. Both are measured in each resample on
            the same webcams, so that what is hard for both cancels out.

        Raises:
            ValueError: Shapes that differ, or a value that is not finite.
        """
        limits = (None, None) if thresholds is None else thresholds
        samples = [
            make_sample(y_true, prediction, self.webcam_id, threshold=limit)
            for prediction, limit in zip((first, second), limits, strict=True)
        ]
        sizes = samples[0].rows_by_webcam
        # The rows of a webcam weigh alike, so the weight of its rows is a weight of the webcam.
        weight = np.ones(len(sizes)) if max_rows is None else np.minimum(1.0, max_rows / sizes)
        measured = [measure(metric, sample, weight) for sample in samples]
        values = [one.value for one in measured if one.value is not None]
        reason = next((one.reason for one in measured if one.reason is not None), None)
        replicates = [metric.compute(sample, self._weights * weight) for sample in samples]
        return self._with_error(
            values[0] - values[1] if len(values) == len(samples) else None,
            IDENTITY,
            replicates[0] - replicates[1],
            _kish(sizes * weight),
            reason,
        )

    def _with_error(
        self,
        value: float | None,
        scale: Scale,
        replicates: FloatArray,
        effective: float,
        reason: str | None,
    ) -> WebcamEstimate:
        error: float | None = None
        if value is not None:
            reason = _no_bounds(value, scale, replicates, effective)
        if value is not None and reason is None and scale.has_inside(value):
            spread = float(np.std(replicates[~np.isnan(replicates)], ddof=1))
            # The slope carries the spread to the scale (the delta method). The spread of the
            # resamples' own logits covers equally well, but a resample at 0 or 1 makes it infinite.
            error = spread * scale.slope(value) * float(np.sqrt(effective / (effective - 1.0)))
        return WebcamEstimate(
            value=value,
            scale=scale,
            standard_error=error,
            rows=len(self.webcam_id),
            webcams=self.n_webcams,
            effective_webcams=effective,
            reason=reason,
        )


def _no_bounds(value: float, scale: Scale, replicates: FloatArray, effective: float) -> str | None:
    """Say why a value has no interval, or None if it has one."""
    if effective < MIN_EFFECTIVE_WEBCAMS:
        return (
            f"no interval: the rows are worth {effective:.1f} webcams of equal size, and "
            f"{MIN_EFFECTIVE_WEBCAMS:.0f} are needed to see how webcams differ"
        )
    undefined = float(np.isnan(replicates).mean())
    if undefined > MAX_UNDEFINED_FRACTION:
        return (
            f"no interval: {undefined:.0%} of the resamples of the webcams leave the metric without "
            "a value, because too few webcams have what it needs"
        )
    if scale is not PROPORTION and not scale.has_inside(value):
        return f"no interval: the value is exactly {value:g}, where resamples show no spread"
    return None


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]


def effective_webcams(webcam_id: ArrayLike) -> float:
    """Compute k = (Σn)²/Σn², the number of equally large webcams that the rows are worth (Kish).

    Args:
        webcam_id: [rows] the webcam of each row.
    """
    _, sizes = np.unique(np.asarray(webcam_id), return_counts=True)
    return _kish(sizes.astype(np.float64))


def _kish(sizes: FloatArray) -> float:
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def webcam_estimate(
    metric: str,
    y_true: ArrayLike,
    prediction: ArrayLike,
    *,
    webcam_id: ArrayLike,
    threshold: float | None = None,
    bootstrap_samples: int = 2000,
    random_state: int,
) -> WebcamEstimate:
    """Estimate a metric with bounds at any confidence, for webcams drawn anew.

    Args:
        metric: A name in ``METRICS``.
        y_true: [rows] targets: 0 or 1 (binary metrics), 1–5 stars (regression metrics).
        prediction: [rows] scores of 0 to 1, or predicted stars.
        webcam_id: [rows] the webcam of each row.
        threshold: Decision threshold, for precision, recall, f1 and balanced_accuracy.
        bootstrap_samples: How many resamples of the webcams.
        random_state: Seed.

    Raises:
        ValueError: An unknown metric, shapes that differ, or a value that is not finite.
    """
    bootstrap = WebcamBootstrap(
        webcam_id, bootstrap_samples=bootstrap_samples, random_state=random_state
    )
    return bootstrap.estimate(_metric(metric), y_true, prediction, threshold=threshold)


def webcam_interval(
    metric: str,
    y_true: ArrayLike,
    prediction: ArrayLike,
    *,
    webcam_id: ArrayLike,
    threshold: float | None = None,
    confidence: float = 0.95,
    bootstrap_samples: int = 2000,
    random_state: int,
) -> Interval:
    """Give a metric's value with its two-sided interval.

    Args:
        metric: As for `webcam_estimate`, like all that is not named here.
        y_true: [rows] targets.
        prediction: [rows] predictions.
        webcam_id: [rows] the webcam of each row.
        threshold: Decision threshold.
        confidence: How often such intervals contain the truth.
        bootstrap_samples: How many resamples of the webcams.
        random_state: Seed.

    Raises:
        ValueError: As for `webcam_estimate`.
    """
    return webcam_estimate(
        metric,
        y_true,
        prediction,
        webcam_id=webcam_id,
        threshold=threshold,
        bootstrap_samples=bootstrap_samples,
        random_state=random_state,
    ).interval(confidence)


def paired_difference(
    metric: str,
    y_true: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    webcam_id: ArrayLike,
    thresholds: tuple[float, float] | None = None,
    bootstrap_samples: int = 2000,
    random_state: int,
    max_rows: float | None = None,
) -> WebcamEstimate:
    """Estimate a metric of one scorer minus that of another, on the same rows.

    Both are measured on the same resampled webcams, so that what is hard for both cancels out. Ask
    the result for ``lower_bound(0.95)``, ``upper_bound(0.95)`` (one-sided) or ``interval(0.95)``.

    Args:
        metric: A name in ``METRICS``.
        y_true: [rows] targets.
        first: [rows] predictions of the one.
        second: [rows] predictions of the other.
        webcam_id: [rows] the webcam of each row.
        thresholds: Decision thresholds of the two, for the metrics that need one.
        bootstrap_samples: How many resamples of the webcams.
        random_state: Seed.
        max_rows: Rows of a webcam that has more weigh as much as this many together; None: each
            row weighs 1.

    Raises:
        ValueError: As for `webcam_estimate`.
    """
    bootstrap = WebcamBootstrap(
        webcam_id, bootstrap_samples=bootstrap_samples, random_state=random_state
    )
    return bootstrap.difference(
        _metric(metric), y_true, first, second, thresholds=thresholds, max_rows=max_rows
    )


def mean_over_webcams(
    values: ArrayLike,
    *,
    webcam_id: ArrayLike,
    bootstrap_samples: int = 2000,
    random_state: int,
) -> WebcamEstimate:
    """Estimate the mean of what each row has, such as how much two losses differ on it.

    Args:
        values: [rows] finite numbers.
        webcam_id: [rows] the webcam of each row.
        bootstrap_samples: How many resamples of the webcams.
        random_state: Seed.

    Raises:
        ValueError: Shapes that differ, or a value that is not finite.
    """
    bootstrap = WebcamBootstrap(
        webcam_id, bootstrap_samples=bootstrap_samples, random_state=random_state
    )
    return bootstrap.estimate(MEAN, values, values)
