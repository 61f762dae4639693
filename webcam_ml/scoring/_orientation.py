"""How stored pixels are turned into the picture as meant."""

import struct

import numpy as np
from numpy.typing import NDArray


def exif_orientation(exif: bytes) -> int:
    """Read the orientation (1 to 8) from an EXIF block; 1 where there is none or it makes no sense.

    Only tag 0x0112 of the first directory counts, and only as one SHORT: browsers read it that
    way, and people rated the pictures as browsers showed them. Pillow's own reader also takes other
    types and XMP, and warns about blocks that are damaged elsewhere. Layout: TIFF 6.0, section 2.
    """
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, directory)
        for index in range(entries):
            at = directory + 2 + 12 * index
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, at)
            if (tag, kind, count) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # the block ends before the tag: no orientation is given
    return 1


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror stored pixels into the picture as meant (Exif 2.32, table of tag 0x0112)."""
    match orientation:
        case 2:
            result = pixels[:, ::-1]
        case 3:
            result = pixels[::-1, ::-1]
        case 4:
            result = pixels[::-1]
        case 5:
            result = pixels.swapaxes(0, 1)
        case 6:
            result = pixels[::-1].swapaxes(0, 1)
        case 7:
            result = pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            result = pixels[:, ::-1].swapaxes(0, 1)
        case _:
            result = pixels
    return np.ascontiguousarray(result)
