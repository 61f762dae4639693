"""From the bytes of an image file to RGB pixels: the one routine that training and scoring share.

Whatever changes a pixel on its way to a model belongs here: which formats are read, which frame,
what happens to orientation, alpha, palettes, sixteen bits. Resizing and normalising do not; they
are inside the model. Fetching does not either: `webcam_ml.dataset` has the network.

Pillow's switches for untrusted files (`Image.MAX_IMAGE_PIXELS`, `LOAD_TRUNCATED_IMAGES`) are
global to the process, and so is the warning that `Image.open` gives for large files. A library may
set neither, so files are opened by the class of their format and the limits are kept here.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from webcam_ml.limits import MAX_PIXELS
from webcam_ml.scoring._gif import FirstFrame
from webcam_ml.scoring._image_error import ImageError, check_pixels
from webcam_ml.scoring._jpeg import decode_jpeg
from webcam_ml.scoring._orientation import exif_orientation, turned
from webcam_ml.scoring._png import critical_png

DECODER_VERSION = 2
"""Raised where a file that was read gets other pixels, or an error: what was found of it is old then."""

_PixelsAndExif = tuple[NDArray[np.uint8], bytes]


@dataclass(frozen=True)
class ImageInfo:
    """Format and size of an image file.

    Attributes:
        width: Columns of the decoded array, in pixels: after the EXIF orientation was applied.
        height: Rows of the decoded array, likewise.
        format: ``JPEG``, ``PNG``, ``WEBP`` or ``GIF``, from the content and not from a name.
    """

    width: int
    height: int
    format: str


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file to RGB.

    JPEG (CMYK and progressive too), PNG, WebP and GIF are read: what webcams send and what the Node
    runtime reads as well. Of an animation the first frame counts. The EXIF orientation is applied.
    Sixteen-bit samples keep their high byte. Alpha is dropped: the colour that is stored under it
    is kept and not blended. Colour profiles are ignored. No shortcut is taken for large
    files (libjpeg could decode to an eighth), because the resize in the model would then see
    other pixels here than in Node.

    Safe to call from several threads; changes no state of Pillow.

    Args:
        data: The whole file.
        max_pixels: Files with more pixels are refused before any of them is decoded.

    Returns:
        Writable, C-contiguous array [height, width, 3], uint8, RGB.

    Raises:
        ImageError: The file cannot be used; its `reason` is one of `Reason`.
    """
    return decode_image_with_info(data, max_pixels=max_pixels)[0]


def decode_image_with_info(
    data: bytes, *, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[np.uint8], ImageInfo]:
    """Decode an image file as `decode_image` does, and say what it is.

    Args:
        data: The whole file.
        max_pixels: Files with more pixels are refused before any of them is decoded.

    Returns:
        The pixels, [height, width, 3] uint8 RGB, and the file's format and size.

    Raises:
        ImageError: The file cannot be used; its `reason` is one of `Reason`.
    """
    name = _format_of(data)
    pixels, exif = _DECODERS[name](data, max_pixels)
    pixels = turned(pixels, exif_orientation(exif))
    height, width, _ = pixels.shape
    return pixels, ImageInfo(width=width, height=height, format=name)


def _decode_png(data: bytes, max_pixels: int) -> _PixelsAndExif:
    file, exif = critical_png(data, max_pixels)
    return _decode_by(PngImageFile, file, "PNG")[0], exif


def _decode_gif(data: bytes, max_pixels: int) -> _PixelsAndExif:
    first = FirstFrame(data, max_pixels)
    return first.on_canvas(_decode_by(GifImageFile, first.file, "GIF")[0]), b""


def _decode_webp(data: bytes, max_pixels: int) -> _PixelsAndExif:
    _check_webp_header(data, max_pixels)
    return _decode_by(WebPImageFile, data, "WebP")


# None of them takes more than some seconds for a file within the limits, whatever is in it: loops
# in Python are few, and pixels and bytes are handled in C. Nothing could stop them half-way.
_DECODERS: dict[str, Callable[[bytes, int], _PixelsAndExif]] = {
    "JPEG": decode_jpeg,
    "PNG": _decode_png,
    "WEBP": _decode_webp,
    "GIF": _decode_gif,
}


def _decode_by(opener: Callable[[BytesIO], ImageFile], data: bytes, name: str) -> _PixelsAndExif:
    try:
        with opener(BytesIO(data)) as image:
            image.load()
            return _rgb(image), image.info.get("exif", b"")
    except _DECODER_FAULTS as fault:
        raise _judge(fault, name) from fault


# What Pillow's decoders raise on damaged files (found by mutating 200,000 of them, and by reading).
# `Warning` is for processes that run with -W error; `MemoryError` is how some decoders report
# sizes that make no sense.
_DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_KNOWN_BUT_NOT_READ: tuple[tuple[int, bytes, str], ...] = (
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"ftyp", "MP4 video"),
)


def _format_of(data: bytes) -> str:
    if not data:
        raise ImageError("empty", "the file is empty (0 bytes)")
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for offset, signature, name in _KNOWN_BUT_NOT_READ:
        if data.startswith(signature, offset):
            raise ImageError("unsupported", f"{name} is not read; JPEG, PNG, WebP and GIF are")
    raise ImageError("not_an_image", f"{_describe(data)}, not a JPEG, PNG, WebP or GIF image")


def _describe(data: bytes) -> str:
    """Say what a file without an image's signature looks like, for whoever finds it in a log."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "this looks like an SVG drawing"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in head:
        return "this looks like an HTML page (an error page of the host?)"
    if head.startswith((b"{", b"[", b"<")):
        return "this looks like JSON or XML"
    if any(signature.startswith(data) for signature, _ in _SIGNATURES):
        return f"these are only {len(data)} bytes"
    # A user who may name a file may not be allowed to read it, so none of its content is shown.
    return "this looks like text" if head.isascii() and b"\x00" not in head else "unknown content"


def _check_webp_header(data: bytes, max_pixels: int) -> None:
    """Judge a WebP file before Pillow sees it: opening one allocates its canvas, up to 1 GB.

    Container: RFC 9649, sections 2.3 to 2.7; the frame headers: RFC 6386, 9.1, and RFC 9649, 3.4.
    """
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ImageError("truncated", "the WebP file is shorter than its header says")
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(body[4:7], "little")
        height = 1 + int.from_bytes(body[7:10], "little")
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width = int.from_bytes(body[6:8], "little") & 0x3FFF
        height = int.from_bytes(body[8:10], "little") & 0x3FFF
    check_pixels(width, height, max_pixels)


def _judge(fault: Exception, name: str) -> ImageError:
    """Turn what Pillow raised into a category and a sentence."""
    if isinstance(fault, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too_many_pixels", f"the {name} file declares a frame of absurd size")
    said = str(fault).lower()
    if isinstance(fault, EOFError) or any(
        sign in said
        for sign in ("truncated", "requires a buffer", "no more images", "incomplete checksum")
    ):
        return ImageError("truncated", f"the {name} file ends too early ({fault})")
    return ImageError("damaged", f"the {name} file cannot be decoded ({fault})")


_PIXELS_AT_ONCE = 2**16


def _rgb(image: ImageFile) -> NDArray[np.uint8]:
    """Copy a loaded image into an array [height, width, 3], some rows at a time.

    Whole-image conversions would hold up to three more copies of the pixels at once; strips of
    this size cost no time, and for large files they save some.
    """
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    step = max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        rows = image.crop((0, top, width, bottom))
        if image.mode.startswith("I;16"):
            # Pillow clips at 255 here; the other sixteen-bit files it reads keep their high byte.
            pixels[top:bottom] = (np.asarray(rows) >> 8)[:, :, np.newaxis]
        else:
            pixels[top:bottom] = np.asarray(rows if rows.mode == "RGB" else rows.convert("RGB"))
    return pixels
