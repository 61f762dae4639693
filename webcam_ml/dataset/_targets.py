"""From a rating on the 1–5 scale to what a model is trained on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from webcam_ml.errors import WebcamMLError

if TYPE_CHECKING:
    import polars as pl

TargetType = Literal["binary", "regression"]

LOWEST_RATING = 1.0
HIGHEST_RATING = 5.0


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
        if self.target_type not in get_args(TargetType):
            raise TargetConfigError(
                f"target_type {self.target_type!r} is unknown: choose "
                f"{' or '.join(get_args(TargetType))}"
            )
        if not LOWEST_RATING < self.binary_threshold <= HIGHEST_RATING:
            hint = ""
            if 0 < self.binary_threshold <= 1:
                hint = f" (did you mean {1 + 4 * self.binary_threshold:g}, the same on 1–5?)"
            raise TargetConfigError(
                f"binary_threshold {self.binary_threshold:g} is outside (1, 5]: it is a number of "
                f"stars, on the scale of the ratings{hint}"
            )

    def label_of(self, label_value: "pl.Expr") -> "pl.Expr":
        """Turn ratings (1–5) into targets: 0 or 1 for binary, the rating itself for regression."""
        import polars as pl

        if self.target_type == "binary":
            return (label_value >= self.binary_threshold).cast(pl.Int64)
        return label_value
