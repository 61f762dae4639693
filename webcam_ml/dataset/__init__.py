"""From labelled snapshots to targets, splits, manifests and verified images."""

from webcam_ml.dataset._manifest import (
    ExportMeta,
    Manifest,
    UnusableTargetsError,
    build_manifest,
    require_usable_targets,
)
from webcam_ml.dataset._pictures import RowsWithPictures, rows_with_pictures
from webcam_ml.dataset._splits import SPLIT_NAMES, SplitConfig, SplitConfigError, SplitName
from webcam_ml.dataset._targets import TargetConfig, TargetConfigError, TargetType

__all__ = [
    "SPLIT_NAMES",
    "ExportMeta",
    "Manifest",
    "RowsWithPictures",
    "SplitConfig",
    "SplitConfigError",
    "SplitName",
    "TargetConfig",
    "TargetConfigError",
    "TargetType",
    "UnusableTargetsError",
    "build_manifest",
    "require_usable_targets",
    "rows_with_pictures",
]
