"""Whether one picture is a part of another: correlation of textures over scales and places."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from webcam_ml.dataset.duplicates._fingerprint import SIDE, TextureArray

FloatArray = npt.NDArray[np.float32]

# Sides of the part against the whole: what is left when up to 5 percent are cut off each edge.
SCALES = (0.9, 0.925, 0.95, 0.975, 1.0)
# A texture without any detail resembles nothing, itself included.
LEAST_NORM = 1.0


@cache
def template_sizes() -> tuple[tuple[int, int], ...]:
    """Heights and widths in pixels of the texture: cut alike on all edges, or along one axis."""
    sides = [round(SIDE * scale) for scale in SCALES]
    both = [(side, side) for side in sides]
    one = [size for side in sides for size in ((SIDE, side), (side, SIDE))]
    return tuple(dict.fromkeys([*both, *one]))


@cache
def _places() -> npt.NDArray[np.int64]:
    """Where templates lie: top, left, bottom and right of each, [places, 4]."""
    return np.array(
        [
            (top, left, top + height, left + width)
            for height, width in template_sizes()
            for top in range(SIDE - height + 1)
            for left in range(SIDE - width + 1)
        ]
    )


def window_norms(texture: TextureArray) -> FloatArray:
    """Give the norm of a texture's deviation from its mean below each place of a template.

    Args:
        texture: int8 [64 · 64].

    Returns:
        float32 [places].
    """
    values = texture.reshape(SIDE, SIDE).astype(np.int64)
    sums, squares = (_sums_below(_places(), power) for power in (values, values * values))
    top, left, bottom, right = _places().T
    area = (bottom - top) * (right - left)
    norms: FloatArray = np.sqrt(squares - sums * sums / area).astype(np.float32)
    return np.maximum(norms, np.float32(LEAST_NORM))


def templates(texture: TextureArray) -> FloatArray:
    """Shrink a texture to each size and put it into each place of an empty one.

    Args:
        texture: int8 [64 · 64].

    Returns:
        float32 [places, 64 · 64], each with mean 0 and norm 1 where it lies.
    """
    values = Image.fromarray(texture.reshape(SIDE, SIDE).astype(np.float32))
    placed = np.zeros((len(_places()), SIDE, SIDE), np.float32)
    place = 0
    for height, width in template_sizes():
        part = np.asarray(values.resize((width, height), Image.Resampling.BILINEAR), np.float32)
        part = part - part.mean()
        part /= max(float(np.linalg.norm(part)), LEAST_NORM)
        for top in range(SIDE - height + 1):
            for left in range(SIDE - width + 1):
                placed[place, top : top + height, left : left + width] = part
                place += 1
    return placed.reshape(len(placed), -1)


def correlation(part: FloatArray, wholes: TextureArray, norms: FloatArray) -> FloatArray:
    """Correlate one picture as a part with several as wholes, each at its best place.

    Args:
        part: `templates` of the one picture.
        wholes: int8 [pictures, 64 · 64].
        norms: `window_norms` of each of them, [pictures, places].

    Returns:
        float32 [pictures], −1 to 1: Pearson's correlation of the pixels that overlap.
    """
    best: FloatArray = (wholes.astype(np.float32) @ part.T / norms).max(axis=1)
    return best


def _sums_below(
    places: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    total = np.zeros((SIDE + 1, SIDE + 1), np.int64)
    total[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    top, left, bottom, right = places.T
    sums: npt.NDArray[np.int64] = total[bottom, right] - total[top, right]
    sums += total[top, left] - total[bottom, left]
    return sums
