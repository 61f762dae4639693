"""Scores that a model file gives to pictures, through the runtime, kept by file and picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images import ArrayCache, ImageArray, ImageCache, PictureWork
from webcam_ml.export._model_file import MODEL_FILE, ExportedModel
from webcam_ml.scoring import META_NAME, OnnxModel

FloatArray = npt.NDArray[np.float32]


def score_pictures(
    exported: ExportedModel, digests: Sequence[str], *, images: ImageCache, cache: Path
) -> npt.NDArray[np.float64]:
    """Score pictures by a model file as the application would, computing only what is new.

    Args:
        exported: The model file with its description.
        digests: SHA-256 of each picture, as in the image index.
        images: Where the pictures are.
        cache: Root of the caches.

    Returns:
        raw_score of each picture, [pictures], in 0–1.

    Raises:
        ModelError: The runtime refuses the file.
    """
    kept = ArrayCache(
        cache / "predictions" / f"{exported.sha256[:24]}.sqlite",
        np.float32,
        machine=images.engine.kind("CPUExecutionProvider"),
    )
    work = _Scores.by(exported)
    if not kept.compute_missing(digests, work, images=images, what="scores"):
        work.start()  # a file that the runtime refuses gives no scores, and none that are kept
    return kept.rows(digests).reshape(len(digests)).astype(np.float64)


@dataclass(frozen=True)
class _Scores(PictureWork[FloatArray]):
    """Scores by a model file, which is checked as where it is served."""

    files: Mapping[str, bytes]

    @classmethod
    def by(cls, exported: ExportedModel) -> Self:
        with TemporaryDirectory(prefix="webcam-ml-") as name:
            exported.save(Path(name))
            return cls({file: Path(name, file).read_bytes() for file in (MODEL_FILE, META_NAME)})

    def start(self) -> Callable[[ImageArray], FloatArray]:
        with TemporaryDirectory(prefix="webcam-ml-") as name:
            for file, content in self.files.items():
                Path(name, file).write_bytes(content)
            model = OnnxModel.load(Path(name, MODEL_FILE), threads=1)
        return lambda picture: model.score_array(picture[np.newaxis])
