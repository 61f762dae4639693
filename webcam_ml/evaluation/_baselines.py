"""Trivial scorers, which have learned almost nothing: the least that a model must beat."""

from collections.abc import Mapping

import numpy as np

from webcam_ml.contracts import TargetType, target_of
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation._document import Baseline
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.metrics import FloatArray, Interval
from webcam_ml.training import best_f1_threshold

CHANNEL_MEANS = "a regression on a picture's mean red, green and blue"
NEEDS_THRESHOLD = frozenset({"precision", "recall", "f1", "balanced_accuracy"})


def require_baselines(constants: Mapping[str, float], target_type: TargetType) -> None:
    """Refuse constants that are missing or on another scale than the targets.

    Raises:
        WebcamMLError: A name is missing, or a value lies off the scale.
    """
    asked = target_of(target_type)
    low, high = asked.scale
    for name in asked.constants:
        value = constants.get(name)
        if value is None or not low <= value <= high:
            raise WebcamMLError(
                f"the checkpoint's baseline {name!r} is {value}, and a {target_type} target needs "
                f"one from {low:g} to {high:g}. Materialize checkpoint anew."
            )


def measure_baselines(
    validation: SplitRows, test: SplitRows, *, constants: Mapping[str, float]
) -> list[Baseline]:
    """Measure the baselines on the test rows and the model's improvement over each.

    Their decision threshold is chosen as the model's is: by F1 on validation. Without pictures there
    are no channel means, and that baseline is left out.

    Args:
        validation: The split for thresholds.
        test: The split to measure.
        constants: From the train split: ``prior`` (binary), ``median`` and ``mean`` in stars
            (regression).
    """
    scores = [
        (name, np.full(validation.rows, constants[name]), np.full(test.rows, constants[name]))
        for name in test.asked.constants
    ]
    if validation.channel_means is not None and test.channel_means is not None:
        scores.append(("channel_means", validation.channel_means, test.channel_means))
    return [_baseline(name, validation, test, *both) for name, *both in scores]


def _baseline(
    name: str,
    validation: SplitRows,
    test: SplitRows,
    on_validation: FloatArray,
    on_test: FloatArray,
) -> Baseline:
    threshold = None
    if test.asked.has_classes:
        threshold = best_f1_threshold(on_validation, validation.target)
    metrics = {}
    for metric in test.metrics:
        if metric.name in NEEDS_THRESHOLD and threshold is None:
            metrics[metric.name] = Interval(
                value=None,
                low=None,
                high=None,
                reason="no threshold could be chosen: validation has no positive row",
            )
            continue
        metrics[metric.name] = test.bootstrap.estimate(
            metric, test.target, on_test, threshold=threshold
        ).interval()
    improvement, lower = improvement_over(test, on_test)
    return Baseline(
        name=name,
        description=test.asked.constants.get(name, CHANNEL_MEANS),
        constant=round(float(on_test[0]), 6) if name in test.asked.constants else None,
        decision_threshold=None if threshold is None else round(threshold, 6),
        metrics=metrics,
        improvement=improvement,
        improvement_lower_bound=lower,
    )


def improvement_over(test: SplitRows, baseline: FloatArray) -> tuple[Interval, float | None]:
    """Measure the model's primary metric against that of another scorer of the same rows.

    Returns:
        The interval of the difference, positive where the model is better, and its one-sided bound.
    """
    metric = test.primary_metric
    if metric.name == "roc_auc" and np.ptp(baseline) == 0.0:
        # A constant has an AUC of one half on any rows: only the model's own is uncertain, and its
        # bounds on the logit scale are better than those of a difference.
        own = test.bootstrap.estimate(metric, test.target, test.prediction)
        return _shifted(own.interval(), -0.5), _rounded(own.lower_bound(), -0.5)
    first, second = test.prediction, baseline
    if not metric.higher_is_better:
        first, second = second, first
    paired = test.bootstrap.difference(metric, test.target, first, second)
    return paired.interval(), _rounded(paired.lower_bound(), 0.0)


def _shifted(interval: Interval, by: float) -> Interval:
    return Interval(
        value=_rounded(interval.value, by),
        low=_rounded(interval.low, by),
        high=_rounded(interval.high, by),
        reason=interval.reason,
    )


def _rounded(value: float | None, shift: float) -> float | None:
    return None if value is None else round(value + shift, 6)
