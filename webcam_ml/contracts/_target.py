"""What a model is asked, as one object for each target type.

Whatever differs between the types is defined here, so that no other module asks which type it has.
A new type is a subclass in a module of its own, listed in `_targets`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import torch
    from numpy.typing import NDArray

    from webcam_ml.contracts._targets import TargetType

    Array: TypeAlias = NDArray[np.float64]

Numbers: TypeAlias = dict[str, float | int | str | None]


class Measured(Protocol):
    """A metric's value with the lower end of its interval; None where missing, with the reason."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def reason(self) -> str | None: ...


class Floors(Protocol):
    """The settings that say what a candidate must reach, and how much worse it may be."""

    @property
    def min_auc(self) -> float: ...
    @property
    def min_spearman(self) -> float: ...
    @property
    def max_auc_loss(self) -> float: ...
    @property
    def max_mae_gain(self) -> float: ...


class Judged(NamedTuple):
    """Whether a floor is reached, in a sentence, and the numbers behind it."""

    passed: bool
    reason: str
    numbers: Numbers


@dataclass(frozen=True)
class Squash:
    """The ONNX operator from a head's value to 0–1, with its inputs beside the value."""

    operator: str
    constants: Mapping[str, float]


@dataclass(frozen=True)
class ModelWords:
    """What the outputs mean, for readers of stored documents and of the page.

    Attributes:
        raw_score, ai_rating: The outputs, in model.meta.json.
        ai_rating_in_reports: The same for curators who compare it with ratings.
        mean_label: The mean of the targets.
    """

    raw_score: str
    ai_rating: str
    ai_rating_in_reports: str
    mean_label: str


@dataclass(frozen=True)
class PlotWords:
    """What plots of an evaluation say.

    Attributes:
        reliability: The question that the reliability plot answers.
        reliability_point: What one of its points is.
        mean_prediction, mean_target: Its axes.
        prediction: The axis of single predictions.
        prediction_limits: Where that axis begins and ends.
        surplus: The axis of prediction less target, by webcam.
    """

    reliability: str
    reliability_point: str
    mean_prediction: str
    mean_target: str
    prediction: str
    prediction_limits: tuple[float, float]
    surplus: str


class Target(ABC):
    """One target type.

    Targets of rows (`target_label`) and predictions are on the target's `scale`; a model's head is
    trained on 0–1 and its squashed value is the raw_score.

    Attributes:
        name: How it is written in configs and stored documents.
        question: What the model is asked, in a few words.
        has_classes: Whether targets are two classes, 0 and 1: then scores are calibrated
            probabilities, a decision threshold is chosen, and every split needs both classes.
        in_stars: Whether predictions are ratings and can be compared with them.
        scale: Lowest and highest target.
        positive_label: Targets from here on count as positive, where both ends have to be there.
        head: The regression that trains the head, `logistic regression` or `ridge regression`.
        loss_name: The loss, for people.
        squash_operator: The squashing function in ONNX: `Sigmoid` or `Clip`, which torch has too.
        metrics: All metrics, in the order of reports.
        primary_metric: The one by which two models are compared, in the gates and elsewhere.
        primary_metric_name: The same for people.
        higher_is_better: Of the primary metric.
        compared_metrics: What is shown of candidate and live model.
        headline_metrics: What a summary shows.
        slice_metrics: What is measured of parts of the test split.
        slice_margin: How much worse than the whole a part may be, in the primary metric.
        mean_metric: The metric that is the mean of the targets.
        constants: The baselines that predict one constant, and what that is.
        competing: Baselines that compete in the primary metric.
        main_plot: The plot that shows how good the model is.
        floor_setting: The setting that says how good a candidate must be at least.
        margin_setting: The setting that says how much worse than the live model it may be.
        words, plot_words: Texts for people.
    """

    name: ClassVar[TargetType]
    question: ClassVar[str]
    has_classes: ClassVar[bool]
    in_stars: ClassVar[bool]
    scale: ClassVar[tuple[float, float]]
    positive_label: ClassVar[float]
    head: ClassVar[Literal["logistic regression", "ridge regression"]]
    loss_name: ClassVar[str]
    squash_operator: ClassVar[Squash]
    metrics: ClassVar[tuple[str, ...]]
    primary_metric: ClassVar[str]
    primary_metric_name: ClassVar[str]
    higher_is_better: ClassVar[bool]
    compared_metrics: ClassVar[tuple[str, ...]]
    headline_metrics: ClassVar[tuple[str, ...]]
    slice_metrics: ClassVar[tuple[str, ...]]
    slice_margin: ClassVar[float]
    mean_metric: ClassVar[str]
    constants: ClassVar[Mapping[str, str]]
    competing: ClassVar[tuple[str, ...]]
    main_plot: ClassVar[Literal["roc_pr.png", "error_curve.png"]]
    floor_setting: ClassVar[str]
    margin_setting: ClassVar[str]
    words: ClassVar[ModelWords]
    plot_words: ClassVar[PlotWords]

    # --- from ratings to targets and back ---------------------------------------------------------

    @abstractmethod
    def positive_from(self, binary_threshold: float) -> float | None:
        """The rating from which a picture is positive; None where no threshold is used."""

    @abstractmethod
    def label_of(self, rating: pl.Expr, *, binary_threshold: float) -> pl.Expr:
        """From ratings (1–5) to targets."""

    @abstractmethod
    def stored_label(self, label: pl.Expr) -> pl.Expr:
        """From float targets to how they are written in a manifest."""

    @abstractmethod
    def distribution(self, labels: pl.Series) -> dict[str, float]:
        """Count targets by what they are."""

    @abstractmethod
    def to_head(self, label: Array) -> Array:
        """From targets to the 0–1 that a head is trained on."""

    @abstractmethod
    def prediction(self, raw_score: Array) -> Array:
        """From a model's 0–1 to the scale of the targets."""

    # --- training ---------------------------------------------------------------------------------

    @abstractmethod
    def squash(self, value: Array) -> Array:
        """From a head's values [rows] to 0–1."""

    @abstractmethod
    def loss(self, target: Array, value: Array) -> float:
        """Mean loss of a head's values [rows]; targets are on the head's 0–1."""

    @abstractmethod
    def torch_loss(self, value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of each row, in torch."""

    @abstractmethod
    def constant_loss(self, target: Array, weight: NDArray[np.float32]) -> float:
        """Weighted loss of the best constant prediction."""

    @abstractmethod
    def measurable(self, value: Array) -> Array:
        """From a head's values to what the primary metric is measured on."""

    # --- measuring and judging --------------------------------------------------------------------

    @abstractmethod
    def constants_of(self, label: NDArray[np.number]) -> dict[str, float]:
        """The constant that each of `constants` learns from the targets of train."""

    @abstractmethod
    def cost(self, difference: Array) -> Array:
        """How much a difference between prediction and target weighs: the error that is summed."""

    @abstractmethod
    def chance_spread(self, prediction: Array, rest: Array) -> float:
        """How far single pictures lie off by chance.

        Args:
            prediction: [rows] predictions.
            rest: [rows] prediction less target, less the mean of that of the row's webcam.
        """

    @abstractmethod
    def quality_floor(
        self,
        metrics: Mapping[str, Measured],
        *,
        baselines: Mapping[str, Mapping[str, Measured]],
        floors: Floors,
    ) -> Judged:
        """Judge whether a candidate is good enough to be live, whatever the live model is.

        Args:
            metrics: Its metrics on the test split.
            baselines: Baseline → metric → what it reaches there.
            floors: What must be reached.
        """

    def margin(self, floors: Floors) -> float:
        """The limit for the bound of a candidate's difference to the live model (`is_better`)."""
        allowed: float = getattr(floors, self.margin_setting)
        return -allowed if self.higher_is_better else allowed

    def is_better(self, value: float, limit: float) -> bool:
        """Whether a value of the primary metric lies on the good side of a limit."""
        return value > limit if self.higher_is_better else value < limit

    def quality(self, value: float) -> float:
        """Give a value of the primary metric with such a sign that larger is better."""
        return value if self.higher_is_better else -value
