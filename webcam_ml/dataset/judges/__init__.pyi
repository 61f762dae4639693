from ._calibration import (
    MIN_AUC,
    MIN_POSITIVES,
    MIN_ROWS,
    MIN_WEBCAMS,
    Calibration,
    Overlap,
    calibrate_judge,
    population_stability,
)
from ._compare import JudgeComparison, compare_judges
from ._external import ExternalRows
from ._heard import HeardJudge, HeardJudges, hear_judges
from ._monotone import MonotoneMap, fit_mean, fit_median

__all__ = [
    "MIN_AUC",
    "MIN_POSITIVES",
    "MIN_ROWS",
    "MIN_WEBCAMS",
    "Calibration",
    "ExternalRows",
    "HeardJudge",
    "HeardJudges",
    "JudgeComparison",
    "MonotoneMap",
    "Overlap",
    "calibrate_judge",
    "compare_judges",
    "fit_mean",
    "fit_median",
    "hear_judges",
    "population_stability",
]
