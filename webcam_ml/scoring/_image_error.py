"""The error of one picture, and the categories in which such errors are counted."""

from typing import Literal

from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import MAX_BYTES

Reason = Literal[
    "empty",  # no bytes at all
    "not_an_image",  # HTML, SVG, text, anything without the signature of an image format
    "unsupported",  # an image, but of a format or a kind that is not read here
    "too_many_bytes",
    "too_many_pixels",
    "too_many_scans",  # a JPEG that goes over its pixels more often than any encoder makes it
    "truncated",  # the file ends before its pixels do
    "damaged",  # the signature fits, the content does not
    "unreadable",  # the operating system does not give the file
]


class ImageError(WebcamMLError):
    """One image that cannot be used; the cause is this file and affects no other.

    Attributes:
        reason: The category, for counting (see `Reason`).
        detail: The sentence for the person who looks at this one file; it quotes none of its bytes.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


def check_bytes(size: int) -> None:
    """Refuse a file with more bytes than are read.

    Raises:
        ImageError: The reason is ``too_many_bytes``.
    """
    if size > MAX_BYTES:
        raise ImageError(
            "too_many_bytes", f"{size:,} bytes; pictures of at most {MAX_BYTES:,} are read"
        )


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
