"""The versioned store: immutable artifacts, named by content and ancestry.

An artifact is a folder of files with a `lineage.json`. Its `data_version` is the SHA-256 over the
digests of its files and the versions of its inputs, so equal inputs give equal versions and a
version names its whole ancestry. The values themselves are defined where they are made (labels,
manifests, checkpoints, …); this package only knows that they can `save` and `load`.
"""

from webcam_ml.store._ancestry import require_common_ancestry
from webcam_ml.store._atomic import flush_file, flush_folder, share_file, write_atomically
from webcam_ml.store._bucket import (
    BESIDE_ASSETS,
    PICTURES,
    ROWS,
    STORE_VARIABLE,
    Bucket,
    Found,
    advance,
    bucket_from_env,
    is_plain_name,
    open_bucket,
)
from webcam_ml.store._bucket_store import BucketStore
from webcam_ml.store._folder_bucket import FolderBucket
from webcam_ml.store._lease import lease
from webcam_ml.store._lineage import LINEAGE_FILE, FileRecord, Lineage, Provenance
from webcam_ml.store._locks import LOCK_FILE, explaining_lock_errors
from webcam_ml.store._store import (
    CACHE_VARIABLE,
    LATEST_FILE,
    MIRROR_VARIABLE,
    VERSION,
    Artifact,
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    StoredArtifact,
    cache_from_env,
    mirror,
)

__all__ = [
    "BESIDE_ASSETS",
    "CACHE_VARIABLE",
    "LATEST_FILE",
    "LINEAGE_FILE",
    "LOCK_FILE",
    "MIRROR_VARIABLE",
    "PICTURES",
    "ROWS",
    "STORE_VARIABLE",
    "VERSION",
    "Artifact",
    "ArtifactDamagedError",
    "ArtifactMissingError",
    "ArtifactStore",
    "Bucket",
    "BucketStore",
    "FileRecord",
    "FolderBucket",
    "Found",
    "Lineage",
    "Provenance",
    "StoredArtifact",
    "advance",
    "bucket_from_env",
    "cache_from_env",
    "explaining_lock_errors",
    "flush_file",
    "flush_folder",
    "is_plain_name",
    "lease",
    "mirror",
    "open_bucket",
    "require_common_ancestry",
    "share_file",
    "write_atomically",
]
