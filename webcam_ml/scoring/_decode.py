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
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import MAX_PIXELS

Reason = Literal[
    "empty",  # no bytes at all
    "not_an_image",  # HTML, SVG, text, anything without the signature of an image format
    "unsupported",  # an image, but of a format or a kind that is not read here
    "too_many_pixels",
    "truncated",  # the file ends before its pixels do
    "damaged",  # the signature fits, the content does not
    "unreadable",  # the operating system does not give the file
]


class ImageError(WebcamMLError):
    """One image that cannot be used; the fault is the file's and ends with it.

    Attributes:
        reason: The category, for counting (see `Reason`).
        detail: The sentence for the person who looks at this one file.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class ImageInfo:
    """What the file said about itself.

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
    stays, blended with nothing. Colour profiles are ignored. No shortcut is taken for large
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
    try:
        if name == "WEBP":
            _check_webp_header(data, max_pixels)
        with _OPENERS[name](BytesIO(data)) as image:
            check_pixels(*image.size, max_pixels)
            # Pillow would turn transparency into an alpha channel of the palette, and warn.
            image.info.pop("transparency", None)
            image.load()
            orientation = _exif_orientation(image.info.get("exif", b""))
            pixels = _orient(_rgb(image), orientation)
    except ImageError:
        raise
    except _DECODER_FAULTS as fault:
        raise _judge(fault, name, data) from fault
    height, width, _ = pixels.shape
    return pixels, ImageInfo(width=width, height=height, format=name)


class _PlainJpeg(JpegImageFile):
    """A JPEG file whose EXIF block nobody parses while it is opened.

    Pillow looks there for a resolution, which no one here needs, and warns about malformed blocks.
    """

    def getexif(self) -> Image.Exif:
        return Image.Exif()


_OPENERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": _PlainJpeg,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
}

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
    return f"this starts with the bytes {data[:8].hex(' ')}"


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a size that no picture has or that is over the limit.

    Raises:
        ImageError: The reason is ``damaged`` or ``too_many_pixels``.
    """
    if width < 1 or height < 1:
        raise ImageError("damaged", f"the header says {width}×{height} pixels")
    if width * height > max_pixels:
        raise ImageError(
            "too_many_pixels",
            f"{width}×{height} is {width * height / 1e6:.1f} megapixels; "
            f"at most {max_pixels / 1e6:.1f} are decoded",
        )


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


def _judge(fault: Exception, name: str, data: bytes) -> ImageError:
    """Turn what Pillow raised into a category and a sentence."""
    if isinstance(fault, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too_many_pixels", f"the {name} file declares a frame of absurd size")
    said = str(fault).lower()
    if isinstance(fault, EOFError) or any(
        sign in said
        for sign in ("truncated", "requires a buffer", "no more images", "incomplete checksum")
    ):
        return ImageError(
            "truncated", f"the {name} file ends too early, after {len(data):,} bytes ({fault})"
        )
    return ImageError("damaged", f"the {name} file cannot be decoded ({fault})")


def _exif_orientation(exif: bytes) -> int:
    """Read the orientation (1 to 8) from an EXIF block; 1 where there is none or it makes no sense.

    Only tag 0x0112 of the first directory counts, as in browsers and in libvips. Pillow's own
    reader also takes it from XMP, and warns about blocks that are damaged elsewhere. Layout:
    TIFF 6.0, section 2.
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
        pass  # the block ends before the tag: nothing was said about orientation
    return 1


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


def _orient(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror stored pixels into the picture as meant (Exif 2.32, table of tag 0x0112)."""
    match orientation:
        case 2:
            turned = pixels[:, ::-1]
        case 3:
            turned = pixels[::-1, ::-1]
        case 4:
            turned = pixels[::-1]
        case 5:
            turned = pixels.swapaxes(0, 1)
        case 6:
            turned = pixels[::-1].swapaxes(0, 1)
        case 7:
            turned = pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:
            turned = pixels[:, ::-1].swapaxes(0, 1)
        case _:
            turned = pixels
    return np.ascontiguousarray(turned)
