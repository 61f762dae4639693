"""A file is written whole or not at all."""

import errno
import os
import uuid
from pathlib import Path

# Another file system, one without links, a file of somebody else, or too many links.
_CANNOT_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
}


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


def share_file(source: Path, path: Path) -> None:
    """Give a file that nobody changes a second name, read-only; a copy where that cannot be.

    The new name appears, or replaces another file, by a rename.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    sibling = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        # What is written into one name would be in the other, too.
        source.chmod(0o444)
        sibling.hardlink_to(source)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        write_atomically(path, source.read_bytes())
        return
    sibling.replace(path)
    # Two names of one file already: then a rename does nothing.
    sibling.unlink(missing_ok=True)
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
