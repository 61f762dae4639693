"""PNG: the chunks that decide the pixels, picked out before the decoder sees the file.

Pillow refuses a file for a wrong checksum in a chunk of text, and reads EXIF that follows the
pixels; browsers ignore both. It handles each chunk in Python, and a file may have millions. A
file of the critical chunks alone, with its data in one piece, has none of these problems.
"""

import struct
import zlib
from collections.abc import Iterator

from webcam_ml.scoring._image_error import ImageError, check_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANCILLARY = 0x20  # the bit that makes the first letter lower case


def critical_png(data: bytes, max_pixels: int) -> tuple[bytes, bytes]:
    """Reduce a PNG file to what decides its pixels (PNG 3, sections 5.3 to 5.6 and 11.3.2).

    Args:
        data: The file.
        max_pixels: Larger pictures are refused.

    Returns:
        A PNG file of IHDR, PLTE, one IDAT and IEND; and the EXIF block from in front of the pixels,
        or nothing.

    Raises:
        ImageError: A critical chunk is missing, damaged, cut, or of an unknown kind; or the picture
            is too large.
    """
    header, palette, exif = b"", b"", b""
    pieces: list[bytes] = []
    for kind, content, intact in _chunks(data):
        if pieces and kind != b"IDAT":
            break  # what follows the pixels does not matter
        if content is None:
            raise _truncated(data)
        if kind[0] & _ANCILLARY:  # a damaged one is passed over
            if kind == b"eXIf" and intact and not exif:
                exif = content
        elif not intact:
            raise ImageError("damaged", "a chunk of the PNG file has a wrong checksum")
        elif kind == b"IDAT":
            pieces.append(content)
        elif kind == b"PLTE":
            palette = content
        elif kind == b"IHDR" and not header and len(content) == 13:
            header = content
            width, height = struct.unpack_from(">II", content)
            check_pixels(width, height, max_pixels)
        else:
            raise ImageError("damaged", "the PNG file has a critical chunk that nobody expects")
    if not header or not pieces:
        raise _truncated(data)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join(pieces)), (b"IEND", b"")]
    if palette:
        chunks.insert(1, (b"PLTE", palette))
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks), exif


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes | None, bool]]:
    """Yield kind, content and whether the checksum holds; None for the content that is cut."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content, stop = data[at + 8 : at + 8 + length], at + 12 + length
        if stop > len(data):
            yield kind, None, False
            return
        (checksum,) = struct.unpack_from(">I", data, stop - 4)
        yield kind, content, zlib.crc32(content, zlib.crc32(kind)) == checksum
        at = stop


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _truncated(data: bytes) -> ImageError:
    return ImageError("truncated", f"the PNG file ends too early, after {len(data):,} bytes")
