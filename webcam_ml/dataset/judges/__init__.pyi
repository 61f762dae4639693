from ._calibration import (
    MIN_AUC,
    MIN_POSITIVES,
    MIN_ROWS,
    MIN_WEBCAMS,
    Calibration,
    calibrate_judge,
    population_stability,
)
from ._monotone import MonotoneMap, fit_monotone

__all__ = [
    "MIN_AUC",
    "MIN_POSITIVES",
    "MIN_ROWS",
    "MIN_WEBCAMS",
    "Calibration",
    "MonotoneMap",
    "calibrate_judge",
    "fit_monotone",
    "population_stability",
]
