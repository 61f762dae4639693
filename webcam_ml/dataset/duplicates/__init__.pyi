from ._fingerprint import fingerprint, fingerprints
from ._groups import DuplicateWebcams, connected_webcams
from ._matches import Matches, match_pictures
from ._near_duplicates import (
    ComparedImages,
    NearDuplicates,
    compare_images,
    find_duplicate_webcams,
)

__all__ = [
    "ComparedImages",
    "DuplicateWebcams",
    "Matches",
    "NearDuplicates",
    "compare_images",
    "connected_webcams",
    "find_duplicate_webcams",
    "fingerprint",
    "fingerprints",
    "match_pictures",
]
