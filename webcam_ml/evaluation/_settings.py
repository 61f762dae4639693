"""What a user may choose about the evaluation."""

from typing import Annotated

from pydantic import Field

from webcam_ml.contracts import Settings, Why


class EvaluationSettings(Settings):
    """How the intervals of the metrics are made."""

    bootstrap_samples: Annotated[
        int,
        Why(
            "with fewer the standard error itself would be uncertain by more than 5 percent, more add "
            "hours and no digit, and 2000 take seconds"
        ),
    ] = Field(
        default=2000,
        ge=200,
        le=100_000,
        description="Resamples of the webcams behind each interval",
    )
