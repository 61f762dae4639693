"""What a scored image gives, and the score that needs no model.

The numbers of the runtime contract are here: scales, rounding, the baseline formula. `_scorer`
decides between model and baseline.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Self

from webcam_ml.contracts import rating_of

BASELINE_VERSION = "baseline-v1"


@dataclass(frozen=True)
class Score:
    """One image's score, rounded as it is stored.

    Rounding is what JavaScript's ``Number(x.toFixed(n))`` does: to the nearest decimal of the
    exact binary value, exact ties upwards. Python's `round` differs on the ties (1/128 has seven
    decimals), which would let two runtimes store different numbers for the same output.

    Attributes:
        raw_score: 0 to 1, six decimals: the calibrated probability of the positive class for a
            binary model, the clamped output for a regression model.
        ai_rating: 1 to 5, two decimals: 1 + 4 · raw_score, of the raw_score given here. For a
            binary model this is a probability on the star scale, not an estimate of the rating.
        model_version: The model that gave the score, or ``baseline-v1``.
    """

    raw_score: float
    ai_rating: float
    model_version: str

    @classmethod
    def of(cls, raw_score: float, *, model_version: str) -> Self:
        """Round a raw score and derive the rating from it.

        Args:
            raw_score: 0 to 1.
            model_version: The model that gave it.

        Raises:
            ValueError: The raw score is not a number from 0 to 1.
        """
        if not 0 <= raw_score <= 1:
            raise ValueError(f"a raw score lies between 0 and 1; this one is {raw_score}")
        rounded = _to_fixed(raw_score, 6)
        return cls(
            raw_score=rounded,
            ai_rating=_to_fixed(rating_of(rounded), 2),
            model_version=model_version,
        )

    def to_dict(self) -> dict[str, float | str]:
        """Give exactly the three keys of the contract: rawScore, aiRating, modelVersion."""
        return {
            "rawScore": self.raw_score,
            "aiRating": self.ai_rating,
            "modelVersion": self.model_version,
        }


@dataclass(frozen=True)
class WebcamMetadata:
    """What the baseline knows of a picture: facts about its webcam, none about its pixels.

    Attributes:
        view_count: How often the webcam was looked at.
        rating: The operator's rating, 1 to 5.
        phase: ``sunrise`` or ``sunset``.
    """

    view_count: int | None = None
    rating: float | None = None
    phase: str | None = None


def baseline_score(
    view_count: int | None = None, rating: float | None = None, phase: str | None = None
) -> Score:
    """Score a snapshot from metadata only, as version ``baseline-v1``.

    clamp(0.65 · clamp(log10(view_count + 1) / 6) + 0.35 · clamp(rating / 5) + (0.04 at sunset)),
    each clamp to 0–1; the app's own formula.

    Args:
        view_count: Views of the webcam; none, or a negative number, counts as 0.
        rating: The operator's rating; none counts as 3.
        phase: ``sunset`` earns the bonus, anything else does not.

    Raises:
        ValueError: A number that is not one (NaN).
    """
    popularity = _clamp(math.log10(max(view_count or 0, 0) + 1) / 6)
    liked = _clamp((3 if rating is None else rating) / 5)
    bonus = 0.04 if phase == "sunset" else 0.0
    return Score.of(
        _clamp(0.65 * popularity + 0.35 * liked + bonus), model_version=BASELINE_VERSION
    )


def _clamp(value: float) -> float:
    # In this order NaN stays NaN, and `Score.of` refuses it.
    return min(max(value, 0.0), 1.0)


def _to_fixed(value: float, decimals: int) -> float:
    step = Decimal(1).scaleb(-decimals)
    return float(Decimal(value).quantize(step, rounding=ROUND_HALF_UP))
