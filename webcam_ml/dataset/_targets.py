"""From a rating on the 1–5 scale to what a model is trained on."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from webcam_ml.contracts import (
    HIGHEST_RATING,
    LOWEST_RATING,
    TARGETS,
    OneOf,
    Settings,
    Target,
    TargetType,
    Why,
    rating_of,
    target_of,
)

if TYPE_CHECKING:
    import polars as pl


class TargetConfig(Settings):
    """What the model is asked."""

    target_type: Annotated[TargetType, OneOf(TARGETS)] = Field(
        default="binary",
        description="; ".join(f"{name}: {target.question}" for name, target in TARGETS.items()),
    )
    binary_threshold: Annotated[float, Why("stars, on the scale of the ratings")] = Field(
        default=4.0,
        gt=LOWEST_RATING,
        le=HIGHEST_RATING,
        description="In stars, on the scale of the ratings; unused by regression",
    )

    @field_validator("binary_threshold", mode="before")
    @classmethod
    def _in_stars(cls, value: Any) -> Any:
        if type(value) in (int, float) and 0 < value <= 1:
            raise ValueError(
                f"binary_threshold is {value:g}; it must be a number above 1 and at most 5: stars, on "
                f"the scale of the ratings. Did you mean {rating_of(value):g}, the same on 1–5?"
            )
        return value

    @property
    def asked(self) -> Target:
        """What the target type means."""
        return target_of(self.target_type)

    @property
    def positive_from(self) -> float | None:
        """The rating from which a picture is positive; None where nothing is."""
        return self.asked.positive_from(self.binary_threshold)

    def label_of(self, label_value: "pl.Expr") -> "pl.Expr":
        """Turn ratings (1–5) into targets."""
        return self.asked.label_of(label_value, binary_threshold=self.binary_threshold)
