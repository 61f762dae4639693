import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score

from webcam_ml_tests.evaluation.frames import predictions, report

STARS = [f"stars_{star}" for star in range(1, 6)]


def left_out_one_by_one(frame):
    """Every rating with the mean of the same picture's others, by plain loops."""
    one, others, scores = [], [], []
    for row in frame.filter(pl.col("split") == "test").iter_rows(named=True):
        given = [star for star in range(1, 6) for _ in range(row[f"stars_{star}"])]
        for i in range(len(given)) if len(given) > 1 else ():
            one.append(given[i])
            others.append(np.mean(given[:i] + given[i + 1 :]))
            scores.append(row["raw_score"])
    return np.array(one), np.array(others), np.array(scores)


def test_binary_raters_predict_whether_the_others_reach_the_threshold():
    frame = predictions("binary")
    one, others, scores = left_out_one_by_one(frame)
    found = report("binary", frame).document.raters
    assert found.metric == "roc_auc"
    assert found.ratings == len(one)
    assert found.one_person.value == pytest.approx(roc_auc_score(others >= 4, one), abs=1e-6)
    assert found.model.value == pytest.approx(roc_auc_score(others >= 4, scores), abs=1e-6)
    assert found.one_person.low < found.one_person.value < found.one_person.high


def test_regression_raters_are_off_by_so_many_stars():
    frame = predictions("regression")
    one, others, scores = left_out_one_by_one(frame)
    found = report("regression", frame).document.raters
    assert found.metric == "mae"
    assert found.one_person.value == pytest.approx(mean_absolute_error(others, one), abs=1e-6)
    assert found.model.value == pytest.approx(mean_absolute_error(others, 1 + 4 * scores), abs=1e-6)


def test_pictures_with_one_rater_say_nothing_about_raters():
    frame = predictions("binary").with_columns(
        [pl.lit(0).alias(name) for name in STARS[1:]], stars_1=pl.lit(1)
    )
    found = report("binary", frame).document.raters
    assert (found.ratings, found.snapshots, found.webcams) == (0, 0, 0)
    assert found.one_person.value is None
    assert found.one_person.reason == ("0 ratings of pictures with several raters; 30 are needed")
    assert found.model == found.one_person
