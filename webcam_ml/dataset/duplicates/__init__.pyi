from ._devices import devices_in_two_splits, groups_of
from ._fingerprint import fingerprint, fingerprints
from ._groups import DuplicateWebcams, connected_webcams
from ._matches import Matches, match_pictures, placeholder_files
from ._near_duplicates import (
    PLACEHOLDER,
    ComparedImages,
    NearDuplicates,
    compare_images,
    find_duplicate_webcams,
)
from ._same_file import SameFile, find_same_file

__all__ = [
    "PLACEHOLDER",
    "ComparedImages",
    "DuplicateWebcams",
    "Matches",
    "NearDuplicates",
    "SameFile",
    "compare_images",
    "connected_webcams",
    "devices_in_two_splits",
    "find_duplicate_webcams",
    "find_same_file",
    "fingerprint",
    "fingerprints",
    "groups_of",
    "match_pictures",
    "placeholder_files",
]
