import contextlib
import hashlib
import multiprocessing
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from webcam_ml.dataset.images import ArrayCache, PictureWork, _array_cache, work_ahead
from webcam_ml.errors import WebcamMLError

DIGESTS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(300)]


def decode(digest: str) -> np.ndarray:
    return np.full((2, 3, 3), int(digest[:2], 16), np.uint8)


def compute(picture: np.ndarray) -> np.ndarray:
    return picture.mean(axis=(0, 1)).astype(np.float32)


@dataclass(frozen=True)
class Work(PictureWork[np.ndarray]):
    function: Callable[[np.ndarray], np.ndarray] = compute

    def start(self) -> Callable[[np.ndarray], np.ndarray]:
        return self.function


class Pictures:
    engine = "threads"
    remote = None

    def each(
        self, work: Work, digests: Sequence[str]
    ) -> Generator[tuple[str, np.ndarray], None, None]:
        function = work.start()
        return work_ahead(digests, lambda digest: function(decode(digest)))


def fill(path: Path, digests: Sequence[str], work: Work = Work()) -> int:
    return ArrayCache(path, np.float32).compute_missing(
        digests, work, images=Pictures(), what="numbers"
    )


def test_what_is_there_is_not_computed_again_and_repeats_count_once(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "arrays.sqlite"
    assert fill(path, DIGESTS[:100] * 2) == 100
    assert fill(path, DIGESTS[50:150]) == 50
    kept = ArrayCache(path, np.float32).read(DIGESTS)
    assert kept.keys() == set(DIGESTS[:150])
    for digest, row in kept.items():
        np.testing.assert_array_equal(row, compute(decode(digest)))


def test_no_thread_outlives_an_error_of_who_keeps_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the garbage collector ends, it may end where it waits for ever for that thread."""
    before = set(threading.enumerate())

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(_array_cache, "_save", fail)
    with pytest.raises(OSError, match="no space left") as caught:
        fill(tmp_path / "arrays.sqlite", DIGESTS)
    assert caught.traceback  # and all that it holds
    assert set(threading.enumerate()) <= before


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
        fill(path, DIGESTS, Work(until_power_fails))
    assert 0 < len(ArrayCache(path, np.float32).read(DIGESTS)) <= 150
    assert 150 <= fill(path, DIGESTS) < 300


def test_blocks_have_the_rows_in_their_order_with_repeats(tmp_path: Path) -> None:
    path = tmp_path / "arrays.sqlite"
    fill(path, DIGESTS)
    wanted = [*DIGESTS[40:], *DIGESTS[:60]]
    cache = ArrayCache(path, np.float32)
    expected = np.stack([compute(decode(digest)) for digest in wanted])
    assert [len(block) for block in cache.blocks(wanted, size=150)] == [150, 150, 20]
    np.testing.assert_array_equal(np.concatenate(list(cache.blocks(wanted, size=150))), expected)
    np.testing.assert_array_equal(cache.rows(wanted), expected)
    assert cache.rows([]).size == 0
    with pytest.raises(WebcamMLError, match="1 pictures"):
        cache.rows(["unknown", *DIGESTS])
