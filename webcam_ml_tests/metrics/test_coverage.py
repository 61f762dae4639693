"""Do the intervals contain the truth as often as they promise? See ``coverage.py`` for the world."""

import pytest
from scipy import stats

from webcam_ml_tests.metrics.coverage import METHODS, QUANTITIES, coverage

ACCEPTED = (0.92, 0.98)
# Even a method whose true coverage lies at the edge of what is accepted is to pass all five in 999
# of 1,000 seeds.
RARE = 0.0002
FEW = 80


def _tolerated(repetitions):
    low, high = ACCEPTED
    return (
        stats.binom.ppf(RARE, repetitions, low) / repetitions,
        stats.binom.ppf(1 - RARE, repetitions, high) / repetitions,
    )


@pytest.fixture(scope="module")
def few():
    return coverage(FEW, resamples=150, seed=3)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_intervals_cover_what_they_promise_within_the_noise_of_a_few_repetitions(few, quantity):
    low, high = _tolerated(FEW)
    assert low <= few["ours", quantity][0] <= high


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_bootstrap_over_rows_takes_frames_of_one_camera_for_independent(few, quantity):
    ours, _, over_rows = (few[method, quantity][0] for method in METHODS)
    assert over_rows < ours


@pytest.mark.slow
def test_intervals_cover_between_0_92_and_0_98_in_a_thousand_repetitions():
    table = coverage(1000, resamples=500, seed=4)
    found = {quantity: table["ours", quantity][0] for quantity in QUANTITIES}
    assert all(ACCEPTED[0] <= share <= ACCEPTED[1] for share in found.values()), found
    for quantity in QUANTITIES:
        ours, percentile, over_rows = (table[method, quantity][0] for method in METHODS)
        assert over_rows < percentile < ours
