"""What a user may choose about fetching images, and which values make sense."""

import math
from dataclasses import dataclass

from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import MAX_BYTES, MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Limits and manners of fetching.

    Attributes:
        max_failed_fraction: Share of snapshots whose image may fail before the run stops, in [0, 1).
            An index without a single usable image stops the run whatever this says.
        timeout_seconds: Time for one attempt at one image, redirects and body included.
        max_bytes: Larger files are refused; a download stops as soon as it is known to be larger.
        max_pixels: Images with more pixels are refused before they are decoded.
        attempts: How often one image is tried in one run when the failure may pass.
        concurrency: How many images are fetched at the same time.
        allow_private_addresses: Whether http(s) may lead to loopback, link-local, private and other
            addresses that are not public. For cameras and stores in one's own network.
        local_root: The folder outside which no local file is read, links followed; None reads any
            that the user who runs this may read.

    Raises:
        WebcamMLError: A value makes no sense; the message names it.
    """

    max_failed_fraction: float = 0.05
    timeout_seconds: float = 30.0
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    attempts: int = 3
    concurrency: int = 8
    allow_private_addresses: bool = False
    local_root: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_failed_fraction < 1.0:
            raise WebcamMLError(
                f"max_failed_fraction is {self.max_failed_fraction}; it is a share of all images "
                "and must be at least 0 and below 1 (0.05 tolerates 5 %)"
            )
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0.0):
            raise WebcamMLError(
                f"timeout_seconds is {self.timeout_seconds}; it must be a positive number of seconds"
            )
        for name in ("max_bytes", "max_pixels", "attempts", "concurrency"):
            value: int = getattr(self, name)
            if value < 1:
                raise WebcamMLError(f"{name} is {value}; it must be at least 1")
