import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from webcam_ml.training import best_f1_threshold, fit_platt


def drawn(seed: int, rows: int = 400, slope: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    value = random.normal(size=rows)
    return value, (random.uniform(size=rows) < expit(slope * value - 1)).astype(float)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("slope", [0.3, 2.0])
def test_platt_agrees_with_an_unpenalised_logistic_regression(seed: int, slope: float) -> None:
    value, target = drawn(seed, rows=4000, slope=slope)
    ours = fit_platt(value, target)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(value[:, None], target)
    # Platt's softened targets differ by 1 in 4000 rows.
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=0.02)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], rel=0.02, abs=0.01)


def test_a_shifted_and_stretched_score_becomes_calibrated() -> None:
    value, target = drawn(1, rows=5000)
    platt = fit_platt(10 * value + 3, target)
    np.testing.assert_allclose(platt(10 * value + 3), expit(2 * value - 1), atol=0.05)
    assert platt(10 * value + 3).mean() == pytest.approx(target.mean(), abs=1e-3)


@given(st.integers(0, 10**6), st.floats(-50, 50), st.floats(0.01, 100))
def test_the_slope_is_positive_and_the_ranking_stays(seed: int, shift: float, scale: float) -> None:
    random = np.random.default_rng(seed)
    value = shift + scale * random.normal(size=30)
    target = (random.uniform(size=30) < 0.4).astype(float)
    target[:2] = (0, 1)
    platt = fit_platt(value, target)
    assert platt.slope > 0
    assert np.isfinite(platt.intercept)
    probability = platt(np.sort(value))
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_a_model_that_is_worse_than_nothing_is_not_turned_around() -> None:
    value, target = drawn(2)
    platt = fit_platt(-value, target)
    assert platt.slope > 0
    np.testing.assert_allclose(platt(-value), target.mean(), atol=0.02)


def test_perfect_separation_keeps_finite_probabilities() -> None:
    value = np.concatenate([np.linspace(-2, -1, 20), np.linspace(1, 2, 20)])
    target = (value > 0).astype(float)
    probability = fit_platt(value, target)(value)
    assert probability.min() > 0
    assert probability.max() < 1


@pytest.mark.parametrize("digits", [1, 2, 10])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_has_a_higher_f1_than_the_chosen_one(seed: int, digits: int) -> None:
    random = np.random.default_rng(seed)
    target = (random.uniform(size=80) < 0.3).astype(float)
    score = np.round(np.clip(0.3 * target + 0.7 * random.uniform(size=80), 0, 1), digits)
    best = best_f1_threshold(score, target)
    assert best is not None
    highest = max(f1_score(target, score >= t) for t in np.unique(score))
    assert f1_score(target, score >= best) == pytest.approx(highest)
    assert best not in score or digits == 1


def test_without_a_positive_row_there_is_no_threshold() -> None:
    assert best_f1_threshold(np.array([0.1, 0.9]), np.zeros(2)) is None
