"""Files whose names come from elsewhere: only regular ones are opened, and opening never waits."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotARegularFileError(OSError):
    """A folder, a pipe, a device or a socket: opening it may wait and reading it may never end."""


def open_regular_file(path: Path) -> tuple[BinaryIO, os.stat_result]:
    """Open a regular file for reading.

    Read no more than the size in the answer: some of the kernel's files (``/proc/kmsg``)
    count as regular, have size 0 and make a reader wait for ever.

    Args:
        path: The file; links are followed.

    Returns:
        The open file, which the caller closes, and its state when it was opened.

    Raises:
        NotARegularFileError: It is something else.
        OSError: It cannot be opened.
        ValueError: No path has such characters.
    """
    # Looked at before it is opened, because opening a device may do something, and again
    # afterwards, because it may have been exchanged; O_NONBLOCK does not wait for a pipe's writer.
    _require_regular(path.stat())
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        status = os.fstat(file.fileno())
        _require_regular(status)
    except BaseException:
        file.close()
        raise
    return file, status


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotARegularFileError("this is not a regular file")
