import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from webcam_ml.disagreement import RaterVariance, RatingGivenScore, expected_correction
from webcam_ml_tests.disagreement.compared_rows import compared_rows
from webcam_ml_tests.disagreement.reference import (
    expected_correction_reference,
    isotonic_fit,
)

# Few distinct values, so that ties and pools are the rule.
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "raw_score": st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 0.9, 1.0]),
            "votes": st.lists(st.integers(1, 5), min_size=1, max_size=4),
            "split": st.sampled_from(["train", "val", "test"]),
            "prediction_kind": st.sampled_from(["recorded", "recorded_known_webcam"]),
        }
    ),
    min_size=1,
    max_size=50,
)


def as_frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "raw_score": row["raw_score"],
                "split": row["split"],
                "prediction_kind": row["prediction_kind"],
                "label_value": sum(row["votes"]) / len(row["votes"]),
                "rating_count": len(row["votes"]),
                **{f"stars_{star}": row["votes"].count(star) for star in range(1, 6)},
            }
            for row in rows
        ]
    )


@given(ROWS)
def test_expected_correction_equals_a_slow_reference(rows):
    frame = as_frame(rows)
    np.testing.assert_allclose(
        expected_correction(frame), expected_correction_reference(frame.to_dicts()), atol=1e-9
    )


@pytest.mark.parametrize("raters", [1.0, 1.02, 1.5])
def test_expected_correction_equals_the_reference_where_there_are_many_bins(raters):
    frame = compared_rows(420, seed=3, raters=raters).with_columns(pl.col("raw_score").round(2))
    corrections = expected_correction(frame)
    np.testing.assert_allclose(
        corrections, expected_correction_reference(frame.to_dicts()), atol=1e-9
    )
    assert len(np.unique(RatingGivenScore.fit(frame).spread(frame["raw_score"].to_numpy()))) >= 5


def test_mean_is_the_isotonic_regression_of_scikit_learn_and_of_the_max_min_formula():
    frame = compared_rows(90, seed=5)
    scores, ratings = (frame[name].to_numpy() for name in ("raw_score", "label_value"))
    mean = RatingGivenScore.fit(frame).mean(scores)
    np.testing.assert_allclose(
        mean, IsotonicRegression().fit_transform(scores, ratings), atol=1e-12
    )
    slow = isotonic_fit(scores.tolist(), ratings.tolist())
    np.testing.assert_allclose(mean, [slow[score] for score in scores], atol=1e-9)


@given(ROWS)
def test_mean_never_falls_as_the_score_rises_and_stays_on_the_scale(rows):
    grid = np.linspace(0, 1, 41)
    mean = RatingGivenScore.fit(as_frame(rows)).mean(grid)
    assert (np.diff(mean) >= -1e-12).all()
    assert mean.min() >= 1.0
    assert mean.max() <= 5.0


def test_rows_that_the_model_may_have_learned_from_do_not_shape_the_mean():
    train = pl.col("split") == "train"
    seen = compared_rows(300, seed=1).with_columns(
        prediction_kind=pl.when(train)
        .then(pl.lit("recorded_known_webcam"))
        .otherwise(pl.lit("recorded"))
    )
    spoilt = seen.with_columns(label_value=pl.when(train).then(5.0).otherwise("label_value"))
    grid = np.linspace(0, 1, 11)
    np.testing.assert_array_equal(
        RatingGivenScore.fit(seen).mean(grid), RatingGivenScore.fit(spoilt).mean(grid)
    )
    assert RatingGivenScore.fit(seen).held_out


def test_all_rows_serve_where_too_few_are_held_out_and_it_says_so():
    train = compared_rows(300, seed=1).filter(pl.col("split") == "train")
    few = train.with_columns(prediction_kind=pl.lit("recorded_known_webcam"))
    fitted = RatingGivenScore.fit(few)
    assert not fitted.held_out
    assert len(fitted.scores) == few.height


def test_only_the_order_of_the_scores_matters():
    frame = compared_rows(300, seed=2)
    bent = frame.with_columns(raw_score=pl.col("raw_score") ** 3)
    np.testing.assert_allclose(expected_correction(frame), expected_correction(bent), atol=1e-12)


def test_more_raters_make_a_label_stiffer():
    frame = compared_rows(300, seed=2)
    fitted = RatingGivenScore.fit(frame)
    often = frame.with_columns(rating_count=pl.col("rating_count") * 4)
    once, many = fitted.expected_correction(frame), fitted.expected_correction(often)
    moved = once > 0
    assert (many[moved] < once[moved]).all()


def test_a_label_never_moves_beyond_what_similar_pictures_get():
    frame = compared_rows(300, seed=6)
    fitted = RatingGivenScore.fit(frame)
    distance = np.abs(frame["label_value"].to_numpy() - fitted.mean(frame["raw_score"].to_numpy()))
    assert (fitted.expected_correction(frame) <= distance).all()


@pytest.mark.parametrize(("snapshots", "measured"), [(29, False), (30, True)])
def test_rater_variance_is_measured_from_thirty_snapshots_with_several_raters_on(
    snapshots, measured
):
    several = [{"raw_score": 0.5, "votes": [2, 4], "split": "val", "prediction_kind": "model"}]
    alone = [{"raw_score": 0.5, "votes": [5], "split": "val", "prediction_kind": "model"}]
    variance = RaterVariance.of(as_frame(several * snapshots + alone * 50))
    assert variance.measured is measured
    assert variance.snapshots == snapshots
    assert variance.value == pytest.approx(2.0 if measured else 0.64)


def test_rater_variance_pools_the_sample_variances_of_numpy():
    frame = compared_rows(400, seed=8, raters=2.5)
    votes = [
        np.repeat(np.arange(1, 6), row)
        for row in frame.select(f"stars_{star}" for star in range(1, 6)).to_numpy()
    ]
    votes = [row for row in votes if len(row) > 1]
    pooled = np.average([row.var(ddof=1) for row in votes], weights=[len(row) - 1 for row in votes])
    assert RaterVariance.of(frame).value == pytest.approx(pooled)


def test_a_frame_that_cannot_be_ranked_is_refused():
    frame = compared_rows(5)
    with pytest.raises(ValueError, match="no rows"):
        expected_correction(frame.clear())
    with pytest.raises(ValueError, match="at least one rating"):
        expected_correction(frame.with_columns(rating_count=pl.lit(0)))
