"""What a candidate must reach before it may replace the live model, and why just that."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from webcam_ml.contracts import TARGETS, TargetType, target_of
from webcam_ml.errors import WebcamMLError

MAX_REASON_LENGTH = 500

WeakSlice = Literal["warn", "block"]


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
        max_test_rows_missing: The largest share of the test rows whose pictures could not be read.
            Which rows count must not depend on which pictures were easy to get.
        weak_slice: `block` keeps out a model that is clearly weak on a part of the test pictures
            (`no_weak_slice`), `warn` only says so.
        definition_change: Why what is predicted or measured differs from the live model's:
            threshold, seed or percentages of the split, whose ratings count. Goes into the ledger.
            Empty: such a difference is refused.
        relaxed_because: Why something here is looser than by default, or than what the live model
            was judged by. Goes into the ledger. Empty: what is looser is refused.

    Raises:
        ComparisonSettingsError: A value is off its scale, or a reason is not one line of text.
    """

    min_auc: float = 0.70
    min_spearman: float = 0.3
    max_auc_loss: float = 0.02
    max_mae_gain: float = 0.05
    max_test_rows_missing: float = 0.02
    weak_slice: WeakSlice = "warn"
    definition_change: str = ""
    relaxed_because: str = ""

    def __post_init__(self) -> None:
        for name, low, high, unit in (
            ("min_auc", 0.5, 1.0, "an AUC"),
            ("min_spearman", 0.0, 1.0, "a rank correlation"),
            ("max_auc_loss", 0.0, 0.5, "a difference of AUC"),
            ("max_mae_gain", 0.0, 4.0, "a number of stars"),
            ("max_test_rows_missing", 0.0, 1.0, "a share of the test rows"),
        ):
            value: float = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ComparisonSettingsError(
                    f"{name} {value:g} is not from {low:g} to {high:g}: it is {unit}, and "
                    f"{getattr(type(self), name):g} by default"
                )
        if self.weak_slice not in get_args(WeakSlice):
            raise ComparisonSettingsError(
                f"weak_slice {self.weak_slice!r} is neither of {', '.join(get_args(WeakSlice))}"
            )
        for name in ("definition_change", "relaxed_because"):
            reason: str = getattr(self, name)
            if (
                len(reason) > MAX_REASON_LENGTH
                or not reason.isprintable()
                or (reason and not reason.strip())
            ):
                raise ComparisonSettingsError(
                    f"{name} is a reason that people will read in the ledger: one line of at most "
                    f"{MAX_REASON_LENGTH} characters"
                )

    def looser_than(self, other: "ComparisonSettings", target_type: TargetType) -> Iterator[str]:
        """Name what lets more through than other settings do, with both values.

        Args:
            other: What to compare with.
            target_type: Floors and margins of the other target type decide nothing.
        """
        asked = target_of(target_type)
        for name in (asked.floor_setting, asked.margin_setting, "max_test_rows_missing"):
            mine: float = getattr(self, name)
            theirs: float = getattr(other, name)
            # A floor lets more through where it is lower, what is allowed where it is higher.
            if mine < theirs if name == asked.floor_setting else mine > theirs:
                yield f"{name} {mine:g} instead of {theirs:g}"
        if (self.weak_slice, other.weak_slice) == ("warn", "block"):
            yield "weak_slice warn instead of block"

    def require_reason_if_looser(self) -> None:
        """Refuse what is looser than by default and has no reason, before anything is computed.

        Raises:
            ComparisonSettingsError: There is such a setting.
        """
        default = ComparisonSettings()
        looser = dict.fromkeys(what for one in TARGETS for what in self.looser_than(default, one))
        if looser and not self.relaxed_because:
            raise ComparisonSettingsError(
                f"{', '.join(looser)}: that asks less of a model than usual. Say why in "
                "relaxed_because; it goes into the ledger"
            )
