from ._manifest import (
    ExportMeta,
    Manifest,
    UnusableTargetsError,
    build_manifest,
    require_people_on_webcams,
    require_usable_targets,
)
from ._pictures import RowsWithPictures, rows_with_pictures
from ._splits import SPLIT_NAMES, SplitConfig, SplitName
from ._targets import TargetConfig

__all__ = [
    "SPLIT_NAMES",
    "ExportMeta",
    "Manifest",
    "RowsWithPictures",
    "SplitConfig",
    "SplitName",
    "TargetConfig",
    "UnusableTargetsError",
    "build_manifest",
    "require_people_on_webcams",
    "require_usable_targets",
    "rows_with_pictures",
]
