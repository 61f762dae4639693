"""Features of pictures, computed once per picture and backbone.

Values are float32 as onnxruntime gave them, picture by picture on one thread each, so that a cold run
and an incremental one see identical numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images import ArrayCache, ImageArray
from webcam_ml.features._backbone_graph import BackboneGraph

if TYPE_CHECKING:
    import onnxruntime

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Features of a list of pictures, in its order.

    Attributes:
        values: float32 [pictures, features].
        channel_means: float32 [pictures, 3], red, green and blue on the 0–1 scale.
        computed: How many distinct pictures went through the backbone now.
        reused: How many were kept from before.
    """

    values: FloatArray
    channel_means: FloatArray
    computed: int
    reused: int


def extract_features(
    graph: BackboneGraph,
    digests: Sequence[str],
    *,
    decode: Callable[[str], ImageArray],
    cache: Path,
) -> Features:
    """Give the features of pictures, computing only those that the cache lacks.

    Args:
        graph: The exported backbone.
        digests: SHA-256 of each picture.
        decode: Turns a digest into uint8 RGB [height, width, 3]; called in threads.
        cache: Root of the caches.
    """
    kept = ArrayCache(cache / "features" / f"{graph.fingerprint[:24]}.sqlite", np.float32)
    known, computed = kept.compute_missing(
        digests, _Backbone(graph), decode=decode, what="features"
    )
    rows = np.stack([known[digest] for digest in digests])
    return Features(
        values=rows[:, :-3],
        channel_means=rows[:, -3:],
        computed=computed,
        reused=len(set(digests)) - computed,
    )


def start_session(graph: BackboneGraph) -> "onnxruntime.InferenceSession":
    """Start a session that runs a graph on one thread, the one that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])


class _Backbone:
    """Runs the graph, several pictures at once, each on one thread.

    The session is made when the first picture needs it.
    """

    def __init__(self, graph: BackboneGraph) -> None:
        self._graph = graph
        self._lock = Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def __call__(self, picture: ImageArray) -> FloatArray:
        with self._lock:
            session = self._session = self._session or start_session(self._graph)
        features, means = session.run(["features", "channel_means"], {"image": picture[np.newaxis]})
        row: FloatArray = np.concatenate([features[0], means[0]])
        return row
