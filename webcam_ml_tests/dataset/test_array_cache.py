import contextlib
import hashlib
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from webcam_ml.dataset.images import ArrayCache

DIGESTS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(300)]


def decode(digest: str) -> np.ndarray:
    return np.full((2, 3, 3), int(digest[:2], 16), np.uint8)


def compute(picture: np.ndarray) -> np.ndarray:
    return picture.mean(axis=(0, 1)).astype(np.float32)


def fill(path: Path, digests: Sequence[str]) -> int:
    _, computed = ArrayCache(path, np.float32).compute_missing(
        digests, compute, decode=decode, what="numbers"
    )
    return computed


def test_what_is_there_is_not_computed_again_and_repeats_count_once(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "arrays.sqlite"
    assert fill(path, DIGESTS[:100] * 2) == 100
    assert fill(path, DIGESTS[50:150]) == 50
    kept = ArrayCache(path, np.float32).read(DIGESTS)
    assert kept.keys() == set(DIGESTS[:150])
    for digest, row in kept.items():
        np.testing.assert_array_equal(row, compute(decode(digest)))


def test_several_processes_share_one_cache(tmp_path: Path) -> None:
    path = tmp_path / "arrays.sqlite"
    context = multiprocessing.get_context("spawn")
    parts = [DIGESTS[:200], DIGESTS[100:], DIGESTS[::-1]]
    with context.Pool(len(parts)) as pool:
        pool.starmap(fill, [(path, part) for part in parts])
    kept = ArrayCache(path, np.float32).read(DIGESTS)
    assert kept.keys() == set(DIGESTS)
    assert all((kept[d] == compute(decode(d))).all() for d in DIGESTS)
    assert fill(path, DIGESTS) == 0


def test_a_stop_in_the_middle_keeps_what_was_computed(tmp_path: Path) -> None:
    path = tmp_path / "arrays.sqlite"
    done = 0

    def until_power_fails(picture: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        if done > 150:
            raise KeyboardInterrupt
        return compute(picture)

    with contextlib.suppress(KeyboardInterrupt):
        ArrayCache(path, np.float32).compute_missing(
            DIGESTS, until_power_fails, decode=decode, what="numbers"
        )
    assert 0 < len(ArrayCache(path, np.float32).read(DIGESTS)) <= 150
    assert 150 <= fill(path, DIGESTS) < 300
