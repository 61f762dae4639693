"""What all of them put into the cells of their tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webcam_ml.dataset.images import ImageCache

WORST_SHOWN = 10
# Of pictures in a table; a table with twenty of them stays below 100 kB.
SMALL_SIDE = 160
LARGEST_SMALL_BYTES = 4_000

Metadata = dict[str, Any]


def small_picture(sha256: str, images: "ImageCache") -> bytes | str:
    """Draw a kept picture small, or say that it is gone."""
    from webcam_ml.dataset.images import DamagedImageError
    from webcam_ml.disagreement import thumbnail_jpeg

    try:
        pixels = images.decode(sha256)
    except DamagedImageError:
        return "gone from the cache"
    return thumbnail_jpeg(pixels, side=SMALL_SIDE, max_bytes=LARGEST_SMALL_BYTES)


def rounded(value: object) -> float:
    """Round a number for reading; what is none becomes NaN."""
    return round(float(value), 4) if isinstance(value, (int, float)) else float("nan")
