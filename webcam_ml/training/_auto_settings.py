"""What a user may choose with `model_name: auto`."""

from typing import Literal

from pydantic import Field, field_validator

from webcam_ml.contracts import Settings, suggestion
from webcam_ml.features import BACKBONES, TIMM

Reconsider = Literal["never", "monthly", "always"]

LEAST_CANDIDATES = 2


class AutoSettings(Settings):
    """Among which backbones `model_name: auto` chooses, and what the chosen one may cost."""

    # Sorted and without repetition, because their order means nothing.
    candidates: tuple[str, ...] = Field(
        default=("convnext_tiny", "efficientnet_b0", "mobilenet_v3_large", "resnet18", "resnet50"),
        strict=False,
        description="The backbones to choose from, two or more of what model_name may be",
    )
    max_milliseconds: float | None = Field(
        default=None,
        gt=0,
        description="Of processor time for one picture on one thread of the machine that trains; without "
        "it no limit",
    )
    max_megabytes: float | None = Field(
        default=None, gt=0, description="Of the model file, 10⁶ bytes each; without it no limit"
    )
    reconsider: Reconsider = Field(
        default="monthly",
        description="How long a choice is kept by later trainings that are asked the same: never "
        "reconsidered, after 30 days, or always chosen anew",
    )

    @field_validator("candidates")
    @classmethod
    def _several_known(cls, candidates: tuple[str, ...]) -> tuple[str, ...]:
        for name in candidates:
            if name not in BACKBONES and not name.startswith(TIMM):
                raise ValueError(
                    f"candidates has {name!r}, which is no backbone{suggestion(name, tuple(BACKBONES))}, "
                    f"and any {TIMM}<name>"
                )
        different = tuple(sorted(set(candidates)))
        if len(different) < LEAST_CANDIDATES:
            raise ValueError(
                f"candidates names {' and '.join(different) or 'none'}, and auto chooses among two or "
                "more. To take one without asking, name it as model_name"
            )
        return different
