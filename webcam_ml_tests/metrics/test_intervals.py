import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, mean_absolute_error, roc_auc_score

from webcam_ml.metrics import (
    METRICS,
    effective_webcams,
    paired_difference,
    webcam_estimate,
    webcam_interval,
)

SIZES = np.array([30, 20, 12, 9, *[3] * 12])


def rows(seed=0):
    rng = np.random.default_rng(seed)
    webcam = np.repeat(np.arange(len(SIZES)) * 7 + 100, SIZES)
    beauty = rng.normal(size=len(SIZES)).repeat(SIZES) + 1.4 * rng.normal(size=len(webcam))
    target = (beauty > 1.0).astype(float)
    first = stats.norm.cdf(beauty + rng.normal(size=len(webcam)) - 1)
    second = stats.norm.cdf(beauty + 2 * rng.normal(size=len(webcam)) - 1)
    return webcam, target, first, second


def estimate(metric, webcam, target, score, **options):
    return webcam_estimate(
        metric, target, score, webcam_id=webcam, threshold=0.5, random_state=0, **options
    )


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("roc_auc", roc_auc_score),
        ("f1", lambda target, score: f1_score(target, score >= 0.5)),
        ("mae", mean_absolute_error),
    ],
)
def test_the_interval_is_that_of_a_plain_loop_over_resampled_webcams(metric, reference):
    webcam, target, score, _ = rows()
    rng = np.random.default_rng(99)
    by_webcam = [np.flatnonzero(webcam == one) for one in np.unique(webcam)]
    values = []
    for _ in range(1500):
        drawn = rng.integers(0, len(by_webcam), len(by_webcam))
        chosen = np.concatenate([by_webcam[i] for i in drawn])
        values.append(reference(target[chosen], score[chosen]))
    value = reference(target, score)
    k = SIZES.sum() ** 2 / (SIZES**2).sum()
    if metric == "mae":
        to_line, to_metric, slope = np.log, np.exp, 1 / value
    else:
        to_line, slope = (lambda v: np.log(v / (1 - v))), 1 / (value * (1 - value))
        to_metric = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731 (the inverse of the line above)
    half = stats.t.ppf(0.975, k - 1) * np.sqrt(k / (k - 1)) * np.std(values, ddof=1) * slope
    low, high = to_metric(to_line(value) - half), to_metric(to_line(value) + half)

    found = webcam_interval(metric, target, score, webcam_id=webcam, threshold=0.5, random_state=1)
    assert found.value == pytest.approx(value, abs=1e-6)
    # Both standard errors come from resamples and know two digits.
    assert found.high - found.low == pytest.approx(high - low, rel=0.12)
    assert found.low == pytest.approx(low, abs=0.12 * (high - low))


def test_effective_webcams_count_equal_ones_and_discount_a_giant():
    assert effective_webcams(np.repeat(np.arange(7), 5)) == pytest.approx(7)
    assert effective_webcams([1] * 1000 + [2, 3, 4]) < 1.02
    assert effective_webcams(SIZES.size * [1]) == 1


def test_bounds_are_one_sided_and_the_interval_has_two_of_them():
    webcam, target, score, _ = rows()
    one = estimate("roc_auc", webcam, target, score)
    interval = one.interval(0.95)
    assert interval.low == pytest.approx(one.lower_bound(0.975), abs=1e-6)
    assert interval.high == pytest.approx(one.upper_bound(0.975), abs=1e-6)
    assert interval.low < one.lower_bound(0.95) < one.lower_bound(0.90) < one.value
    assert one.value < one.upper_bound(0.90) < one.upper_bound(0.95) < interval.high


@settings(deadline=None, max_examples=25)
@given(
    metric=st.sampled_from(["roc_auc", "f1", "recall", "brier", "average_precision"]),
    seed=st.integers(0, 10_000),
)
def test_an_interval_contains_its_value_and_stays_on_the_scale(metric, seed):
    webcam, target, score, _ = rows(seed)
    found = estimate(metric, webcam, target, score, bootstrap_samples=50).interval()
    if found.value is not None and found.low is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_difference_turns_its_sign_with_the_order_of_the_scorers():
    webcam, target, first, second = rows()
    options = {"webcam_id": webcam, "random_state": 3}
    there = paired_difference("roc_auc", target, first, second, **options)
    back = paired_difference("roc_auc", target, second, first, **options)
    assert there.value == -back.value
    assert there.lower_bound(0.95) == pytest.approx(-back.upper_bound(0.95))
    assert there.value == pytest.approx(
        roc_auc_score(target, first) - roc_auc_score(target, second)
    )


def test_pairing_makes_the_difference_of_like_scorers_sharper_than_either():
    webcam, target, first, _ = rows()
    nudged = np.clip(first + 0.01 * np.sin(np.arange(len(first))), 0, 1)
    paired = paired_difference("roc_auc", target, first, nudged, webcam_id=webcam, random_state=3)
    alone = estimate("roc_auc", webcam, target, first).interval()
    assert paired.upper_bound() - paired.lower_bound() < 0.25 * (alone.high - alone.low)


def test_a_scorer_does_not_differ_from_itself_at_any_confidence():
    webcam, target, first, _ = rows()
    same = paired_difference("f1", target, first, first, thresholds=(0.5, 0.5),
                             webcam_id=webcam, random_state=0)  # fmt: skip
    assert (same.value, same.lower_bound(0.999), same.upper_bound(0.999)) == (0.0, 0.0, 0.0)


def test_equal_seeds_give_equal_intervals_in_any_order_of_rows():
    webcam, target, score, _ = rows()
    turned = np.random.default_rng(5).permutation(len(webcam))
    first = estimate("average_precision", webcam, target, score).interval()
    second = estimate("average_precision", webcam[turned], target[turned], score[turned]).interval()
    other = webcam_interval("average_precision", target, score, webcam_id=webcam, random_state=1)
    assert first == second
    assert first != other


def test_one_webcam_has_a_value_and_says_why_it_has_no_interval():
    _, target, score, _ = rows()
    found = estimate("roc_auc", np.ones(len(target)), target, score)
    assert found.value == pytest.approx(roc_auc_score(target, score))
    assert (found.lower_bound(), found.upper_bound()) == (None, None)
    assert "worth 1.0 webcams" in found.reason


def test_a_giant_beside_dwarfs_is_one_webcam():
    target = np.tile([0.0, 1.0, 0.0, 1.0, 1.0], 40)
    score = np.tile([0.2, 0.7, 0.6, 0.5, 0.9], 40)
    webcam = np.where(np.arange(200) < 190, 1, np.arange(200))
    found = webcam_interval("brier", target, score, webcam_id=webcam, random_state=0)
    assert found.value is not None
    assert found.low is None
    assert "worth 1.1 webcams" in found.reason


def test_positives_on_one_webcam_of_three_leave_no_interval_for_ranking():
    webcam = np.repeat([1, 2, 3], 20)
    target = (np.arange(60) < 5).astype(float)
    score = np.linspace(0, 1, 60)
    found = webcam_interval("roc_auc", target, score, webcam_id=webcam, random_state=0)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    left_out = int(re.search(r"(\d+)% of the resamples", found.reason).group(1))
    assert left_out == pytest.approx(100 * (2 / 3) ** 3, abs=4)


def test_an_undefined_metric_has_neither_value_nor_interval():
    webcam, target, score, _ = rows()
    found = estimate("roc_auc", webcam, np.zeros_like(target), score).interval()
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "needs both classes" in found.reason
    against = paired_difference("spearman", target * 4 + 1, score, np.zeros_like(score),
                                webcam_id=webcam, random_state=0)  # fmt: skip
    assert against.value is None
    assert "every prediction is equal" in against.reason


@pytest.mark.parametrize(
    ("metric", "flip"), [("roc_auc", False), ("recall", False), ("recall", True)]
)
def test_at_the_end_of_the_scale_the_bound_is_the_rule_of_three_over_webcams(metric, flip):
    webcam, target, _, _ = rows()
    score = 1 - target if flip else target
    found = estimate(metric, webcam, target, score)
    k = effective_webcams(webcam[target == 1] if metric == "recall" else webcam)
    interval = found.interval(0.95)
    shortfall = (1 - interval.low) if not flip else interval.high
    assert found.value == (0.0 if flip else 1.0)
    assert (interval.high if not flip else interval.low) == found.value
    # Were a share `shortfall` of webcams different, all k would look alike in 2.5 % of draws.
    assert (1 - shortfall) ** k == pytest.approx(0.025, abs=1e-5)


def test_an_error_of_nothing_has_no_interval():
    webcam, target, _, _ = rows()
    found = webcam_interval("mae", target, target, webcam_id=webcam, random_state=0)
    assert (found.value, found.low) == (0.0, None)
    assert "exactly 0" in found.reason


def test_a_constant_score_has_an_auc_of_one_half_and_no_doubt_about_it():
    webcam, target, score, _ = rows()
    found = estimate("roc_auc", webcam, target, np.full_like(score, 0.2)).interval()
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown metric 'auc'; there are roc_auc"):
        webcam_interval("auc", [0, 1], [0.1, 0.2], webcam_id=[1, 2], random_state=0)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_an_interval_on_ordinary_rows(metric):
    webcam, target, score, _ = rows()
    if METRICS[metric].name in ("mae", "rmse", "pearson", "spearman", "r2",
                                "quadratic_weighted_kappa"):  # fmt: skip
        target, score = 1 + 4 * target, 1 + 4 * score
    found = estimate(metric, webcam, target, score, bootstrap_samples=200).interval()
    assert found.low < found.value < found.high
