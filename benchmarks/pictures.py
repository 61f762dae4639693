"""The measured process: pictures through a network, by the project's code or by bare calls.

    python -m benchmarks.pictures WAY MODEL CACHE FOLDER FILE…

Prints the seconds of the work itself: loading libraries and the model is not part of it.
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import tell


def extract(model: Path, cache: Path, folder: Path, files: Sequence[Path]) -> Callable[[], object]:
    """`extract_features` with an empty cache of features; the pictures are in the image cache."""
    import hashlib

    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.features import BackboneGraph, extract_features

    shutil.rmtree(folder, ignore_errors=True)
    graph = BackboneGraph(key="bench", model=model.read_bytes(), state=b"")
    images = ImageCache(cache)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return lambda: extract_features(graph, digests, images=images, cache=folder)


def score(model: Path, cache: Path, folder: Path, files: Sequence[Path]) -> Callable[[], object]:
    """`Scorer.score_many`, as the command line scores."""
    from webcam_ml.scoring import Scorer

    scorer = Scorer.of_model(model)
    return lambda: list(scorer.score_many(files))


def bare_files(
    model: Path, cache: Path, folder: Path, files: Sequence[Path]
) -> Callable[[], object]:
    """Decode with Pillow, run the session, one file after the other."""
    session, decode = _session(model), _decode
    return lambda: [session.run(None, {"image": decode(file)}) for file in files]


def bare_passes(
    model: Path, cache: Path, folder: Path, files: Sequence[Path]
) -> Callable[[], object]:
    """The session alone, on pictures that are arrays already."""
    session, pictures = _session(model), [_decode(file) for file in files]
    return lambda: [session.run(None, {"image": picture}) for picture in pictures]


def _session(model: Path):
    import onnxruntime

    return onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])


def _decode(file: Path):
    import numpy as np
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))[np.newaxis]


WAYS = {"extract": extract, "score": score, "bare-files": bare_files, "bare-passes": bare_passes}


def main() -> None:
    way, model, cache, folder, *files = sys.argv[1:]
    work = WAYS[way](Path(model), Path(cache), Path(folder), [Path(file) for file in files])
    began = time.perf_counter()
    work()
    tell(seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()
