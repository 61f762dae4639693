"""GIF: the first frame, picked out before the decoder sees the file.

Pillow joins the pieces of a comment one by one, which takes hours for a file that is all comment,
and fills what a small first frame leaves of its canvas with a colour of its own choice.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from webcam_ml.scoring._image_error import ImageError, check_pixels

_EXTENSION, _IMAGE = 0x21, 0x2C


class FirstFrame:
    """Where the first frame of a GIF file lies on the canvas, and a file of it alone.

    Args:
        data: The file (GIF89a specification, sections 18 to 23).
        max_pixels: Larger canvases are refused.

    Attributes:
        file: A GIF file of this frame, at its own size.

    Raises:
        ImageError: The file ends before the frame, is damaged, or too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        if len(data) < 13:
            raise _truncated(data)
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at = 13 + _table_size(flags)
        screen = data[:at]
        while at < len(data) and data[at] == _EXTENSION:
            at = _behind_blocks(data, at + 2)
        if at + 10 > len(data):
            raise _truncated(data)
        if data[at] != _IMAGE:
            raise ImageError("damaged", "the GIF file has no frame where one must begin")
        self._left, self._top, frame_width, frame_height, flags = struct.unpack_from(
            "<HHHHB", data, at + 1
        )
        check_pixels(frame_width, frame_height, max_pixels)
        # Browsers make the canvas larger where the first frame goes beyond it.
        self._width = max(width, self._left + frame_width)
        self._height = max(height, self._top + frame_height)
        check_pixels(self._width, self._height, max_pixels)
        self.file = b"".join(
            (
                screen[:6], struct.pack("<HH", frame_width, frame_height), screen[10:],
                struct.pack("<BHHHHB", _IMAGE, 0, 0, frame_width, frame_height, flags),
                data[at + 10 :],
            )
        )  # fmt: skip

    def on_canvas(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay the frame on its canvas, which is black elsewhere: [height, width, 3]."""
        height, width, _ = frame.shape
        if (height, width) == (self._height, self._width):
            return frame
        canvas = np.zeros((self._height, self._width, 3), np.uint8)
        canvas[self._top : self._top + height, self._left : self._left + width] = frame
        return canvas


def _table_size(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    """Pass over a chain of blocks, each with its length in front; the empty one ends it."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _truncated(data: bytes) -> ImageError:
    return ImageError("truncated", f"the GIF file ends too early, after {len(data):,} bytes")
