"""Metrics of a scorer, and intervals that hold for new webcams.

`webcam_estimate` and `webcam_interval` measure one scorer, `paired_difference` compares two on the
same rows; for many measurements on the same rows, keep a `WebcamBootstrap`. Nothing here knows what
a model, a manifest or a report is: arrays come in. What the numbers mean to a curator stands in
``docs/evaluation.md``.
"""

from webcam_ml.metrics._intervals import (
    Interval,
    WebcamBootstrap,
    WebcamEstimate,
    effective_webcams,
    mean_over_webcams,
    paired_difference,
    webcam_estimate,
    webcam_interval,
)
from webcam_ml.metrics._metrics import (
    BINARY_METRICS,
    CALIBRATION_BINS,
    MEAN_METRICS,
    METRICS,
    REGRESSION_METRICS,
    Confusion,
    Measurement,
    Metric,
    binary_metrics,
    confusion,
    equal_mass_bins,
    make_sample,
    measure,
    regression_metrics,
    sum_by,
    whole_stars,
)
from webcam_ml.metrics._scales import FloatArray

__all__ = [
    "BINARY_METRICS",
    "CALIBRATION_BINS",
    "MEAN_METRICS",
    "METRICS",
    "REGRESSION_METRICS",
    "Confusion",
    "FloatArray",
    "Interval",
    "Measurement",
    "Metric",
    "WebcamBootstrap",
    "WebcamEstimate",
    "binary_metrics",
    "confusion",
    "effective_webcams",
    "equal_mass_bins",
    "make_sample",
    "mean_over_webcams",
    "measure",
    "paired_difference",
    "regression_metrics",
    "sum_by",
    "webcam_estimate",
    "webcam_interval",
    "whole_stars",
]
