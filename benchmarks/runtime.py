"""The table of docs/runtime.md: what a score costs, in Python and in Node.

    python -m benchmarks.runtime MODEL        MODEL is a model.onnx with its model.meta.json

Each way runs in a process of its own, in turn with the others, over the pictures once for warming up and
once for the clock. The shortest time counts: what else the machine does only adds.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import REPOSITORY, Ran, run, run_module, tell, told

REPEATS = 2
SIZES = {"640 × 360": (360, 640), "1920 × 1080": (1080, 1920), "3840 × 2160": (2160, 3840)}
PICTURES = 16
NODE = REPOSITORY / "benchmarks" / "runtime.mjs"


@dataclass(frozen=True)
class Way:
    """A line of the table: which process is run, on which pictures."""

    runtime: str
    what: str
    options: dict[str, int]
    size: str = "640 × 360"
    count: int = PICTURES

    def run(self, model: Path, files: Sequence[Path]) -> Ran:
        asked = json.dumps(
            {"model": str(model), "files": [str(file) for file in files], "options": self.options}
        )
        if self.runtime == "Node":
            return run("node", NODE, asked, cwd=REPOSITORY)
        return run_module("benchmarks.runtime", "--child", asked)


WAYS = (
    *(Way("Python", f"`threads={n}`", {"threads": n}) for n in (1, 2)),
    *(
        Way(
            "Python",
            f"batches of {size}, {n} {'thread' if n == 1 else 'threads'} within",
            {"batch": size, "within": n},
        )
        for size in (1, 8)
        for n in (1, 2)
    ),
    *(
        Way("Node", f"`concurrency: {c}, threads: {n}`", {"concurrency": c, "threads": n})
        for c in (1, 2, 4)
        for n in (1, 2)
    ),
    *(
        Way(runtime, "one at a time", options, size, 4)
        for size in SIZES
        for runtime, options in (
            ("Python", {"threads": 1}),
            ("Node", {"concurrency": 1, "threads": 1}),
        )
    ),
)


def main(model: Path) -> None:
    """Measure all ways in turn, and print the table."""
    from webcam_ml_tests.integration.node_client import build_client

    build_client()
    folder = Path(tempfile.mkdtemp())
    try:
        files = {size: draw(folder, size) for size in SIZES}
        ran = [
            [told(way.run(model, files[way.size][: way.count])) for way in WAYS]
            for _ in range(REPEATS)
        ]
    finally:
        shutil.rmtree(folder)
    print("| runtime | how | picture | pictures a second | CPU ms a picture | peak MB |")
    print("|---|---|---|---|---|---|")
    for way, said in zip(WAYS, zip(*ran, strict=True), strict=True):
        print(line(way, said))


def draw(folder: Path, size: str) -> list[Path]:
    from webcam_ml_tests.scoring.pictures import encoded, photograph

    height, width = SIZES[size]
    files = []
    for seed in range(PICTURES if height < 1000 else 4):
        files.append(folder / f"{height}-{seed}.jpg")
        files[-1].write_bytes(encoded(photograph(height, width, seed=seed), quality=85))
    return files


def line(way: Way, said: Sequence[dict[str, Any]]) -> str:
    seconds, cpu, peak = (
        min(one[key] for one in said) for key in ("seconds", "cpu_seconds", "peak_bytes")
    )
    cells = (
        way.runtime, way.what, way.size,
        f"{way.count / seconds:.0f}", f"{1000 * cpu / way.count:.0f}", f"{peak / 1e6:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def child(model: str, files: Sequence[str], options: dict[str, int]) -> None:
    """Score the files as the options say, and tell the time of the second pass."""
    work = in_batches if "batch" in options else one_by_one
    score = work(model, files, **options)
    score()
    began, cpu = time.perf_counter(), time.process_time()
    score()
    tell(seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - cpu)


def one_by_one(model: str, files: Sequence[str], *, threads: int) -> Callable[[], object]:
    from webcam_ml.scoring import Scorer

    scorer = Scorer.of_model(model, threads=threads)
    return lambda: list(scorer.score_many(files))


def in_batches(
    model: str, files: Sequence[str], *, batch: int, within: int
) -> Callable[[], object]:
    from webcam_ml.scoring import OnnxModel, decode_image

    loaded = OnnxModel.load(model, threads=within)

    def score() -> None:
        for start in range(0, len(files), batch):
            pixels = [
                decode_image(Path(file).read_bytes()) for file in files[start : start + batch]
            ]
            loaded.score_array(np.stack(pixels))

    return score


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(**json.loads(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).resolve())
