"""What an audit of served scores may be asked for."""

from pydantic import Field

from webcam_ml.contracts import Settings
from webcam_ml.dataset.images import FetchSettings


class AuditSettings(Settings):
    """How far back an audit looks, and at how many pictures."""

    days: int = Field(
        default=30,
        ge=1,
        le=3_650,
        description="How many days of snapshots are looked at, counted back from the newest",
    )
    pictures: int = Field(
        default=60,
        ge=10,
        le=2_000,
        description="Of each model version so many pictures are scored again, drawn over webcams and "
        "days. 20 are enough for a skew of all pictures",
    )
    drift_pictures: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="So many pictures that the live model scored are looked at for drift, drawn over webcams "
        "and days; 0: only their scores are",
    )
    max_unscored_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Largest share of snapshots without a score that is no finding",
    )
    random_state: int = Field(default=0, ge=0, description="Seed of the draw")
    images: FetchSettings = Field(
        default_factory=FetchSettings,
        description="How pictures are fetched, as in image_index; one that fails is not compared",
    )
