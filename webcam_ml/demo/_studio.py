"""Drawing many pictures at once, on all cores."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from webcam_ml.demo._picture import draw_pictures
from webcam_ml.demo._plan import Snapshot
from webcam_ml.limits import available_cores


def draw_all(seed: int, snapshots: Sequence[Snapshot]) -> Iterator[tuple[Snapshot, bytes]]:
    """Draw the JPEGs of snapshots, camera by camera; dead images are left out.

    A camera's foreground is drawn once for all its pictures, and the busiest cameras go first, so
    that no core is left alone with one of them at the end. numpy and Pillow release the
    interpreter lock, so threads are enough. A picture does not depend on which others are drawn.
    """

    def draw(frames: Sequence[Snapshot]) -> list[tuple[Snapshot, bytes]]:
        return list(draw_pictures(seed, frames))

    def camera(snapshot: Snapshot) -> int:
        return snapshot.scene.index

    ordered = sorted(snapshots, key=lambda snapshot: (camera(snapshot), snapshot.id))
    by_camera = [tuple(frames) for _, frames in itertools.groupby(ordered, key=camera)]
    with ThreadPoolExecutor(available_cores()) as pool:
        try:
            for drawn in pool.map(draw, by_camera):
                yield from drawn
        finally:
            pool.shutdown(cancel_futures=True)
