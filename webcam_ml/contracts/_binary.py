"""Is the picture rated at least so many stars? The model gives a calibrated probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from webcam_ml.contracts import _losses
from webcam_ml.contracts._target import (
    Floors,
    Judged,
    Measured,
    ModelWords,
    Numbers,
    PlotWords,
    Squash,
    Target,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import torch
    from numpy.typing import NDArray

    from webcam_ml.contracts._target import Array

CHANCE_AUC = 0.5


class Binary(Target):
    """Targets are 0 and 1; the head gives log-odds."""

    name = "binary"
    question = "rated at least binary_threshold?"
    has_classes = True
    in_stars = False
    scale = (0.0, 1.0)
    positive_label = 1.0
    head = "logistic regression"
    loss_name = "log loss"
    squash_operator = Squash("Sigmoid", {})
    metrics = (
        "roc_auc", "average_precision", "precision", "recall", "f1", "balanced_accuracy", "brier",
        "expected_calibration_error",
    )  # fmt: skip
    primary_metric = "roc_auc"
    primary_metric_name = "ROC AUC"
    higher_is_better = True
    compared_metrics = ("roc_auc", "average_precision", "f1", "brier")
    headline_metrics = ("roc_auc", "average_precision", "f1", "brier")
    slice_metrics = ("roc_auc", "precision", "recall", "brier")
    slice_margin = 0.05
    mean_metric = "positive_rate"
    constants: ClassVar[Mapping[str, str]] = {
        "prior": "the share of positives in train, for every picture"
    }
    competing = ("prior", "channel_means")
    main_plot = "roc_pr.png"
    floor_setting = "min_auc"
    margin_setting = "max_auc_loss"
    words = ModelWords(
        raw_score="calibrated probability that people rate it at the threshold or above",
        ai_rating="1 + 4 * raw_score: a probability on the star scale, not an estimate of the rating",
        ai_rating_in_reports=(
            "ai_rating is a probability on the star scale (1 + 4 · the probability that people like "
            "the picture), not an estimate of the rating: a perfectly calibrated model is 1.4 stars "
            "off on 4-star pictures on average. Read it beside expected_rating, what people say on "
            "average about pictures with the same score."
        ),
        mean_label="positive share",
    )
    plot_words = PlotWords(
        reliability="Does a score mean what it says?",
        reliability_point="as served",
        mean_prediction="mean score of the pictures in a group",
        mean_target="share that people found good",
        prediction="model's score: probability of a good picture",
        prediction_limits=(-0.03, 1.03),
        surplus="mean score less share of good pictures",
    )

    def positive_from(self, binary_threshold: float) -> float | None:
        return binary_threshold

    def label_of(self, rating: pl.Expr, *, binary_threshold: float) -> pl.Expr:
        return (rating >= binary_threshold).cast(int)

    def stored_label(self, label: pl.Expr) -> pl.Expr:
        return label.cast(int)

    def distribution(self, labels: pl.Series) -> dict[str, float]:
        positive = int(labels.sum())
        return {"negative": len(labels) - positive, "positive": positive}

    def to_head(self, label: Array) -> Array:
        return label

    def prediction(self, raw_score: Array) -> Array:
        return raw_score

    def squash(self, value: Array) -> Array:
        return _losses.sigmoid(value)

    def loss(self, target: Array, value: Array) -> float:
        return _losses.log_loss(target, value)

    def torch_loss(self, value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _losses.torch_log_loss(value, target)

    def constant_loss(self, target: Array, weight: NDArray[np.float32]) -> float:
        return _losses.constant_log_loss(target, weight)

    def measurable(self, value: Array) -> Array:
        # Only the order counts, and different log-odds could become equal probabilities.
        return value

    def constants_of(self, label: NDArray[np.number]) -> dict[str, float]:
        return {"prior": float(label.mean())}

    def cost(self, difference: Array) -> Array:
        squared: Array = difference**2
        return squared

    def chance_spread(self, prediction: Array, rest: Array) -> float:
        return math.sqrt((prediction * (1.0 - prediction)).mean())

    def quality_floor(
        self,
        metrics: Mapping[str, Measured],
        *,
        baselines: Mapping[str, Mapping[str, Measured]],
        floors: Floors,
    ) -> Judged:
        auc = metrics["roc_auc"]
        numbers: Numbers = {
            "value": auc.value,
            "low": auc.low,
            "min_auc": floors.min_auc,
            "min_low": CHANCE_AUC,
        }
        if auc.value is None or auc.low is None:
            return Judged(False, f"ROC AUC cannot be judged: {auc.reason}.", numbers)
        return Judged(
            auc.value >= floors.min_auc and auc.low > CHANCE_AUC,
            f"ROC AUC {auc.value:.3f} (at least {floors.min_auc:g} needed), lower bound "
            f"{auc.low:.3f} (above {CHANCE_AUC:g} needed).",
            numbers,
        )
