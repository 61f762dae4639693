"""Which runs are at work on a store: each of their processes holds a lock while it lives.

In a database of runs, a killed one stays "running" until somebody changes that. The operating
system frees a lock when its process ends, whatever ended it. A process that ends by itself removes
the file of its lock; one that is killed leaves the file behind, which tells the two apart.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from filelock import FileLock, lock_descriptor

from webcam_ml.store import ArtifactStore, explaining_lock_errors

RUNS = ".runs"
MARK = ".lock"
PURPOSE = "which runs are at work cannot be told"
# What a killed process left is of use for as long as somebody may ask about its run.
SECONDS_KEPT = 24 * 60 * 60.0


class Presence(Enum):
    """What the store knows of a run's processes."""

    AT_WORK = "at work"
    KILLED = "killed"
    UNKNOWN = "unknown"


@contextmanager
def at_work(store: ArtifactStore, *, run_id: str) -> Iterator[None]:
    """Show that this process works for a run, until the block or the process ends.

    Args:
        store: Its folder holds the lock.
        run_id: The run; several processes may work for one.

    Raises:
        WebcamMLError: The store cannot be written, or its file system has no locks.
    """
    # Each process has a file of its own: which of them ends first must not matter.
    path = store.root / RUNS / f"{run_id}-{uuid.uuid4().hex}{MARK}"
    unlocked = path.with_suffix(".new")
    # No soft lock, which is only the existence of a file: it would stay held after a kill. Not
    # thread-local: the thread that releases the lock may be another than the one that took it.
    lock = FileLock(unlocked, thread_local=False, fallback_to_soft=False)
    with explaining_lock_errors(path.parent, PURPOSE):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        lock.acquire()
        # The rename keeps the lock. A mark seen before it is held would look like a killed process.
        unlocked.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def presence(store: ArtifactStore, *, run_id: str) -> Presence:
    """Tell whether a process works for a run now.

    Returns:
        `AT_WORK` while one does; `KILLED` if one was killed and no other is there; `UNKNOWN` if no
        process has begun yet, or all that did have ended by themselves.

    Raises:
        WebcamMLError: The store cannot be written, or its file system has no locks.
    """
    folder = store.root / RUNS
    with explaining_lock_errors(folder, PURPOSE):
        marks = {_is_held(path) for path in folder.glob(f"{run_id}-*{MARK}")}
    if True in marks:
        return Presence.AT_WORK
    return Presence.KILLED if False in marks else Presence.UNKNOWN


def _is_held(path: Path) -> bool | None:
    """Whether a process holds a mark; None if the mark is gone, because its process has ended."""
    try:
        # Not as a `FileLock`, which would create the file again if it is gone: that would look like
        # the mark of a killed process.
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return not lock_descriptor(descriptor, blocking=False)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove the marks of processes that were killed long ago."""
    for path in folder.iterdir():
        try:
            is_old = time.time() - path.stat().st_mtime > SECONDS_KEPT
        except FileNotFoundError:
            continue  # its process has just ended
        if is_old and not _is_held(path):
            path.unlink(missing_ok=True)
