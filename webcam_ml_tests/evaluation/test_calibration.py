import numpy as np
import pytest
from scipy import special, stats

from webcam_ml.evaluation import perfect_model_error
from webcam_ml.metrics import webcam_estimate
from webcam_ml_tests.metrics.coverage import SIZES

LIMIT = 0.05


def scored_pictures(rng, *, sizes=SIZES, within_webcam=0.34, shift=0.0):
    """Labels, and scores that are right on average over webcams, then shifted on the logit scale."""
    webcam = np.repeat(np.arange(len(sizes)), sizes)

    def clustered():
        of_webcam = rng.normal(size=len(sizes))[webcam]
        own = rng.normal(size=len(webcam))
        return np.sqrt(within_webcam) * of_webcam + np.sqrt(1 - within_webcam) * own

    beauty = clustered()
    seen = 0.8 * beauty + 0.6 * clustered()
    score = stats.norm.sf(stats.norm.ppf(0.8), loc=0.8 * seen, scale=0.6)
    target = (beauty > stats.norm.ppf(0.8)).astype(float)
    return webcam, target, special.expit(special.logit(score) + shift)


def excess(webcam, target, score, seed):
    options = {"webcam_id": webcam, "bootstrap_samples": 200, "random_state": seed}
    found = webcam_estimate("expected_calibration_error", target, score, **options)
    return found.value, found.interval().low, perfect_model_error(target, score, **options)


def many(repetitions, **options):
    rng = np.random.default_rng(0)
    return np.array([excess(*scored_pictures(rng, **options), seed) for seed in range(repetitions)])


def test_a_perfect_model_shows_the_error_that_is_expected_of_it_and_passes():
    value, low, perfect = many(60).T
    assert perfect.mean() == pytest.approx(value.mean(), rel=0.25)
    assert not (low - perfect > LIMIT).any()
    # A plain limit would fire on these perfect models.
    assert (value > LIMIT).mean() > 0.1


def test_without_webcam_effects_the_expected_error_is_that_of_single_pictures():
    value, _, perfect = many(60, sizes=np.ones(300, dtype=int), within_webcam=0.0).T
    assert perfect.mean() == pytest.approx(value.mean(), rel=0.15)


def test_scores_far_too_high_are_noticed():
    _, low, perfect = many(40, shift=2.0).T
    assert (low - perfect > LIMIT).mean() > 0.7


def test_certain_and_right_scores_leave_nothing_to_chance():
    target = np.tile([0.0, 1.0], 30)
    assert perfect_model_error(target, target, webcam_id=np.arange(60) // 6, random_state=0) == 0.0


def test_one_webcam_alone_is_measured_against_the_noise_of_single_pictures():
    rng = np.random.default_rng(1)
    score = rng.uniform(size=200)
    target = (rng.uniform(size=200) < score).astype(float)
    # The mean of |normal| is √(2/π) standard deviations, in each of ten bins of 20 rows.
    order = np.argsort(score).reshape(10, 20)
    deviation = np.sqrt((score * (1 - score))[order].sum(axis=1))
    expected = np.sqrt(2 / np.pi) * deviation.sum() / 200
    found = perfect_model_error(target, score, webcam_id=np.ones(200), random_state=0)
    assert found == pytest.approx(expected, rel=0.05)
