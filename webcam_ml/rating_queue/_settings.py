"""What a rating queue may be asked for, judged before any frame is looked at."""

from pydantic import Field

from webcam_ml.contracts import Settings
from webcam_ml.dataset.images import FetchSettings

LARGEST_QUEUE = 10_000
LARGEST_POOL = 1_000_000


class RatingQueueSettings(Settings):
    """How long the queue is, and what it is chosen from."""

    size: int = Field(
        default=200,
        ge=1,
        le=LARGEST_QUEUE,
        description="Frames in the queue, at most one of a camera; validation and test get as many "
        "percent of them as of the webcams",
    )
    pool: int = Field(
        default=20_000,
        ge=1,
        le=LARGEST_POOL,
        description="Unrated frames of training webcams that the model looks at, at most: the newest "
        "of each webcam in turn. Each costs one forward pass, once",
    )
    random_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of the frames of training webcams that is drawn at random, whatever the "
        "model thinks of them",
    )
    images: FetchSettings = Field(
        default_factory=FetchSettings,
        description="How pictures are fetched, as in image_index; one that fails is not shown",
    )
