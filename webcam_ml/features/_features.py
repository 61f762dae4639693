"""Features of pictures, computed once per picture and backbone.

Values are float32 as onnxruntime gave them, picture by picture on one thread each, so that a cold run
and an incremental one see identical numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images import ArrayCache, ImageArray, ImageCache, PictureWork, Provider
from webcam_ml.errors import WebcamMLError
from webcam_ml.features._backbone_graph import BackboneGraph

if TYPE_CHECKING:
    import onnxruntime

FloatArray = npt.NDArray[np.float32]

CHANNELS = 3


@dataclass(frozen=True)
class Features:
    """Features of a list of pictures, in its order, kept on disk until they are asked for.

    Attributes:
        kept: Where they are.
        digests: SHA-256 of each picture.
        computed: How many distinct pictures went through the backbone now.
        reused: How many were kept from before.
    """

    kept: ArrayCache[np.float32]
    digests: Sequence[str]
    computed: int
    reused: int

    @property
    def values(self) -> FloatArray:
        """float32 [pictures, features]."""
        return self._rows[:, :-CHANNELS]

    @property
    def channel_means(self) -> FloatArray:
        """float32 [pictures, 3], red, green and blue on the 0–1 scale."""
        return self._rows[:, -CHANNELS:]

    def blocks(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Give `values` and `channel_means` of some pictures at a time; only these are in memory."""
        for rows in self.kept.blocks(self.digests):
            yield rows[:, :-CHANNELS], rows[:, -CHANNELS:]

    @cached_property
    def _rows(self) -> FloatArray:
        return self.kept.rows(self.digests)


def extract_features(
    graph: BackboneGraph, digests: Sequence[str], *, images: ImageCache, cache: Path
) -> Features:
    """Give the features of pictures, computing only those that the cache lacks.

    Args:
        graph: The exported backbone.
        digests: SHA-256 of each picture.
        images: Where the pictures are, and who computes.
        cache: Root of the caches.
    """
    provider = images.engine.provider
    kept = ArrayCache(
        cache / "features" / f"{graph.fingerprint[:24]}.sqlite",
        np.float32,
        machine=images.engine.kind(provider),
    )
    computed = kept.compute_missing(
        digests, _ForwardPass(graph.model, provider), images=images, what="features"
    )
    return Features(
        kept=kept, digests=digests, computed=computed, reused=len(set(digests)) - computed
    )


@dataclass(frozen=True)
class _ForwardPass(PictureWork[FloatArray]):
    """Features and channel means of a picture, each picture on one thread.

    Attributes:
        model: The graph's ONNX bytes.
        provider: What onnxruntime computes it on.
    """

    model: bytes
    provider: Provider

    def start(self) -> Callable[[ImageArray], FloatArray]:
        session = start_session(self.model, self.provider)

        def compute(picture: ImageArray) -> FloatArray:
            features, means = session.run(
                ["features", "channel_means"], {"image": picture[np.newaxis]}
            )
            row: FloatArray = np.concatenate([features[0], means[0]])
            return row

        return compute


def start_session(
    model: bytes, provider: Provider = "CPUExecutionProvider"
) -> "onnxruntime.InferenceSession":
    """Start a session that runs a graph on one thread, the one that calls it.

    Raises:
        WebcamMLError: onnxruntime cannot use the provider here.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if provider not in onnxruntime.get_available_providers():
        raise WebcamMLError(
            f"onnxruntime has no {provider} here, but {onnxruntime.get_available_providers()}: install "
            "onnxruntime-gpu in the place of onnxruntime, or let tasks have no GPU (ray_num_gpus: 0)"
        )
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:
        # onnxruntime itself would go on without it.
        raise WebcamMLError(f"onnxruntime could not start {provider}: see its warning in the log")
    return session
