"""Image files for the tests of `scoring`: ordinary ones, and every odd kind of the contract."""

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def photograph(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours with some grain, so that JPEG has something to do; unlike in all corners."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = random.normal(0, 4, (height, width, 1))
    return (smooth + grain).clip(0, 255).astype(np.uint8)


def encoded(
    pixels: NDArray[np.uint8] | Image.Image, kind: str = "JPEG", **options: object
) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_orientation(pixels: NDArray[np.uint8], orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(pixels, kind, exif=exif, **options)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any number of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\x00" * 1000))
        + png_chunk(b"IEND", b"")
    )


def png_of_16_bits(samples: NDArray[np.uint16], colour_type: int) -> bytes:
    """A sixteen-bit PNG [height, width, channels]; Pillow writes only the grey ones itself."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def jpeg_with_app1(jpeg: bytes, content: bytes) -> bytes:
    """The same JPEG with an APP1 segment right behind its start marker."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><rect width="9"/></svg>'
