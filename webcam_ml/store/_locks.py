"""Locks on files of the store, and the error where they cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._bucket import STORE_VARIABLE

LOCK_FILE = ".lock"


@contextmanager
def explaining_lock_errors(folder: Path, purpose: str) -> Iterator[None]:
    """Say what helps if a lock in a folder of the store cannot be taken.

    Args:
        folder: Where the lock is.
        purpose: What the lock is for; the sentence begins with it.

    Raises:
        WebcamMLError: The operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise WebcamMLError(
            f"{purpose}: the lock in {folder} cannot be used ({error}). Make the folder writable "
            f"({STORE_VARIABLE} names the store), on a file system that has file locks; "
            "docs/scaling.md says which shared ones do"
        ) from error
