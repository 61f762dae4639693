"""How well the same picture under two webcams is found: the table of docs/duplicates.md.

python benchmarks/duplicates.py            # quality, some minutes
python benchmarks/duplicates.py --scale    # time and memory for 50,000 pictures
"""

import argparse
import resource
import time

import numpy as np

from webcam_ml_tests.dataset.planted import (
    ALTERATIONS,
    COMBINATIONS,
    Pictures,
    draw_clean,
    flagged,
    recalls,
)
from webcam_ml_tests.dataset.synthetic_hours import match_synthetic


def quality(cameras: int, seed: int) -> None:
    pictures = draw_clean(cameras, seed=seed, width=640)
    clean = Pictures.of(pictures, first_webcam=0)
    wrong = flagged(clean)
    print(f"{len(pictures)} clean pictures, all within one hour; seed {seed}")
    print(
        f"flagged: {wrong[:cameras].sum()} of {cameras} scenes, {wrong[cameras:].sum()} of {cameras} skies"
    )
    random = np.random.default_rng(0)
    for size in (50, 100, 200):
        if size > len(pictures):
            break
        shares = []
        for _ in range(10):
            some = np.sort(random.choice(len(pictures), size, replace=False))
            part = Pictures(some.tolist(), clean.rows[some])
            shares.append(flagged(part).mean())
        print(f"flagged where {size} webcams share the hour: {np.mean(shares):.2%}")
    print("\n| alteration | with a foreground | sky alone |\n|---|---|---|")
    for recall in recalls(pictures, clean, {**ALTERATIONS, **COMBINATIONS}):
        print(f"| {recall.alteration} | {recall.scenes:.3f} | {recall.skies:.3f} |", flush=True)


def scale() -> None:
    for what, days in (("a year", 365), ("thirty days", 30), ("one day", 1)):
        began = time.perf_counter()
        pairs = match_synthetic(pictures=50_000, webcams=600, days=days, planted=200)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"50,000 pictures of {what}: {took:.0f} s, peak {peak:.2f} GB, {pairs} pairs",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--scale", action="store_true")
    arguments = parser.parse_args()
    if arguments.scale:
        scale()
    else:
        quality(arguments.cameras, arguments.seed)
