"""What the row `scale` measures, each in a process of its own."""

import argparse
import hashlib
import os
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import tell
from webcam_ml.dataset.images import ArrayCache, ImageCache, LocalEngine, RayEngine
from webcam_ml.features import BackboneSpec, extract_features, prepare_backbone
from webcam_ml.metrics import METRICS, WebcamBootstrap
from webcam_ml.scoring import ImageError, decode_image
from webcam_ml.training._probe import LinearHead

FEATURES = 512
CAMERAS = 5_000
# Ray's own processes import what they need after a cluster says that it is there.
SECONDS_TO_SETTLE = 10.0


def extract(engine: str, cores: int, size: int, cache: Path, pictures: Path) -> None:
    """Features of pictures that are in the cache already; what starting a cluster costs is told beside it."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
    spec = BackboneSpec(model_name="resnet18", weights="none", image_size=size)
    graph = prepare_backbone(spec, cache=cache)
    images = ImageCache(cache, RayEngine() if engine == "ray" else LocalEngine())
    files = sorted(pictures.glob("*.jpg"))
    digests = [images.store(path.read_bytes()) for path in files if can_be_read(path)]
    folder = cache.parent / f"features-{engine}-{cores}"
    shutil.rmtree(folder, ignore_errors=True)
    if engine == "ray":
        str(images.engine)  # asks the cluster how large it is, so that it is there
        time.sleep(SECONDS_TO_SETTLE)
    start = of_children()
    began, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    found = extract_features(graph, digests, images=images, cache=folder)
    assert found.computed == len(set(digests))
    seconds = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_SELF)
    own = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
    tell(
        seconds=seconds,
        own_cpu_seconds=own,
        cpu_seconds=own + of_children() - start,
        start_cpu_seconds=start,
        pictures=found.computed,
        picture_bytes=sum(len(images.read(digest)) for digest in set(digests)),
        sha256=hashlib.sha256(found.values.tobytes()).hexdigest(),
    )


def can_be_read(path: Path) -> bool:
    """Some pictures of a demo are truncated on purpose."""
    try:
        decode_image(path.read_bytes())
    except ImageError:
        return False
    return True


def of_children() -> float:
    """Processor time of all processes that this one started, those that are over too."""
    import psutil

    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(
        each.user + each.system + each.children_user + each.children_system for each in times
    )


class Drawn:
    """Numbers as they come from an engine, without pictures."""

    engine = "a draw"
    remote = None

    def each(self, work: Any, digests: Sequence[str]) -> Iterator[tuple[str, Any]]:
        rng = np.random.default_rng(0)
        for start in range(0, len(digests), 1000):
            some = digests[start : start + 1000]
            yield from zip(some, rng.normal(size=(len(some), FEATURES + 3)), strict=True)


def stream(folder: Path, rows: int) -> None:
    """Keep rows as they come, score them block by block, measure the scores."""
    digests = [f"{row:064x}" for row in range(rows)]
    kept = ArrayCache(folder / "features.sqlite", np.float32)
    began = time.perf_counter()
    kept.compute_missing(digests, None, images=Drawn(), what="rows")
    written = time.perf_counter()
    head = LinearHead(np.random.default_rng(1).normal(size=FEATURES + 3) / 20, 0.0)
    score = np.concatenate([head(block) for block in kept.blocks(digests)])
    scored = time.perf_counter()
    rng = np.random.default_rng(2)
    positive = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(float)
    bootstrap = WebcamBootstrap(rng.integers(CAMERAS, size=rows), random_state=0)
    for name in ("roc_auc", "average_precision"):
        bootstrap.estimate(METRICS[name], positive, 1 / (1 + np.exp(-score)))
    tell(
        rows=rows,
        keep_seconds=written - began,
        score_seconds=scored - written,
        intervals_seconds=time.perf_counter() - scored,
        file_bytes=kept.path.stat().st_size,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["extract", "stream"])
    parser.add_argument("arguments", nargs="+")
    asked = parser.parse_args()
    if asked.step == "stream":
        stream(Path(asked.arguments[0]), int(asked.arguments[1]))
    else:
        engine, cores, size, cache, pictures = asked.arguments
        extract(engine, int(cores), int(size), Path(cache), Path(pictures))
