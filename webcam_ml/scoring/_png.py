"""PNG: the chunks that decide the pixels, picked out before the decoder sees the file.

Pillow refuses a file for a wrong checksum in a chunk of text, and reads EXIF that follows the
pixels; browsers ignore both. It handles each chunk in Python, and a file may have millions. A
file of the critical chunks alone, with its data in one piece, has none of these problems. Nor does it
say anything where the data end before the last row, so they are counted.
"""

import struct
import zlib
from collections.abc import Iterator

from webcam_ml.scoring._image_error import ImageError, check_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANCILLARY = 0x20  # the bit that makes the first letter lower case
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# First column and row of each pass of an interlaced file, and the steps to the next ones.
_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_READ_AT_ONCE = 2**14  # of which at most 16 MB are made


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
    stored = b"".join(pieces)
    _require_all_rows(_bytes_of_rows(header), stored)
    chunks = [(b"IHDR", header), (b"IDAT", stored), (b"IEND", b"")]
    if palette:
        chunks.insert(1, (b"PLTE", palette))
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks), exif


def _bytes_of_rows(header: bytes) -> int:
    """Say how many bytes the rows take, each with the byte of its filter (PNG 3, sections 7 to 9)."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS.get(colour, 0)
    total = 0
    for left, top, across, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0:
            total += max(rows, 0) * (1 + -(-columns * bits // 8))
    return total


def _require_all_rows(wanted: int, stored: bytes) -> None:
    """Refuse a stream that is whole and holds fewer bytes; of one that is not the decoder says so."""
    stream = zlib.decompressobj()
    try:
        for at in range(0, len(stored), _READ_AT_ONCE):
            wanted -= len(stream.decompress(stored[at : at + _READ_AT_ONCE]))
            if wanted <= 0 or stream.eof:
                break
    except zlib.error:
        return
    if wanted > 0 and stream.eof:
        raise ImageError("damaged", "the data of the PNG file end before its last row")


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
