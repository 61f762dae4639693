"""Drawing many pictures at once, on all cores."""

import itertools
import multiprocessing
import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from threading import Thread

from webcam_ml.demo._picture import draw_pictures
from webcam_ml.demo._plan import Snapshot
from webcam_ml.limits import available_cores

# Fewer are drawn before processes have started.
PICTURES_WORTH_PROCESSES = 100


def draw_all(
    seed: int, snapshots: Sequence[Snapshot], *, processes: bool = False
) -> Generator[tuple[Snapshot, bytes], None, None]:
    """Draw the JPEGs of snapshots, camera by camera; dead images are left out. The caller closes it.

    A camera's foreground is drawn once for all its pictures, and the busiest cameras go first, so
    that no core is left alone with one of them at the end. A picture does not depend on which others
    are drawn.

    Args:
        seed: The demo's.
        snapshots: What the pictures show.
        processes: Where there are many, draw in processes: numpy and Pillow release the interpreter
            lock for two thirds of their time only. They import the main module once more, so it has
            to be one that does nothing then, as a command's.
    """

    def camera(snapshot: Snapshot) -> int:
        return snapshot.scene.index

    ordered = sorted(snapshots, key=lambda snapshot: (camera(snapshot), snapshot.id))
    by_camera = [tuple(frames) for _, frames in itertools.groupby(ordered, key=camera)]
    with _pool(processes and len(ordered) >= PICTURES_WORTH_PROCESSES) as pool:
        try:
            for drawn in pool.map(partial(_draw, seed), by_camera):
                yield from drawn
        finally:
            pool.shutdown(cancel_futures=True)


def _pool(processes: bool) -> Executor:
    if not processes:
        return ThreadPoolExecutor(available_cores())
    # Forked from a process with threads, one may wait for ever for a lock that nobody holds.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(available_cores(), context, initializer=_belong_to_parent)


def _belong_to_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however that comes about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def _draw(seed: int, frames: Sequence[Snapshot]) -> list[tuple[Snapshot, bytes]]:
    return list(draw_pictures(seed, frames))
