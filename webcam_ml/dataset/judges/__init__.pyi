from ._calibration import (
    MIN_AUC,
    MIN_POSITIVES,
    MIN_ROWS,
    MIN_WEBCAMS,
    Calibration,
    calibrate_judge,
    population_stability,
)
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
    "MonotoneMap",
    "calibrate_judge",
    "fit_mean",
    "fit_median",
    "hear_judges",
    "population_stability",
]
