from ._calibration import perfect_model_error
from ._checks import (
    DEFAULT_LIMITS,
    EvalLimits,
    beats_trivial_baselines,
    calibrated,
    enough_test_data,
    no_weak_slice,
)
from ._document import EvalDocument
from ._evaluate import EvaluationResult, evaluate_checkpoint
from ._judges import JudgeScores, judges_of
from ._report import EvalReport, build_eval_report
from ._settings import EvaluationSettings
from ._slices import slices_of
from ._verdict import Verdict

__all__ = [
    "DEFAULT_LIMITS",
    "EvalDocument",
    "EvalLimits",
    "EvalReport",
    "EvaluationResult",
    "EvaluationSettings",
    "JudgeScores",
    "Verdict",
    "beats_trivial_baselines",
    "build_eval_report",
    "calibrated",
    "enough_test_data",
    "evaluate_checkpoint",
    "judges_of",
    "no_weak_slice",
    "perfect_model_error",
    "slices_of",
]
