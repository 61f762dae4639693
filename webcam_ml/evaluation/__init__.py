"""From predictions to metrics with intervals, slices, baselines and plots.

Start at `build_eval_report`, which makes the artifact, and `docs/evaluation.md`, which says what its
numbers mean. `webcam_estimate`, `webcam_interval` and `paired_difference` serve whoever compares
scorers elsewhere (fine-tuning, promotion). Nothing here knows Dagster or torch: predictions come
in as a frame.
"""

from webcam_ml.evaluation._calibration import perfect_model_error
from webcam_ml.evaluation._checks import (
    DEFAULT_LIMITS,
    EvalLimits,
    beats_trivial_baselines,
    calibrated,
    enough_test_data,
    no_weak_slice,
)
from webcam_ml.evaluation._document import EvalDocument, TargetType
from webcam_ml.evaluation._evaluate import EvaluationResult, evaluate_checkpoint
from webcam_ml.evaluation._intervals import (
    Interval,
    WebcamEstimate,
    effective_webcams,
    paired_difference,
    webcam_estimate,
    webcam_interval,
)
from webcam_ml.evaluation._metrics import (
    METRICS,
    Confusion,
    Measurement,
    binary_metrics,
    confusion,
    regression_metrics,
)
from webcam_ml.evaluation._report import EvalReport, build_eval_report
from webcam_ml.evaluation._verdict import Verdict

__all__ = [
    "DEFAULT_LIMITS",
    "METRICS",
    "Confusion",
    "EvalDocument",
    "EvalLimits",
    "EvalReport",
    "EvaluationResult",
    "Interval",
    "Measurement",
    "TargetType",
    "Verdict",
    "WebcamEstimate",
    "beats_trivial_baselines",
    "binary_metrics",
    "build_eval_report",
    "calibrated",
    "confusion",
    "effective_webcams",
    "enough_test_data",
    "evaluate_checkpoint",
    "no_weak_slice",
    "paired_difference",
    "perfect_model_error",
    "regression_metrics",
    "webcam_estimate",
    "webcam_interval",
]
