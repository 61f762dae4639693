"""Scores that a model file gives to pictures, through the runtime, kept by file and picture."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images import ArrayCache, ImageCache
from webcam_ml.export._model_file import MODEL_FILE, ExportedModel
from webcam_ml.scoring import OnnxModel


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
    kept = ArrayCache(cache / "predictions" / f"{exported.sha256[:24]}.sqlite", np.float32)
    with TemporaryDirectory(prefix="webcam-ml-") as name:
        folder = Path(name)
        exported.save(folder)
        model = OnnxModel.load(folder / MODEL_FILE, threads=1)
        known, _ = kept.compute_missing(
            digests,
            lambda picture: model.score_array(picture[np.newaxis]),
            decode=images.decode,
            what="scores",
        )
    return np.array([float(known[digest][0]) for digest in digests])
