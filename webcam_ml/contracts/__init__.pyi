from ._losses import sigmoid
from ._ratings import (
    HIGHEST_RATING,
    LOWEST_RATING,
    RATING_SCALE,
    RATING_SPAN,
    STAR_COLUMNS,
    STARS,
    UPPER_HALF,
    rating_of,
    score_of,
)
from ._spreadsheet import for_spreadsheets, from_spreadsheets
from ._target import Floors, Judged, Measured, ModelWords, PlotWords, Squash, Target
from ._targets import TARGETS, TargetType, target_of

__all__ = [
    "HIGHEST_RATING",
    "LOWEST_RATING",
    "RATING_SCALE",
    "RATING_SPAN",
    "STARS",
    "STAR_COLUMNS",
    "TARGETS",
    "UPPER_HALF",
    "Floors",
    "Judged",
    "Measured",
    "ModelWords",
    "PlotWords",
    "Squash",
    "Target",
    "TargetType",
    "for_spreadsheets",
    "from_spreadsheets",
    "rating_of",
    "score_of",
    "sigmoid",
    "target_of",
]
