"""One training at a time in a store: a lock that the operating system frees when its holder dies.

Two trainings side by side would only halve each other's speed and double the memory. A counter in a
database (a Dagster pool, a queue limit) counts a killed run as alive until somebody corrects it; a
file lock is freed with its process. A note beside the lock names the run that holds it. In a bucket,
where nobody frees locks, the run renews a lease.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from webcam_ml.progress import SECONDS_BETWEEN_LINES
from webcam_ml.store import ArtifactStore, explaining_lock_errors, lease, write_atomically

logger = logging.getLogger(__name__)

LOCK_FILE = "training.lock"
NOTE_FILE = "training.json"
LEASE = "checkpoint/training.lease"
PURPOSE = "no training can begin"
SECONDS_BETWEEN_TRIES = 0.2


@dataclass(frozen=True)
class TrainingTurn:
    """The run that trains.

    Attributes:
        run_id: Of the Dagster run.
        host: Name of its machine.
        process: Its process id on that machine.
        since: When it began, ISO 8601 in UTC.
    """

    run_id: str
    host: str
    process: int
    since: str

    @classmethod
    def of_this_process(cls, run_id: str) -> Self:
        """Describe this process, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(run_id=run_id, host=socket.gethostname(), process=os.getpid(), since=now)

    def __str__(self) -> str:
        """Name the run, for the log of a run that waits for it."""
        if self == JUST_BEGUN:
            return "a run that has just begun"
        return f"run {self.run_id} (process {self.process} on {self.host}, since {self.since})"


JUST_BEGUN = TrainingTurn(run_id="", host="", process=0, since="")
"""The lock is held, and its holder has not yet written who it is."""


@contextmanager
def training_turn(store: ArtifactStore, *, run_id: str) -> Iterator[None]:
    """Wait until no other process trains into this store, then keep others waiting.

    A run that waits logs which run it waits for, at once and then every few seconds.

    Args:
        store: Its folder holds the lock.
        run_id: The run that wants to train; runs that wait for it log this id.

    Raises:
        WebcamMLError: The store cannot be written, or its file system has no locks.
    """
    if store.remote is not None:
        turn = TrainingTurn.of_this_process(run_id)
        waiting = _Waiting()
        with lease(store.remote, LEASE, str(turn), told=waiting.tell):
            waiting.end()
            yield
        return
    note = _note_path(store)
    with explaining_lock_errors(_note_path(store).parent, PURPOSE):
        note.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(store)
        _wait_for(lock, store)
    try:
        with explaining_lock_errors(_note_path(store).parent, PURPOSE):
            turn = TrainingTurn.of_this_process(run_id)
            write_atomically(note, (json.dumps(asdict(turn), indent=2) + "\n").encode())
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
    finally:
        lock.release()


@dataclass
class _Waiting:
    """What the log says while somebody else trains."""

    began: float = field(default_factory=time.monotonic)
    told: str | None = None
    last_line: float = 0.0

    def tell(self, holder: str) -> None:
        now = time.monotonic()
        if holder != self.told or now - self.last_line >= SECONDS_BETWEEN_LINES:
            waited = now - self.began
            logger.info("one training at a time: waiting for %s, %.0f s so far", holder, waited)
            self.told, self.last_line = holder, now

    def end(self) -> None:
        if self.told is not None:
            logger.info("it is our turn to train, after %.0f s", time.monotonic() - self.began)


def _wait_for(lock: FileLock, store: ArtifactStore) -> None:
    waiting = _Waiting()
    while True:
        try:
            lock.acquire(timeout=SECONDS_BETWEEN_TRIES)
        except Timeout:
            waiting.tell(str(_read_note(store)))
            continue
        waiting.end()
        return


def _lock(store: ArtifactStore) -> FileLock:
    # A lock that is only the existence of a file would outlive a killed process.
    return FileLock(store.root / "checkpoint" / LOCK_FILE, fallback_to_soft=False)


def _note_path(store: ArtifactStore) -> Path:
    return store.root / "checkpoint" / NOTE_FILE


def _read_note(store: ArtifactStore) -> TrainingTurn:
    """Read who holds the lock."""
    try:
        return TrainingTurn(**json.loads(_note_path(store).read_bytes()))
    except (OSError, ValueError, TypeError):
        return JUST_BEGUN
