"""What a candidate must reach before it may replace the live model, and why just that."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.contracts import TARGETS, Settings, TargetType, WrittenOut, target_of
from webcam_ml.errors import WebcamMLError

MAX_REASON_LENGTH = 500
# Letters by their category, and drawn as nothing.
BLANK_LETTERS = "\u115f\u1160\u3164\uffa0"

WeakSlice = Literal["warn", "block"]


def is_reason(text: str) -> bool:
    """Whether a reason can be read in the ledger: one line, not too long, with a letter or a digit."""
    has_letters = any(one.isalnum() and one not in BLANK_LETTERS for one in text)
    return has_letters and text.isprintable() and len(text) <= MAX_REASON_LENGTH


class ComparisonSettings(Settings):
    """Floors that every model must clear, and how much worse than the live one it may be."""

    # Below 0.70 a sorted page looks unsorted: of ten pairs of a good and another picture more than
    # three are the wrong way round. The lower bound must be above 0.5 besides, whatever this says.
    min_auc: float = Field(
        default=0.70, ge=0.5, le=1, description="Binary: the least ROC AUC on test"
    )
    # The app sorts by it; at 0.3 a webcam's order is visible. The MAE must be below that of the
    # training median besides: with 62 % of ratings at one star a constant has a good MAE.
    min_spearman: float = Field(
        default=0.3, ge=0, le=1, description="Regression: the least rank correlation on test"
    )
    # The one-sided 95 % bound of the paired difference to the live model must be above minus this.
    # Nobody sees 0.02 of AUC on a page. At the size of real data half of all retrained models that
    # are just as good pass, and one in a thousand of those that are 0.05 worse; docs/promotion.md
    # has the table.
    max_auc_loss: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="Binary: how much ROC AUC worse than the live model it may be, at 95 % confidence",
    )
    # 1.25 % of the scale's span, well below what one person's second look changes.
    max_mae_gain: float = Field(
        default=0.05,
        ge=0,
        le=4,
        description="Regression: the same for the mean absolute error, in stars",
    )
    # Which rows count must not depend on which pictures were easy to get.
    max_test_rows_missing: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Largest share of the test rows whose pictures could not be read; of the validation "
        "rows too, where they count beside the live model",
    )
    weak_slice: WeakSlice = Field(
        default="warn",
        description="block keeps out a model that is clearly weak on a part of the test pictures; "
        "warn only says so",
    )
    definition_change: Annotated[str, WrittenOut()] = Field(
        default="",
        description="Why threshold, seed, percentages, merge_duplicate_webcams or whose ratings count "
        "differ from the live model's; goes into the ledger. Empty: such a difference is refused",
    )
    relaxed_because: Annotated[str, WrittenOut()] = Field(
        default="",
        description="Why something here is looser than by default, or than what the live model was "
        "judged by; goes into the ledger. Empty: what is looser is refused",
    )

    @field_validator("definition_change", "relaxed_because")
    @classmethod
    def _can_be_read(cls, reason: str, info: ValidationInfo) -> str:
        if reason and not is_reason(reason):
            raise ValueError(
                f"{info.field_name} is a reason that people will read in the ledger: one line of at "
                f"most {MAX_REASON_LENGTH} characters, with letters or digits in it"
            )
        return reason

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
            # A floor is looser where it is lower, an allowed loss or share where it is higher.
            if mine < theirs if name == asked.floor_setting else mine > theirs:
                yield f"{name} {mine:g} instead of {theirs:g}"
        if (self.weak_slice, other.weak_slice) == ("warn", "block"):
            yield "weak_slice warn instead of block"

    def judge_before_run(self) -> None:
        """Refuse what is looser than by default and has no reason."""
        default = ComparisonSettings()
        looser = dict.fromkeys(what for one in TARGETS for what in self.looser_than(default, one))
        if looser and not self.relaxed_because:
            raise WebcamMLError(
                f"{', '.join(looser)}: that asks less of a model than usual. Say why in "
                "relaxed_because; it goes into the ledger"
            )
