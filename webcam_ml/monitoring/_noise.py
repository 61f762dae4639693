"""How far a score moves by what is nobody's mistake: another decoder, another encoding, another copy.

Measured on each picture with the model in question, because a picture near the middle of the sigmoid
moves further than one at its end.
"""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

QUALITY = 90
COPY_SIZE = 0.8
GREY_LEVELS = 1


def benign(pixels: Pixels) -> list[Pixels]:
    """Make copies of a picture that an honest application may score instead of it.

    Args:
        pixels: [height, width, 3], uint8, RGB.

    Returns:
        The picture encoded once more as JPEG, made smaller by a fifth, and with each value moved by a
        grey level at most, which is what decoders differ by.
    """
    picture = Image.fromarray(pixels)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    with Image.open(buffer) as again:
        encoded = np.asarray(again.convert("RGB"))
    height, width = pixels.shape[:2]
    smaller = (max(1, round(width * COPY_SIZE)), max(1, round(height * COPY_SIZE)))
    resized = np.asarray(picture.resize(smaller, Image.Resampling.LANCZOS))
    moves = np.random.default_rng(0).integers(
        -GREY_LEVELS, GREY_LEVELS, pixels.shape, endpoint=True
    )
    moved = np.clip(pixels.astype(np.int16) + moves, 0, 255).astype(np.uint8)
    return [encoded, resized, moved]
