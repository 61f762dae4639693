"""From the label database to labelled snapshots.

`LabelDatabase` opens the application's database for reading, `LabelQuery` says whose ratings count,
and `read_labels` makes `Labels` of them. Targets, splits and manifests belong in `dataset`.
"""

from webcam_ml.labels._database import DEMO_MARK, LabelDatabase, LabelDatabaseError
from webcam_ml.labels._enough import TooFewLabelsError
from webcam_ml.labels._labels import LABEL_SCHEMA, LabelCounts, Labels, LabelsFileError
from webcam_ml.labels._query import LABEL_SOURCES, LabelConfigError, LabelQuery, LabelSource
from webcam_ml.labels._read import read_labels

__all__ = [
    "DEMO_MARK",
    "LABEL_SCHEMA",
    "LABEL_SOURCES",
    "LabelConfigError",
    "LabelCounts",
    "LabelDatabase",
    "LabelDatabaseError",
    "LabelQuery",
    "LabelSource",
    "Labels",
    "LabelsFileError",
    "TooFewLabelsError",
    "read_labels",
]
