from ._database import DEMO_MARK, LabelDatabase, LabelDatabaseError
from ._dated_votes import read_dated_votes
from ._enough import TooFewLabelsError
from ._growth import (
    MAX_ATTEMPTS,
    Decision,
    GrowthSettings,
    JudgeGrowth,
    LabelGrowth,
    decide,
    label_growth,
    utc_minute,
)
from ._inferences import (
    INFERENCE_SCHEMA,
    Recorded,
    record_inferences,
)
from ._judgements import SAID_FILE, SCORE, Judgements, scores_of
from ._labels import LabelCounts, Labels
from ._query import LabelQuery
from ._read import read_label_values, read_labels
from ._served import Served, count_inferences, read_inferences, read_served
from ._sources import LABEL_SOURCES, LabelSource
from ._unrated import Unrated, read_image_sources, read_unrated
from ._values import LabelValues
from ._votes import VOTE_KINDS

__all__ = [
    "DEMO_MARK",
    "INFERENCE_SCHEMA",
    "LABEL_SOURCES",
    "MAX_ATTEMPTS",
    "SAID_FILE",
    "SCORE",
    "VOTE_KINDS",
    "Decision",
    "GrowthSettings",
    "JudgeGrowth",
    "Judgements",
    "LabelCounts",
    "LabelDatabase",
    "LabelDatabaseError",
    "LabelGrowth",
    "LabelQuery",
    "LabelSource",
    "LabelValues",
    "Labels",
    "Recorded",
    "Served",
    "TooFewLabelsError",
    "Unrated",
    "count_inferences",
    "decide",
    "label_growth",
    "read_dated_votes",
    "read_image_sources",
    "read_inferences",
    "read_label_values",
    "read_labels",
    "read_served",
    "read_unrated",
    "record_inferences",
    "scores_of",
    "utc_minute",
]
