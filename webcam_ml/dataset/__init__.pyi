from ._manifest import (
    ExportMeta,
    Manifest,
    UnusableTargetsError,
    build_manifest,
    require_usable_targets,
)
from ._pictures import RowsWithPictures, rows_with_pictures
from ._splits import SPLIT_NAMES, SplitConfig, SplitConfigError, SplitName
from ._targets import TargetConfig, TargetConfigError

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
    "UnusableTargetsError",
    "build_manifest",
    "require_usable_targets",
    "rows_with_pictures",
]
