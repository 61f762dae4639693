"""From a rating on the 1–5 scale to what a model is trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from webcam_ml.contracts import (
    HIGHEST_RATING,
    LOWEST_RATING,
    TARGETS,
    Target,
    TargetType,
    rating_of,
    target_of,
)
from webcam_ml.errors import WebcamMLError

if TYPE_CHECKING:
    import polars as pl


class TargetConfigError(WebcamMLError):
    """The target does not make sense on the 1–5 scale."""


@dataclass(frozen=True)
class TargetConfig:
    """What the model is asked.

    Attributes:
        target_type: `binary` (is it at least `binary_threshold`?) or `regression` (which rating?).
        binary_threshold: On the 1–5 scale; unused by regression.

    Raises:
        TargetConfigError: An unknown target type, or a threshold outside (1, 5].
    """

    target_type: TargetType = "binary"
    binary_threshold: float = 4.0

    def __post_init__(self) -> None:
        if self.target_type not in TARGETS:
            raise TargetConfigError(
                f"target_type {self.target_type!r} is unknown: choose {' or '.join(TARGETS)}"
            )
        if not LOWEST_RATING < self.binary_threshold <= HIGHEST_RATING:
            hint = ""
            if 0 < self.binary_threshold <= 1:
                hint = f" (did you mean {rating_of(self.binary_threshold):g}, the same on 1–5?)"
            raise TargetConfigError(
                f"binary_threshold {self.binary_threshold:g} is outside (1, 5]: it is a number of "
                f"stars, on the scale of the ratings{hint}"
            )

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
