"""The numbers of the contract: keys, scales, rounding, and the baseline formula."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webcam_ml.scoring import BASELINE_VERSION, Score, baseline_score

RAW_SCORES = st.floats(0, 1)


def nearest_decimal(value: float, decimals: int) -> float:
    """The reference: exact rational arithmetic, halves upwards, as `Number(x.toFixed(n))`."""
    scaled = Fraction(value) * 10**decimals
    return float(Fraction(math.floor(scaled + Fraction(1, 2)), 10**decimals))


def test_a_score_has_exactly_the_three_keys_of_the_contract() -> None:
    score = Score.of(0.4637284951, model_version="binary-resnet18-0123456789ab")

    assert score.to_dict() == {
        "rawScore": 0.463728,
        "aiRating": 2.85,
        "modelVersion": "binary-resnet18-0123456789ab",
    }


@given(RAW_SCORES)
@example(1 / 128)  # seven decimals: an exact tie
@example(3 / 128)
@example(0.0)
@example(1.0)
@example(5e-324)
def test_rounding_is_that_of_exact_arithmetic_with_ties_upwards(raw_score: float) -> None:
    score = Score.of(raw_score, model_version="m")

    assert score.raw_score == nearest_decimal(raw_score, 6)
    assert score.ai_rating == nearest_decimal(1 + 4 * score.raw_score, 2)


@given(RAW_SCORES)
def test_scores_stay_on_their_scales_and_print_few_decimals(raw_score: float) -> None:
    score = Score.of(raw_score, model_version="m")
    printed = json.loads(json.dumps(score.to_dict()), parse_float=Decimal)

    assert 0 <= score.raw_score <= 1
    assert 1 <= score.ai_rating <= 5
    assert Decimal(printed["rawScore"]).normalize().as_tuple().exponent >= -6
    assert Decimal(printed["aiRating"]).normalize().as_tuple().exponent >= -2
    assert abs(score.ai_rating - (1 + 4 * raw_score)) <= 0.005 + 2e-6 + 1e-9


@given(RAW_SCORES, RAW_SCORES)
def test_rounding_keeps_the_order_of_pictures(one: float, other: float) -> None:
    low, high = (Score.of(raw, model_version="m") for raw in sorted((one, other)))

    assert low.raw_score <= high.raw_score
    assert low.ai_rating <= high.ai_rating


@pytest.mark.parametrize("raw_score", [math.nan, math.inf, -math.inf, -1e-9, 1.0000001, 3.7])
def test_what_is_not_on_the_scale_is_no_score(raw_score: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Score.of(raw_score, model_version="m")


@given(
    views=st.none() | st.integers(-5, 10**9),
    rating=st.none() | st.integers(1, 5) | st.floats(-10, 10),
    phase=st.sampled_from([None, "sunrise", "sunset", "SUNSET", ""]),
)
@example(views=999_999, rating=5, phase="sunset")
@example(views=0, rating=None, phase=None)
def test_baseline_agrees_with_the_formula_written_another_way(
    views: int | None, rating: float | None, phase: str | None
) -> None:
    digits = math.log(1 + (views if views and views > 0 else 0), 10)
    popular = sorted((0.0, digits / 6, 1.0))[1]
    liked = sorted((0.0, (3.0 if rating is None else rating) / 5, 1.0))[1]
    total = 0.65 * popular + 0.35 * liked
    if phase == "sunset":
        total += 0.04
    expected = sorted((0.0, total, 1.0))[1]

    score = baseline_score(views, rating, phase)

    assert score.model_version == BASELINE_VERSION == "baseline-v1"
    assert score.raw_score == pytest.approx(expected, abs=5.1e-7)


@pytest.mark.parametrize(
    ("views", "rating", "phase", "raw_score", "ai_rating"),
    [  # computed by hand
        (None, None, None, 0.21, 1.84),
        (0, None, "sunset", 0.25, 2.0),
        (999, 4, "sunrise", 0.605, 3.42),
        (999_999, 5, "sunset", 1.0, 5.0),
        (10**12, 5, None, 1.0, 5.0),
        (99, 1, "sunset", 0.326667, 2.31),
        (0, 0, None, 0.0, 1.0),
    ],
)
def test_baseline_of_known_cases(
    views: int | None, rating: int | None, phase: str | None, raw_score: float, ai_rating: float
) -> None:
    score = baseline_score(views, rating, phase)

    assert (score.raw_score, score.ai_rating) == (raw_score, ai_rating)


def test_baseline_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        baseline_score(rating=math.nan)
