import dataclasses

import pytest

from webcam_ml.evaluation import (
    EvalLimits,
    EvalReport,
    beats_trivial_baselines,
    calibrated,
    enough_test_data,
    no_weak_slice,
)
from webcam_ml_tests.evaluation.frames import predictions, report

ALL = (enough_test_data, beats_trivial_baselines, calibrated, no_weak_slice)
# Just what the defaults ask for.
ENOUGH = {
    "rows": 100,
    "webcams": 20,
    "positives": 20,
    "webcams_with_a_positive": 8,
    "effective_webcams": 5.0,
}


@pytest.fixture(scope="module")
def binary():
    return report("binary")


@pytest.fixture(scope="module")
def regression():
    return report("regression")


def changed(made, **parts):
    return dataclasses.replace(made, document=made.document.model_copy(update=parts))


def with_split(made, **numbers):
    return changed(made, test_split=made.document.test_split.model_copy(update=numbers))


@pytest.mark.parametrize("check", ALL)
def test_a_verdict_needs_nothing_but_what_is_stored(check, binary, tmp_path):
    binary.save(tmp_path)
    assert check(EvalReport.load(tmp_path)) == check(binary)


@pytest.mark.parametrize("check", ALL)
def test_reasons_are_sentences(check, binary, regression):
    for made in (binary, regression):
        reason = check(made).reason
        assert reason[0].isupper()
        assert reason.endswith(".")


def test_exactly_enough_test_data_is_enough(binary):
    verdict = enough_test_data(with_split(binary, **ENOUGH))
    assert verdict.passed
    assert verdict.numbers["rows"] == verdict.numbers["min_rows"] == 100


@pytest.mark.parametrize(
    ("short", "reason"),
    [
        ({"rows": 99}, "99 of 100 rows"),
        ({"webcams": 19}, "19 of 20 webcams"),
        ({"positives": 19}, "19 of 20 positives"),
        ({"positives": 81}, "19 of 20 negatives"),
        ({"webcams_with_a_positive": 7}, "7 of 8 webcams with a positive"),
        ({"effective_webcams": 4.99}, "4.99 of 5 effective webcams"),
    ],
)
def test_each_shortage_fails_alone_and_is_named(binary, short, reason):
    verdict = enough_test_data(with_split(binary, **{**ENOUGH, **short}))
    assert not verdict.passed
    assert reason in verdict.reason
    assert verdict.reason.count(" of ") == 2  # the one shortage, and "pictures of more webcams"


def test_limits_can_be_set(binary):
    made = with_split(binary, **ENOUGH)
    assert not enough_test_data(made, EvalLimits(min_rows=101)).passed


def test_regression_needs_rows_in_both_halves_of_the_scale(regression):
    split = regression.document.test_split
    assert split.positive_from_stars == 3.0
    assert enough_test_data(with_split(regression, **ENOUGH)).passed
    assert not enough_test_data(with_split(regression, **{**ENOUGH, "positives": 5})).passed


def with_improvement(made, name, **numbers):
    baselines = [
        one.model_copy(update=numbers) if one.name == name else one
        for one in made.document.baselines
    ]
    return changed(made, baselines=baselines)


def test_a_model_that_sees_beats_what_is_trivial(binary, regression):
    for made, name in ((binary, "prior"), (regression, "median")):
        clear = with_improvement(made, name, improvement_lower_bound=0.01)
        clear = with_improvement(clear, "channel_means", improvement_lower_bound=0.01)
        verdict = beats_trivial_baselines(clear)
        assert verdict.passed
        assert verdict.numbers[f"lower_bound_over_{name}"] == 0.01


@pytest.mark.parametrize("bound", [0.0, -0.01, None])
@pytest.mark.parametrize(
    ("target_type", "name"),
    [
        ("binary", "prior"),
        ("binary", "channel_means"),
        ("regression", "median"),
        ("regression", "channel_means"),
    ],
)
def test_each_baseline_that_is_not_beaten_for_certain_fails_the_check(
    target_type, name, bound, request
):
    made = request.getfixturevalue(target_type)
    for one in made.document.baselines:
        made = with_improvement(made, one.name, improvement_lower_bound=0.1)
    verdict = beats_trivial_baselines(with_improvement(made, name, improvement_lower_bound=bound))
    assert not verdict.passed
    assert name.replace("_", " ") in verdict.reason


def test_the_mean_does_not_compete_in_mae(regression):
    made = regression
    for one in made.document.baselines:
        made = with_improvement(made, one.name, improvement_lower_bound=0.1)
    assert beats_trivial_baselines(
        with_improvement(made, "mean", improvement_lower_bound=-1)
    ).passed


def test_scores_of_the_channel_means_do_not_beat_the_channel_means():
    frame = predictions("binary")
    made = report("binary", frame.with_columns(raw_score=frame["channel_means_score"]))
    verdict = beats_trivial_baselines(made)
    assert not verdict.passed
    assert verdict.numbers["improvement_over_channel_means"] == 0.0


def with_calibration(made, low, perfect):
    pair = made.document.reliability
    error = pair.calibrated.calibration_error.model_copy(update={"low": low})
    after = pair.calibrated.model_copy(
        update={"calibration_error": error, "perfect_model_error": perfect}
    )
    return changed(made, reliability=pair.model_copy(update={"calibrated": after}))


def test_calibration_warns_only_beyond_what_a_perfect_model_would_show(binary):
    assert calibrated(with_calibration(binary, low=0.12, perfect=0.07)).passed
    assert calibrated(with_calibration(binary, low=None, perfect=0.07)).passed
    verdict = calibrated(with_calibration(binary, low=0.13, perfect=0.07))
    assert not verdict.passed
    assert verdict.numbers["excess"] == pytest.approx(0.06)


def test_regression_is_not_judged_by_calibration(regression):
    verdict = calibrated(regression)
    assert verdict.passed
    assert "rating" in verdict.reason


def test_slices_without_a_verdict_do_not_count_as_weak(binary):
    slices = [one.model_copy(update={"weak": None}) for one in binary.document.slices]
    verdict = no_weak_slice(changed(binary, slices=slices))
    assert verdict.passed
    assert verdict.numbers["judged"] == 0
