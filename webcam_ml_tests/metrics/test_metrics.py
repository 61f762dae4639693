import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from webcam_ml.metrics import (
    METRICS,
    binary_metrics,
    confusion,
    make_sample,
    regression_metrics,
    whole_stars,
)

BINARY = ("roc_auc", "average_precision", "precision", "recall", "f1", "balanced_accuracy",
          "brier", "expected_calibration_error")  # fmt: skip
REGRESSION = ("mae", "rmse", "pearson", "spearman", "r2", "quadratic_weighted_kappa")


def binary_rows(rows, digits, positives, seed):
    rng = np.random.default_rng(seed)
    target = np.zeros(rows)
    target[rng.permutation(rows)[: max(1, int(rows * positives))]] = 1.0
    score = stats.norm.cdf(rng.normal(size=rows) + target - 1.0)
    return target, np.round(score, digits)


def regression_rows(rows, digits, seed):
    rng = np.random.default_rng(seed)
    target = np.round(1 + 4 * rng.beta(0.5, 1.0, size=rows), digits)
    return target, np.clip(np.round(0.6 * target + rng.normal(1, 0.7, size=rows), digits), 1, 5)


def sklearn_calibration_error(target, score):
    positive_rate, mean_score = calibration_curve(target, score, n_bins=10, strategy="quantile")
    edges = np.percentile(score, np.linspace(0, 100, 11))
    rows = np.bincount(np.searchsorted(edges[1:-1], score), minlength=10)
    return np.average(np.abs(positive_rate - mean_score), weights=rows[rows > 0])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("positives", [0.02, 0.2, 0.9])
@pytest.mark.parametrize("digits", [1, 2, 12])
@pytest.mark.parametrize("rows", [60, 501])
def test_binary_metrics_are_those_of_scikit_learn_ties_included(rows, digits, positives, seed):
    target, score = binary_rows(rows, digits, positives, seed)
    threshold = 0.3
    found = binary_metrics(target, score, threshold=threshold)
    chosen = score >= threshold
    expected = {
        "roc_auc": sk.roc_auc_score(target, score),
        "average_precision": sk.average_precision_score(target, score),
        "precision": sk.precision_score(target, chosen, zero_division=np.nan),
        "recall": sk.recall_score(target, chosen),
        "f1": sk.f1_score(target, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(target, chosen),
        "brier": sk.brier_score_loss(target, score),
        "expected_calibration_error": sklearn_calibration_error(target, score),
    }
    assert tuple(found) == BINARY
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    counts = confusion(target, score, threshold=threshold)
    (tn, fp), (fn, tp) = sk.confusion_matrix(target, chosen)
    assert (counts.tn, counts.fp, counts.fn, counts.tp) == (tn, fp, fn, tp)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [0, 1, 12])
@pytest.mark.parametrize("rows", [40, 501])
def test_regression_metrics_are_those_of_scipy_and_scikit_learn_ties_included(rows, digits, seed):
    target, predicted = regression_rows(rows, digits, seed)
    found = regression_metrics(target, predicted)
    expected = {
        "mae": sk.mean_absolute_error(target, predicted),
        "rmse": sk.root_mean_squared_error(target, predicted),
        "pearson": stats.pearsonr(target, predicted).statistic,
        "spearman": stats.spearmanr(target, predicted).statistic,
        "r2": sk.r2_score(target, predicted),
        "quadratic_weighted_kappa": sk.cohen_kappa_score(
            whole_stars(target), whole_stars(predicted), weights="quadratic", labels=[1, 2, 3, 4, 5]
        ),
    }
    assert tuple(found) == REGRESSION
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-10), name


def test_stars_round_halves_up_and_stay_on_the_scale():
    assert whole_stars(np.array([0.2, 1.49, 1.5, 2.5, 3.5, 4.5, 6.0])).tolist() == [
        1,
        1,
        2,
        3,
        4,
        5,
        5,
    ]


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_weighted_metric_is_the_plain_metric_of_repeated_rows(metric, data):
    """The invariant on which every resample rests."""
    rows = data.draw(st.integers(2, 30))
    webcam = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 4)))
    counts = data.draw(hnp.arrays(np.int64, 5, elements=st.integers(0, 3)))
    if metric.name in BINARY:
        target = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 1))).astype(float)
        predicted = data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 8))) / 8
    else:
        target = 1 + data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 8))) / 2
        predicted = 1 + data.draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 16))) / 4
    repeat = counts[webcam]
    assume(repeat.sum() > 0)
    sample = make_sample(target, predicted, webcam, threshold=0.5)
    weighted = metric.compute(sample, counts[np.unique(webcam)][None, :].astype(float))[0]
    repeated = make_sample(
        np.repeat(target, repeat), np.repeat(predicted, repeat), np.repeat(webcam, repeat),
        threshold=0.5,
    )  # fmt: skip
    if metric.name == "expected_calibration_error":
        # Bins belong to the whole sample: repeat the rows of each bin, do not cut it anew.
        edges = np.quantile(predicted, np.linspace(0, 1, 11))
        bins = np.searchsorted(edges[1:-1], repeated.prediction)
        surplus = np.bincount(bins, weights=repeated.target - repeated.prediction)
        plain = np.abs(surplus).sum() / repeated.rows
    else:
        plain = metric.compute(repeated, np.ones((1, repeated.n_webcams)))[0]
    np.testing.assert_allclose(weighted, plain, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_resampled_ranks_are_those_of_scipy_and_scikit_learn_on_repeated_rows(digits):
    """Ties are ranked, and pairs counted, within each resample."""
    rng = np.random.default_rng(digits)
    rows, webcams = 120, 12
    webcam = rng.integers(webcams, size=rows)
    stars, predicted = regression_rows(rows, digits, digits)
    target, score = binary_rows(rows, digits, 0.3, digits)
    counts = rng.multinomial(webcams, np.full(webcams, 1 / webcams), size=30).astype(float)
    found = {
        name: METRICS[name].compute(make_sample(*values, webcam), counts)
        for name, values in (("spearman", (stars, predicted)), ("roc_auc", (target, score)))
    }
    for resample, repeat in enumerate(counts[:, webcam].astype(int)):
        expected = stats.spearmanr(np.repeat(stars, repeat), np.repeat(predicted, repeat)).statistic
        assert found["spearman"][resample] == pytest.approx(expected, abs=1e-12)
        expected = sk.roc_auc_score(np.repeat(target, repeat), np.repeat(score, repeat))
        assert found["roc_auc"][resample] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_ranking_metrics_ignore_an_increasing_change_of_the_scores(name):
    target, score = binary_rows(200, 2, 0.2, 0)
    changed = binary_metrics(target, score**3, threshold=0.5)[name]
    assert changed == binary_metrics(target, score, threshold=0.5)[name]


def test_turning_classes_and_scores_round_keeps_the_auc():
    target, score = binary_rows(200, 2, 0.2, 0)
    turned = binary_metrics(1 - target, 1 - score, threshold=0.5)["roc_auc"]
    assert turned.value == pytest.approx(
        binary_metrics(target, score, threshold=0.5)["roc_auc"].value
    )


def test_one_class_leaves_ranking_undefined_with_the_reason():
    found = binary_metrics([0, 0, 0], [0.1, 0.5, 0.2], threshold=0.6)
    for name in ("roc_auc", "average_precision", "balanced_accuracy"):
        assert found[name].value is None
        assert "0 of 3 rows are positive" in found[name].reason
    assert found["recall"].reason == "none of 3 rows is positive"
    assert "threshold 0.6" in found["precision"].reason
    assert found["f1"].value is None
    assert found["brier"].value == pytest.approx(0.1)


def test_a_constant_score_ranks_like_chance_and_correlates_with_nothing():
    found = binary_metrics([0, 1, 1, 0], [0.4] * 4, threshold=0.5)
    assert found["roc_auc"].value == 0.5
    assert found["average_precision"].value == 0.5
    constant = regression_metrics([1.0, 2.0, 5.0], [2.1] * 3)
    for name in ("pearson", "spearman"):
        assert constant[name].value is None
        assert "every prediction is equal" in constant[name].reason
    assert constant["r2"].value is not None


def test_equal_ratings_leave_what_compares_with_their_spread_undefined():
    found = regression_metrics([0.1 + 0.2 + 3.0] * 3, [3.3, 3.2, 3.1])
    assert found["r2"].reason == "needs ratings that vary, and all 3 are equal"
    assert "every rating is equal" in found["pearson"].reason
    assert "round to the same star" in found["quadratic_weighted_kappa"].reason
    assert found["mae"].value == pytest.approx(0.1)


def test_no_metric_warns_about_degenerate_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binary_metrics([1], [0.5], threshold=0.5)
        regression_metrics([1.0], [1.0])


@pytest.mark.parametrize(
    ("target", "score", "what"),
    [
        ([0, 1], [0.5], "shapes"),
        ([], [], "no rows"),
        ([0, 1], [0.5, float("nan")], "finite"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(target, score, what):
    with pytest.raises(ValueError, match=what):
        binary_metrics(target, score, threshold=0.5)
