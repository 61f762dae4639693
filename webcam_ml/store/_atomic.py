"""A file is written whole or not at all."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by new content so that a reader sees the old bytes or the new, never a mixture.

    The bytes go to a sibling, are flushed to the disk, and the sibling is renamed over the target.

    Raises:
        OSError: The disk is full or the folder cannot be written; the old file is untouched.
    """
    sibling = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with sibling.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sibling.replace(path)
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_file(path: Path) -> None:
    """Force a written file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, so that a rename survives a power cut."""
    flush_file(folder)
