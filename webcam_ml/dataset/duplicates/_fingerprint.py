"""What is kept of a picture to recognise it again: a hash for speed, a texture for certainty."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from webcam_ml.dataset.images import ArrayCache, ImageArray, ImageCache, PictureWork

TextureArray = npt.NDArray[np.int8]
HashArray = npt.NDArray[np.uint64]

# To be increased whenever equal pictures get other fingerprints: old ones are then not read.
FORMAT = 1

SIDE = 64
HASH_BYTES = 8
# Width of the neighbourhood that a pixel is compared with, in pixels of the texture. Wider ones see
# the slow gradient that all skies share; narrower ones see the noise of the camera.
NEIGHBOURHOOD = 2.0
# Variation below this many grey levels (of 255) counts as flat: compression alone makes that much.
FLAT = 0.7
# One standard deviation of a neighbourhood in steps of the stored number; clipped at 3 of them.
STEPS = 40.0
LARGEST = 127


def fingerprint(pixels: ImageArray) -> TextureArray:
    """Take the fingerprint of a picture.

    The hash is the 64-bit difference hash: whether each cell of an 8 × 9 grid is darker than its
    right neighbour. The texture is the picture as 64 × 64 greys, squashed to a square, each with
    the mean of its neighbourhood taken off and divided by its deviation, so that brightness,
    contrast and the slow gradients that all skies share are gone.

    Args:
        pixels: uint8 RGB [height, width, 3].

    Returns:
        int8 [64 · 64 + 8]: the texture row by row, then the bytes of the hash.
    """
    from scipy.ndimage import gaussian_filter

    # In floating point: in a smooth sky all the difference is between two levels of grey.
    grey = Image.fromarray(pixels).convert("L").convert("F")
    cells = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(cells[:, 1:] > cells[:, :-1])
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    detail = small - gaussian_filter(small, NEIGHBOURHOOD, mode="reflect")
    variance = gaussian_filter(detail * detail, NEIGHBOURHOOD, mode="reflect")
    texture = np.rint(STEPS * detail / np.sqrt(variance + FLAT**2)).clip(-LARGEST, LARGEST)
    return np.concatenate([texture.astype(np.int8).ravel(), bits.view(np.int8)])


@dataclass(frozen=True)
class _Fingerprint(PictureWork[TextureArray]):
    def start(self) -> Callable[[ImageArray], TextureArray]:
        return fingerprint


def fingerprints(
    digests: Sequence[str], *, images: ImageCache, cache: Path, anew: Collection[str] = ()
) -> tuple[HashArray, TextureArray]:
    """Give hash and texture of pictures, computing only what is not kept.

    Args:
        digests: SHA-256 of each picture.
        images: Where the pictures are.
        cache: Root of the caches.
        anew: Those of them that are taken from the picture whatever is kept.

    Returns:
        The hashes, uint64 [pictures], and the textures, int8 [pictures, 64 · 64].

    Raises:
        DamagedImageError: A picture that is looked at is missing from the cache, or damaged.
    """
    kept = ArrayCache(cache / "fingerprints" / f"format-{FORMAT}.sqlite", np.int8)
    kept.compute_missing(digests, _Fingerprint(), images=images, what="fingerprints", anew=anew)
    rows = kept.rows(digests).reshape(len(digests), SIDE * SIDE + HASH_BYTES)
    hashes = np.ascontiguousarray(rows[:, -HASH_BYTES:]).view(np.uint64).ravel()
    return hashes, rows[:, :-HASH_BYTES]
