"""What a candidate must reach before it may replace the live model, and why just that."""

import math
from dataclasses import dataclass

from webcam_ml.errors import WebcamMLError

MAX_REASON_LENGTH = 500


class ComparisonSettingsError(WebcamMLError):
    """A floor or margin that cannot mean anything."""


@dataclass(frozen=True)
class ComparisonSettings:
    """Floors that every model must clear, and how much worse than the live one it may be.

    Attributes:
        min_auc: Binary: the least ROC AUC, of 0.5 to 1. Below 0.70 a sorted page looks unsorted: of
            ten pairs of a good and another picture more than three are the wrong way round. The
            lower bound must be above 0.5 besides, whatever this says.
        min_spearman: Regression: the least rank correlation with people's ratings, of 0 to 1. The
            app sorts by it; at 0.3 a webcam's order is visible. The MAE must be below that of the
            training median besides: with 62 % of ratings at one star a constant has a good MAE.
        max_auc_loss: Binary: the one-sided 95 % bound of the paired difference to the live model
            must be above minus this. Nobody sees 0.02 of AUC on a page. At the size of real data
            half of all retrained models that are just as good pass, and one in a thousand of those
            that are 0.05 worse; ``docs/promotion.md`` has the table.
        max_mae_gain: Regression: the same for the MAE, in stars: a hundredth of the scale's span
            and a quarter, well below what one person's second look changes.
        definition_change: Why threshold, seed or percentages of the split differ from the live
            model's; goes into the ledger. Empty: such a difference is refused.

    Raises:
        ComparisonSettingsError: A value is off its scale, or the reason is not one line of text.
    """

    min_auc: float = 0.70
    min_spearman: float = 0.3
    max_auc_loss: float = 0.02
    max_mae_gain: float = 0.05
    definition_change: str = ""

    def __post_init__(self) -> None:
        for name, low, high, unit in (
            ("min_auc", 0.5, 1.0, "an AUC"),
            ("min_spearman", 0.0, 1.0, "a rank correlation"),
            ("max_auc_loss", 0.0, 0.5, "a difference of AUC"),
            ("max_mae_gain", 0.0, 4.0, "a number of stars"),
        ):
            value: float = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ComparisonSettingsError(
                    f"{name} {value:g} is not from {low:g} to {high:g}: it is {unit}, and "
                    f"{getattr(type(self), name):g} by default"
                )
        if (
            len(self.definition_change) > MAX_REASON_LENGTH
            or not self.definition_change.isprintable()
            or (self.definition_change and not self.definition_change.strip())
        ):
            raise ComparisonSettingsError(
                "definition_change is a reason that people will read in the ledger: one line of at "
                f"most {MAX_REASON_LENGTH} characters"
            )
