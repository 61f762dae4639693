from ._database import DEMO_MARK, LabelDatabase, LabelDatabaseError
from ._dated_votes import read_dated_votes
from ._enough import TooFewLabelsError
from ._growth import (
    MAX_ATTEMPTS,
    Decision,
    GrowthSettings,
    LabelGrowth,
    decide,
    label_growth,
    utc_minute,
)
from ._inferences import (
    INFERENCE_SCHEMA,
    Recorded,
    count_inferences,
    read_inferences,
    record_inferences,
)
from ._judgements import Judgements
from ._labels import LabelCounts, Labels
from ._query import LabelQuery
from ._read import read_label_values, read_labels
from ._sources import LABEL_SOURCES, LabelSource
from ._unrated import Unrated, read_image_sources, read_unrated
from ._values import LabelValues

__all__ = [
    "DEMO_MARK",
    "INFERENCE_SCHEMA",
    "LABEL_SOURCES",
    "MAX_ATTEMPTS",
    "Decision",
    "GrowthSettings",
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
    "read_unrated",
    "record_inferences",
    "utc_minute",
]
