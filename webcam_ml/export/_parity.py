"""Whether the exported file scores as the trained network does, measured on pictures."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from webcam_ml.contracts import Document
from webcam_ml.training import TrainedModel

DOCUMENT = Document("parity.json", made_by="onnx_model")

ImageArray = npt.NDArray[np.uint8]

MAX_DIFFERENCE = 1e-4
# torch's last bits vary with the number of threads; what is stored must not. So differences are
# rounded up to a multiple of this step; anything smaller is noise.
STORED_STEP = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far the exported file is from the network that it was exported from.

    Attributes:
        model_sha256: Digest of the model.onnx that was compared.
        pictures: How many pictures both engines scored.
        at_most: Bound on the largest absolute difference in raw_score, a multiple of 1e-5.
        limit: The largest `at_most` that passes.
    """

    model_sha256: str
    pictures: int
    at_most: float
    limit: float = MAX_DIFFERENCE

    @property
    def passed(self) -> bool:
        """Whether all pictures agree within the limit."""
        return self.at_most <= self.limit

    def save(self, folder: Path) -> None:
        """Write parity.json."""
        DOCUMENT.write(folder, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read parity.json.

        Raises:
            DocumentError: It cannot be read.
        """
        return DOCUMENT.read_as(folder, lambda content: cls(**content))


def measure_parity(data: bytes, model: TrainedModel, batches: Mapping[str, ImageArray]) -> Parity:
    """Compare a model file with the network rebuilt from its checkpoint, on pictures.

    Args:
        data: The bytes of model.onnx.
        model: What best.pt holds.
        batches: Named uint8 RGB [batch, height, width, 3].
    """
    differences = differences_from_torch(data, model, batches)
    largest = max(differences.values())
    return Parity(
        model_sha256=hashlib.sha256(data).hexdigest(),
        pictures=sum(len(batch) for batch in batches.values()),
        at_most=round(math.ceil(largest / STORED_STEP) * STORED_STEP, 5),
    )


def differences_from_torch(
    data: bytes, model: TrainedModel, batches: Mapping[str, ImageArray]
) -> dict[str, float]:
    """Give the largest absolute difference in raw_score of each batch."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    network = model.to_network()
    differences: dict[str, float] = {}
    for name, batch in batches.items():
        (ours,) = session.run(["raw_score"], {"image": batch})
        with torch.inference_mode():
            theirs = network(torch.tensor(batch)).numpy()
        differences[name] = float(np.abs(ours - theirs).max())
    return differences


def parity_pictures() -> dict[str, ImageArray]:
    """Two photographs in several sizes and shapes, one and many at a time, and drawn extremes."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs: Sequence[ImageArray] = load_sample_images().images
    china, flower = photographs

    def resized(picture: ImageArray, width: int, height: int) -> ImageArray:
        return np.asarray(
            Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        )

    grey = np.repeat(china.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    return {
        "photograph": np.ascontiguousarray(china)[None],
        "batch of photographs": np.stack([china, flower, china[::-1], flower[:, ::-1]]),
        "portrait": np.ascontiguousarray(flower.transpose(1, 0, 2))[None],
        "greyscale": grey[None],
        "4K": china.repeat(6, axis=0).repeat(6, axis=1)[None, :2160],
        "thumbnail": resized(flower, 64, 36)[None],
        "tiny": resized(flower, 3, 2)[None],
        "one pixel": np.full((1, 1, 1, 3), 128, np.uint8),
        "black": np.zeros((1, 90, 160, 3), np.uint8),
        "white": np.full((1, 90, 160, 3), 255, np.uint8),
    }
