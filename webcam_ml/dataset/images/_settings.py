"""What a user may choose about fetching images, and which values make sense."""

from typing import Annotated

from pydantic import Field

from webcam_ml.contracts import Settings, Why, WrittenOut
from webcam_ml.limits import MAX_BYTES, MAX_PIXELS


class FetchSettings(Settings):
    """Limits and manners of fetching."""

    timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="For one attempt at one picture, redirects and body included",
    )
    max_bytes: int = Field(
        default=MAX_BYTES,
        ge=1,
        description="Larger files are refused; a download stops as soon as it is known to be larger",
    )
    max_pixels: int = Field(
        default=MAX_PIXELS, ge=1, description="Larger pictures are refused before they are decoded"
    )
    attempts: int = Field(
        default=3, ge=1, description="Tries at one picture in one run, where a failure may pass"
    )
    concurrency: int = Field(default=8, ge=1, description="Pictures fetched at the same time")
    allow_private_addresses: bool = Field(
        default=False,
        description="Whether http(s) may reach loopback, link-local and private addresses: cameras "
        "and stores in one's own network",
    )
    local_root: Annotated[str | None, WrittenOut()] = Field(
        default=None,
        description="Folder outside which no local file is read, links followed; without it any file "
        "that the user who runs this may read",
    )


class ImageSettings(FetchSettings):
    """How pictures are fetched that a run cannot do without."""

    # An index without a single usable image stops the run whatever this says.
    max_failed_fraction: Annotated[
        float, Why("it is a share of all images, and 0.05 tolerates 5 %")
    ] = Field(
        default=0.05, ge=0, lt=1, description="Share of pictures that may fail before the run stops"
    )
