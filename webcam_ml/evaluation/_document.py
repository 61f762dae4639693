"""What eval_report.json holds, as types: the stored evidence that checks and gates judge.

Only plain data. Keys and their order are a contract; whoever reads an older file sees its
``schema_version``. What each number means to a curator is in ``docs/evaluation.md``.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from webcam_ml.contracts import TargetType
from webcam_ml.metrics import Interval

SCHEMA_VERSION: Literal[1] = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class IntervalMethod(_Part):
    """How every interval in the report was made."""

    confidence: float
    bootstrap_samples: int
    random_state: int


class SplitSummary(_Part):
    """How much a split can tell.

    Positives are pictures rated ``positive_from_stars`` or better: the positive class, or for
    regression the upper half of the scale, which needs rows just as much.
    """

    rows: int
    webcams: int
    effective_webcams: float
    positives: int
    webcams_with_a_positive: int
    positive_from_stars: float
    left_out: dict[str, int]


class TestSplit(SplitSummary):
    """The test split, with the SHA-256 of the manifest file that it came from."""

    __test__ = False

    sha256: str


class ConfusionCounts(_Part):
    """Rows by class and by decision."""

    tn: int
    fp: int
    fn: int
    tp: int


class SplitMetrics(_Part):
    """Metrics of the validation split; slightly too good, as the threshold was chosen on it."""

    split: SplitSummary
    metrics: dict[str, Interval]
    confusion: ConfusionCounts | None


class Baseline(_Part):
    """A trivial scorer on the same test rows.

    ``constant`` is its prediction where that is the same for every picture.
    ``improvement`` is the model's primary metric against the baseline's, signed so that positive
    means that the model is better; ``improvement_lower_bound`` is its one-sided 95 % bound.
    """

    name: str
    description: str
    constant: float | None
    decision_threshold: float | None
    metrics: dict[str, Interval]
    improvement: Interval
    improvement_lower_bound: float | None


class Raters(_Part):
    """How well one person predicts the others, and how well the model does on the same ratings."""

    metric: str
    ratings: int
    snapshots: int
    webcams: int
    one_person: Interval
    model: Interval


class JudgeRaters(Raters):
    """The same where a judge has a score, and how well it does on these ratings."""

    judge: Interval


class JudgeOnTest(_Part):
    """A judge that is no person, as a scorer of the test rows that it scored, beside the model on them.

    ``silent_because`` says why its scores make no labels, and is None if they do. What is measured is
    the order of its scores, or for regression the stars that they mean. ``improvement`` is as of a
    `Baseline`.
    """

    name: str
    silent_because: str | None
    rows: int
    webcams: int
    positives: int
    judge: Interval
    model: Interval
    improvement: Interval
    raters: JudgeRaters


class Slice(_Part):
    """A part of the test split.

    ``weak`` is None where there are too few rows, or no interval, to judge; ``reason`` says so.
    """

    by: str
    group: str
    rows: int
    webcams: int
    effective_webcams: float
    positives: int
    mean_target: float
    mean_prediction: float
    metrics: dict[str, Interval]
    weak: bool | None
    reason: str


class ReliabilityBin(_Part):
    """Rows of similar prediction: what was predicted and what people said."""

    rows: int
    webcams: int
    mean_prediction: float
    mean_target: Interval


class Reliability(_Part):
    """Bins of equal mass; the calibration error and what a perfect model would show (binary)."""

    bins: list[ReliabilityBin]
    calibration_error: Interval | None
    perfect_model_error: float | None


class ReliabilityPair(_Part):
    """Reliability of the scores as served and, where known, before calibration."""

    calibrated: Reliability
    uncalibrated: Reliability | None


class DecisionCounts(_Part):
    """What a threshold does on one split."""

    precision: float | None
    recall: float | None
    f1: float | None
    balanced_accuracy: float | None
    predicted_positive: int


class ThresholdRow(_Part):
    """One threshold on both splits."""

    threshold: float
    is_decision_threshold: bool
    validation: DecisionCounts
    test_report_only: DecisionCounts


class ThresholdTable(_Part):
    """Thresholds to choose from, by validation: choosing by the test column would spoil it."""

    choose_by: Literal["validation"]
    rows: list[ThresholdRow]


class StarError(_Part):
    """Pictures that people gave this many stars, ratings rounded."""

    stars: int
    rows: int
    webcams: int
    mean_prediction: float | None
    mae: Interval | None


class WebcamError(_Part):
    """A camera and its share of all the squared error (binary) or absolute error (regression)."""

    webcam_id: int
    rows: int
    mean_target: float
    mean_prediction: float
    share_of_error: float


class EvalDocument(_Part):
    """Everything in eval_report.json."""

    schema_version: Literal[1]
    target_type: TargetType
    primary_metric: str
    checkpoint: str
    decision_threshold: float | None
    intervals: IntervalMethod
    test_split: TestSplit
    metrics: dict[str, Interval]
    confusion: ConfusionCounts | None
    validation: SplitMetrics
    baselines: list[Baseline]
    raters: Raters
    slices: list[Slice]
    reliability: ReliabilityPair
    threshold_table: ThresholdTable | None
    by_star: list[StarError]
    webcams_with_most_error: list[WebcamError]
    # Only where the label source hears judges: reports of the others keep their bytes.
    judges: list[JudgeOnTest] | None = Field(default=None, exclude_if=lambda judges: judges is None)
