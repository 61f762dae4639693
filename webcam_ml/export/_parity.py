"""Whether the exported file says what the trained network says, measured on pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webcam_ml.export._model_file import ExportedModel
from webcam_ml.model import Checkpoint

ImageArray = npt.NDArray[np.uint8]

MAX_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """How far two engines are apart.

    Attributes:
        differences: Largest absolute difference in raw_score, per picture or batch.
    """

    differences: Mapping[str, float]

    @property
    def largest(self) -> float:
        """The largest difference."""
        return max(self.differences.values())

    @property
    def passed(self) -> bool:
        """Whether all pictures agree within `MAX_DIFFERENCE`."""
        return self.largest <= MAX_DIFFERENCE


def compare_with_torch(
    exported: ExportedModel,
    checkpoint: Checkpoint,
    batches: Mapping[str, ImageArray] | None = None,
) -> Parity:
    """Score pictures in onnxruntime and in torch, the network rebuilt from best.pt.

    Args:
        exported: The model file.
        checkpoint: What it was exported from.
        batches: Named uint8 RGB [batch, height, width, 3]; by default photographs and drawn
            extremes of several sizes and shapes.
    """
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(exported.model, providers=["CPUExecutionProvider"])
    network = checkpoint.model.to_network()
    differences: dict[str, float] = {}
    for name, batch in (batches or parity_pictures()).items():
        (ours,) = session.run(["raw_score"], {"image": batch})
        with torch.inference_mode():
            theirs = network(torch.from_numpy(batch)).numpy()
        differences[name] = float(np.abs(ours - theirs).max())
    return Parity(differences)


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
        "4K": resized(china, 3840, 2160)[None],
        "thumbnail": resized(flower, 64, 36)[None],
        "tiny": resized(flower, 3, 2)[None],
        "one pixel": np.full((1, 1, 1, 3), 128, np.uint8),
        "black": np.zeros((1, 90, 160, 3), np.uint8),
        "white": np.full((1, 90, 160, 3), 255, np.uint8),
    }
