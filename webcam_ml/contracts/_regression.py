"""Which rating do people give? The model gives a number of stars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from webcam_ml.contracts import _losses
from webcam_ml.contracts._ratings import RATING_SCALE, STARS, UPPER_HALF, rating_of, score_of
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


class Regression(Target):
    """Targets are ratings; the head gives ratings scaled to 0–1, and they are clamped there."""

    name = "regression"
    question = "which rating?"
    has_classes = False
    in_stars = True
    scale = RATING_SCALE
    # There are no classes, but correlation and error need rows at both ends of the scale.
    positive_label = UPPER_HALF
    head = "ridge regression"
    loss_name = "squared error"
    squash_operator = Squash("Clip", {"score.lowest": 0.0, "score.highest": 1.0})
    metrics = ("mae", "rmse", "pearson", "spearman", "r2", "quadratic_weighted_kappa")
    primary_metric = "mae"
    primary_metric_name = "MAE"
    higher_is_better = False
    compared_metrics = ("mae", "rmse", "spearman")
    headline_metrics = ("mae", "spearman", "r2")
    slice_metrics = ("mae", "rmse", "spearman")
    slice_margin = 0.2
    mean_metric = "mean_rating"
    constants: ClassVar[Mapping[str, str]] = {
        "median": "the median rating in train, for every picture (the best constant for MAE)",
        "mean": "the mean rating in train, for every picture (the best constant for RMSE)",
    }
    competing = ("median", "channel_means")
    main_plot = "error_curve.png"
    floor_setting = "min_spearman"
    margin_setting = "max_mae_gain"
    words = ModelWords(
        raw_score="predicted rating on the 0–1 scale, clamped",
        ai_rating="1 + 4 * raw_score: the predicted rating in stars",
        ai_rating_in_reports="ai_rating is the model's estimate of the rating, in stars.",
        mean_label="mean target",
    )
    plot_words = PlotWords(
        reliability="Does a predicted rating hold?",
        reliability_point="pictures of similar prediction",
        mean_prediction="mean predicted rating of the pictures in a group",
        mean_target="mean rating by people, in stars",
        prediction="predicted rating",
        prediction_limits=(0.9, 5.1),
        surplus="mean prediction less mean rating, in stars",
    )

    def positive_from(self, binary_threshold: float) -> float | None:
        return None

    def label_of(self, rating: pl.Expr, *, binary_threshold: float) -> pl.Expr:
        return rating

    def stored_label(self, label: pl.Expr) -> pl.Expr:
        return label

    def distribution(self, labels: pl.Series) -> dict[str, float]:
        rounded = labels.round().cast(int)
        return {
            **{f"{star} stars": int((rounded == star).sum()) for star in STARS},
            "mean": round(float(labels.to_numpy().mean()), 4) if len(labels) else 0.0,
        }

    def to_head(self, label: Array) -> Array:
        return score_of(label)

    def prediction(self, raw_score: Array) -> Array:
        return rating_of(raw_score)

    def squash(self, value: Array) -> Array:
        return _losses.clamp(value)

    def loss(self, target: Array, value: Array) -> float:
        return _losses.squared_error(target, value)

    def torch_loss(self, value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return _losses.torch_squared_error(value, target)

    def constant_loss(self, target: Array, weight: NDArray[np.float32]) -> float:
        return _losses.constant_squared_error(target, weight)

    def measurable(self, value: Array) -> Array:
        return rating_of(_losses.clamp(value))

    def constants_of(self, label: NDArray[np.number]) -> dict[str, float]:
        import numpy as np

        return {"median": float(np.median(label)), "mean": float(label.mean())}

    def cost(self, difference: Array) -> Array:
        return abs(difference)

    def chance_spread(self, prediction: Array, rest: Array) -> float:
        return float(rest.std())

    def quality_floor(
        self,
        metrics: Mapping[str, Measured],
        *,
        baselines: Mapping[str, Mapping[str, Measured]],
        floors: Floors,
    ) -> Judged:
        mae, spearman = metrics["mae"].value, metrics["spearman"].value
        constant = baselines["median"]["mae"].value
        numbers: Numbers = {
            "value": mae,
            "mae_of_median": constant,
            "spearman": spearman,
            "min_spearman": floors.min_spearman,
        }
        if mae is None or constant is None or spearman is None:
            reason = metrics["spearman"].reason or metrics["mae"].reason
            return Judged(False, f"MAE or Spearman cannot be judged: {reason}.", numbers)
        return Judged(
            mae < constant and spearman >= floors.min_spearman,
            f"MAE {mae:.3f} stars (below {constant:.3f}, that of the training median, needed), "
            f"Spearman {spearman:.3f} (at least {floors.min_spearman:g} needed).",
            numbers,
        )
