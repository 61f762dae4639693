"""webcam-ml: from star ratings of webcam snapshots to an ONNX scorer that goes live on evidence.

Read the packages in the order in which data flows: `labels`, `dataset`, `features`, `training`,
`evaluation`, `export`, `judging`, `live`, `disagreement`. `scoring` is the runtime, `store` the
versioned store, `contracts` what all of them agree on, `orchestration` the only package that knows
Dagster, `demo` draws webcams to try it all on. For a notebook there is `open_store`.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webcam_ml.notebook import Store

__all__ = ["__version__", "open_store"]

__version__ = "0.2.0"


def open_store(
    path: "str | os.PathLike[str] | None" = None,
    *,
    cache: "str | os.PathLike[str] | None" = None,
) -> "Store":
    """Open what the graph has stored, to analyse it in a notebook.

    Args:
        path: The store, a folder or `s3://bucket/prefix`; by default the graph's own: what
            WEBCAM_ML_ARTIFACTS names, else the folder `artifacts` here.
        cache: Root of the caches, for pictures; by default `cache` beside `path`, or without a
            folder the graph's own: what WEBCAM_ML_CACHE names, else `cache` here.

    Raises:
        ArtifactMissingError: There is no such folder, or nothing in the bucket.
    """
    # The libraries of the notebook's tables load here: `import webcam_ml` stays cheap.
    from webcam_ml.notebook import Store

    return Store.open(path, cache=cache)
