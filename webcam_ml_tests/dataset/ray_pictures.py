"""Works on pictures, and the ways to let a Ray cluster do them."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webcam_ml.dataset.images import (
    ArrayCache,
    ImageArray,
    ImageCache,
    LocalEngine,
    PictureWork,
    RayEngine,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml_tests.ray_cluster import ROOT
from webcam_ml_tests.world import draw

PICTURES = 90
SHARD = 10


def store_pictures(cache: Path) -> tuple[Path, list[str]]:
    """Give a cache with some pictures, and what they are called."""
    images = ImageCache(cache)
    return cache, [images.store(draw(seed % 5 + 1, seed)) for seed in range(PICTURES)]


@dataclass(frozen=True)
class Slow(PictureWork[np.ndarray]):
    """Notes which process looked at how many pictures, and takes its time."""

    notes: Path
    seconds: float = 0.05

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        def work(picture: ImageArray) -> np.ndarray:
            with self.notes.open("a") as notes:
                notes.write(f"{os.getpid()}\n")
            time.sleep(self.seconds)
            return picture.mean(axis=(0, 1)).astype(np.float32)

        return work

    def workers(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in self.notes.read_text().splitlines()]
        return []


def compute(
    cache: Path, digests: list[str], work: PictureWork[np.ndarray], address: str | None
) -> tuple[int, ArrayCache[np.float32]]:
    engine = LocalEngine() if address is None else RayEngine(address)
    name = hashlib.sha256(repr(work).encode()).hexdigest()
    kept = ArrayCache(cache / "numbers" / f"{name}.sqlite", np.float32)
    images = ImageCache(cache, engine)
    return kept.compute_missing(digests, work, images=images, what="numbers"), kept


@dataclass(frozen=True)
class Fails(PictureWork[np.ndarray]):
    how: str

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        def work(picture: ImageArray) -> np.ndarray:
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "lingers":
                time.sleep(60)
            raise WebcamMLError("this picture means nothing")

        return work


SCRIPT = """
import sys
from pathlib import Path
from webcam_ml.dataset.images import _ray_engine
from webcam_ml_tests.dataset.ray_pictures import SHARD, Slow, compute
_ray_engine.SHARD_ROWS = SHARD
cache, notes, address, *digests = sys.argv[1:]
compute(Path(cache), digests, Slow(Path(notes)), address)
"""


# Prints why a run failed, for so many runs in one process.
FAILURES = """
import sys
from pathlib import Path
from webcam_ml.dataset.images import _ray_engine
from webcam_ml.errors import WebcamMLError
from webcam_ml_tests.dataset.ray_pictures import SHARD, Fails, compute
_ray_engine.SHARD_ROWS = SHARD
cache, address, number, *digests = sys.argv[1:]
for _ in range(int(number)):
    try:
        compute(Path(cache), digests, Fails("speaks"), address)
    except WebcamMLError as error:
        print(error, flush=True)
"""


def drive(before: str, address: str, cache: Path, digest: str = "a", how: str = "lingers") -> str:
    """What a process of its own says that uses a cluster, after it did something else."""
    script = (
        f"{before}\n"
        "import sys\nfrom pathlib import Path\n"
        "from webcam_ml_tests.dataset.ray_pictures import Fails, compute\n"
        f"compute(Path(sys.argv[2]), sys.argv[3:], Fails({how!r}), sys.argv[1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, address, cache, digest],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode
    return run.stderr
