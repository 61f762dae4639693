"""JPEG: what the markers say, and pixels that are whole.

libjpeg goes on where data are missing or make no sense: it fills the rest with grey and warns.
Pillow drops these warnings, so half a picture would pass for a whole one. simplejpeg hands the very
same library's pixels over together with its last warning. Four things are judged before it runs,
by walking the markers: how often the file goes over its pixels (a progressive file of 200 kB may do
so 2,000 times and keep a core busy for minutes), whether it is of a kind that is read here, whether
its scans bring all of each colour (libjpeg does not warn where the last ones are missing), and the
EXIF block.
"""

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from webcam_ml.scoring._image_error import ImageError, check_pixels

MAX_SCANS = 64
"""libjpeg's own progressive files have 10 scans, 18 with four inks; a sequential one at most 4."""

# 512 of the longest ones fill 32 MB; millions of short ones would keep Python busy.
MAX_SEGMENTS = 10_000

# Cameras pad their last scan with a few zeros, of which libjpeg warns as of any left-over bytes.
MAX_PADDING = 16

_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_READ_PROCESSES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive: Huffman-coded
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC are no frames
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
# Marker codes that libjpeg knows; at any other it gives up.
_KNOWN = frozenset((*range(0xC0, 0xF0), 0x01, 0xFE))
_MARKER = re.compile(rb"\xff+([^\x00\xff])?", re.DOTALL)
# In entropy-coded data 0xFF stands before 0x00 or a restart marker; anything else ends them.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


@dataclass(frozen=True)
class _Markers:
    precision: int
    process: int
    scans: int
    complete: bool
    """Whether the scans bring all coefficients of each component, to the last bit."""

    exif: bytes
    end: int | None
    """Where the end marker stands; None in a file that has none."""


def decode_jpeg(data: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], bytes]:
    """Decode a JPEG file that is whole.

    Args:
        data: The file, from its start marker; what stands behind its end marker is ignored.
        max_pixels: Larger pictures are refused before any pixel is decoded.

    Returns:
        The stored pixels, [height, width, 3] uint8 RGB, not turned; and the EXIF block, or nothing.

    Raises:
        ImageError: The file cannot be used, or libjpeg warned while it was decoded.
    """
    markers = _walk(data)
    _require_readable(markers)
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as fault:
        raise _judge(str(fault), markers, data) from fault
    check_pixels(width, height, max_pixels)
    inks = colours in ("CMYK", "YCCK")
    pixels = np.empty((height, width, 4 if inks else 3), np.uint8)
    try:
        simplejpeg.decode_jpeg(data, "CMYK" if inks else "RGB", buffer=pixels)
    except ValueError as fault:
        if not _only_padding_is_left(str(fault), markers, data):
            raise _judge(str(fault), markers, data) from fault
    return (_rgb_of_cmyk(pixels) if inks else pixels), markers.exif


def _walk(data: bytes) -> _Markers:
    """Read the markers as libjpeg does, up to the end marker (ITU-T T.81, annex B)."""
    precision = process = scans = 0
    exif = b""
    missing: dict[int, set[int]] = {}
    at, end = 2, None
    for _ in range(MAX_SEGMENTS):
        # Between segments nothing but fill bytes may stand; behind a scan its data have been passed.
        found = _MARKER.match(data, at)
        stop = found.end() if found else at
        if found is None or found[1] is None:
            if stop >= len(data):
                break
            raise ImageError("damaged", "the JPEG file has bytes between its segments")
        code, at = found[1][0], stop
        if code == _EOI:
            end = stop - 2
            break
        if code in _WITHOUT_LENGTH:
            continue
        if code not in _KNOWN or code == _SOI:
            raise ImageError("damaged", "the JPEG file has a marker that no segment begins with")
        length = int.from_bytes(data[at : at + 2])
        content = data[at + 2 : at + length]
        at += max(length, 2)
        if code in _FRAMES and not process and content:
            process, precision = code, content[0]
            missing = {component: set(range(64)) for component in content[6::3]}
        elif code == _APP1 and not scans and not exif and content.startswith(b"Exif\x00\x00"):
            exif = content
        elif code == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise ImageError(
                    "too_many_scans",
                    f"the JPEG file goes over its pixels more than {MAX_SCANS} times; save it "
                    "again, baseline or with an ordinary progressive script of some ten scans",
                )
            _note_what_comes(content, missing)
            behind = _END_OF_SCAN.search(data, at)
            at = behind.start() if behind else len(data)
    else:
        raise ImageError("damaged", f"the JPEG file has more than {MAX_SEGMENTS:,} segments")
    return _Markers(precision, process, scans, not any(missing.values()), exif, end)


def _note_what_comes(scan: bytes, missing: dict[int, set[int]]) -> None:
    """Take from what is missing of each component what a scan brings to the last bit (T.81, B.2.3)."""
    if not scan or len(scan) < 4 + 2 * scan[0]:
        return  # the decoder says what is wrong
    first, last, approximation = scan[1 + 2 * scan[0] :][:3]
    if approximation & 0x0F:
        return  # a later scan brings the lower bits
    for component in scan[1 : 1 + 2 * scan[0] : 2]:
        missing.get(component, set()).difference_update(range(first, last + 1))


def _require_readable(markers: _Markers) -> None:
    if not markers.process:
        return  # the decoder says what is wrong
    if markers.process not in _READ_PROCESSES:
        raise ImageError(
            "unsupported",
            "this is a lossless, hierarchical or arithmetic-coded JPEG; baseline, extended and "
            "progressive ones with Huffman codes are read",
        )
    if markers.precision != 8:
        raise ImageError("unsupported", f"this is a {markers.precision}-bit JPEG; 8 bits are read")
    if not markers.complete:
        raise ImageError(
            "truncated", "the JPEG file ends before the scans that bring the rest of its pixels"
        )


def _only_padding_is_left(said: str, markers: _Markers, data: bytes) -> bool:
    """Whether all pixels came and a few zeros follow: then the warning is of no consequence."""
    found = _LEFT_OVER.search(said)
    if found is None or markers.end is None or int(found[1]) > MAX_PADDING:
        return False
    return not any(data[markers.end - int(found[1]) : markers.end])


def _judge(said: str, markers: _Markers, data: bytes) -> ImageError:
    """Turn what libjpeg said into a category and a sentence."""
    whole = markers.end is not None
    if whole and "Could not determine subsampling" in said and markers.scans:
        return ImageError(
            "unsupported",
            "this JPEG's colours are subsampled in a way that is not read; save it again with "
            "4:4:4, 4:2:2 or 4:2:0",
        )
    if not whole:
        return ImageError(
            "truncated", f"the JPEG file ends too early, after {len(data):,} bytes ({said})"
        )
    return ImageError(
        "damaged",
        f"a part of the JPEG file is missing or damaged, so a part of its pixels is ({said})",
    )


_PIXELS_AT_ONCE = 2**16


def _rgb_of_cmyk(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Multiply inks and black, as Pillow does; stored are the inks' complements (Adobe)."""
    height, width, _ = stored.shape
    pixels = np.empty((height, width, 3), np.uint8)
    step = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, step):
        inks = Image.fromarray(255 - stored[top : top + step], "CMYK")
        pixels[top : top + step] = np.asarray(inks.convert("RGB"))
    return pixels
