"""Small pictures for a page that is sent around: 200 of them stay under 5 MB, whatever they show."""

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RgbArray: TypeAlias = NDArray[np.uint8]

# As text in the page (base64, 4/3) they take 4.0 MB; the cards' words come on top.
ALL_THUMBNAIL_BYTES = 3_000_000
LARGEST_THUMBNAIL_BYTES, SMALLEST_THUMBNAIL_BYTES = 15_000, 6_000
THUMBNAIL_SIDE = 400
_QUALITIES = (84, 78, 72, 64, 56, 48)


def thumbnail_bytes(pictures: int) -> int:
    """Say how large one of so many pictures in a page may be."""
    share = ALL_THUMBNAIL_BYTES // max(pictures, 1)
    return max(SMALLEST_THUMBNAIL_BYTES, min(LARGEST_THUMBNAIL_BYTES, share))


def thumbnail_jpeg(
    pixels: RgbArray, *, side: int = THUMBNAIL_SIDE, max_bytes: int = LARGEST_THUMBNAIL_BYTES
) -> bytes:
    """Encode a picture as a small JPEG, as good as the bytes allow.

    Args:
        pixels: [height, width, 3] uint8 RGB.
        side: The longer side of the result, in pixels, at most; a smaller picture stays as it is.
        max_bytes: Size of the file at most: quality goes down first, then the size.

    Raises:
        ValueError: The array is no RGB picture.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"a uint8 RGB picture is needed, got {pixels.dtype} {pixels.shape}")
    picture = Image.fromarray(pixels)
    while True:
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        roughest = _encoded(small, _QUALITIES[-1])
        if len(roughest) <= max_bytes or max(small.size) == 1:
            break
        # Bytes go roughly with the area; a little less, so that it converges.
        side = max(1, int(max(small.size) * min(0.9, (max_bytes / len(roughest)) ** 0.5)))
    better = (_encoded(small, quality) for quality in _QUALITIES[:-1])
    return next((data for data in better if len(data) <= max_bytes), roughest)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
