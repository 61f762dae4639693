"""Usual ways in which an application prepares a picture otherwise than the model was trained.

Each is a change of the pixels that go into the file, so that its score is what an application with
that mistake would store.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]

# What applications resize to by themselves before they score.
SIDE = 224
_ORIENTATION = 0x0112


def _crop(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _letterbox(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _resized(pixels: Pixels, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), how))


def _unfiltered(pixels: Pixels) -> Pixels:
    """Resize by bilinear interpolation between four pixels, however many lie between: no antialiasing."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels).transform(
        (SIDE, SIDE), Image.Transform.EXTENT, (0, 0, width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(picture)


LANCZOS = "resize by Lanczos"

# In the order of an application's steps; of each step it can make one mistake.
_STEPS: tuple[Mapping[str, Change], ...] = (
    {"crop to cover": _crop, "letterbox": _letterbox},
    {
        "resize by nearest neighbour": lambda pixels: _resized(pixels, Image.Resampling.NEAREST),
        "resize without antialiasing": _unfiltered,
        LANCZOS: lambda pixels: _resized(pixels, Image.Resampling.LANCZOS),
    },
    {"BGR": lambda pixels: pixels[..., ::-1]},
)
# By the EXIF tag: how an upright picture lies in its file.
_TURNS: Mapping[int, Change] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}
UNNORMALISED = "no normalisation"
EXIF_IGNORED = "EXIF orientation ignored"
_CHANGES = {name: change for step in _STEPS for name, change in step.items()}
_STEP_OF = {name: place for place, step in enumerate(_STEPS) for name in step}
_STEP_OF[UNNORMALISED] = len(_STEPS)

SKEWS: tuple[tuple[str, ...], ...] = (
    # Lanczos by itself moves scores less than a copy of the picture does, and is no mistake; where it is
    # what enlarges a crop, as in sharp's default, the pair is nearer than the crop alone.
    *((name,) for name in (*_STEP_OF, EXIF_IGNORED) if name != LANCZOS),
    *(pair for pair in combinations(_STEP_OF, 2) if _STEP_OF[pair[0]] != _STEP_OF[pair[1]]),
    # sharp's default in front of a network that sees 0 to 1.
    ("crop to cover", LANCZOS, UNNORMALISED),
)
"""Each mistake alone, two at once where they are of different steps, and three that go together."""


def skewed(
    pixels: Pixels, content: bytes, *, mean: Sequence[float], std: Sequence[float]
) -> dict[tuple[str, ...], Pixels]:
    """Prepare one picture in every way that may be meant.

    Args:
        pixels: As it should be, [height, width, 3], uint8, RGB.
        content: The file; its orientation is in there.
        mean: What the graph subtracts from each channel, on the scale 0–1.
        std: What it then divides by.

    Returns:
        For each of `SKEWS` the pixels that would go into the model.
    """
    changes: dict[str, Change] = {
        **_CHANGES,
        # Pixels that come out of the graph's normalisation as these went in, to half a grey level.
        UNNORMALISED: lambda picture: np.round(
            np.clip(picture * np.array(std) + 255 * np.array(mean), 0, 255)
        ).astype(np.uint8),
        EXIF_IGNORED: lambda picture: _lying(picture, content),
    }
    found: dict[tuple[str, ...], Pixels] = {}
    for skew in SKEWS:
        changed = pixels
        for name in skew:
            changed = changes[name](changed)
        found[skew] = np.ascontiguousarray(changed)
    return found


def _lying(pixels: Pixels, content: bytes) -> Pixels:
    """Turn a picture back to how it lies in its file."""
    with Image.open(BytesIO(content)) as picture:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    turn = _TURNS.get(int(orientation))
    return pixels if turn is None else turn(pixels)
