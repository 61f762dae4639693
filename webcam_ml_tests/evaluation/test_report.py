import json

import numpy as np
import polars as pl
import pytest

from webcam_ml.contracts import DocumentError
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport, build_eval_report, enough_test_data
from webcam_ml.metrics import binary_metrics, paired_difference, regression_metrics, webcam_interval
from webcam_ml_tests.evaluation.frames import arguments, full_report, predictions, report

BINARY_PLOTS = {"roc_pr.png", "reliability.png", "score_by_star.png", "error_by_webcam.png"}
REGRESSION_PLOTS = {
    "error_curve.png", "reliability.png", "score_by_star.png", "error_by_webcam.png"
}  # fmt: skip


def test_split(frame):
    return frame.filter(pl.col("split") == "test")


test_split.__test__ = False


@pytest.mark.parametrize(
    ("target_type", "plots"), [("binary", BINARY_PLOTS), ("regression", REGRESSION_PLOTS)]
)
def test_equal_inputs_in_any_order_give_equal_bytes_that_load_again(target_type, plots, tmp_path):
    frame = predictions(target_type)
    folders = [tmp_path / "first", tmp_path / "second"]
    made = [full_report(target_type, rows) for rows in (frame, frame.reverse())]
    for folder, one in zip(folders, made, strict=True):
        folder.mkdir()
        one.save(folder)
    first, second = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    assert first == second
    assert set(first) == plots | {"eval_report.json", "predictions.csv"}
    assert all(first[name].startswith(b"\x89PNG") for name in plots)
    assert all(b"Software" not in first[name] for name in plots)
    assert EvalReport.load(folders[0]) == made[0]


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_the_file_has_its_keys_in_the_order_of_the_contract(target_type, tmp_path):
    report(target_type).save(tmp_path)
    content = json.loads((tmp_path / "eval_report.json").read_text())
    assert list(content) == [
        "schema_version", "target_type", "primary_metric", "checkpoint", "decision_threshold",
        "intervals", "test_split", "metrics", "confusion", "validation", "baselines", "raters",
        "slices", "reliability", "threshold_table", "by_star", "webcams_with_most_error",
    ]  # fmt: skip
    assert list(content["test_split"]) == [
        "rows", "webcams", "effective_webcams", "positives", "webcams_with_a_positive",
        "positive_from_stars", "left_out", "sha256",
    ]  # fmt: skip
    for interval in content["metrics"].values():
        assert list(interval) == ["value", "low", "high"]
    assert list(content["metrics"]) == list(content["validation"]["metrics"])
    assert content["test_split"]["left_out"] == {"image missing": 2}


def test_metrics_are_the_plain_ones_with_the_intervals_of_the_webcams():
    frame = predictions("binary")
    rows = test_split(frame)
    document = report("binary", frame).document
    plain = binary_metrics(rows["target_label"], rows["raw_score"], threshold=0.35)
    for name, measurement in plain.items():
        assert document.metrics[name].value == pytest.approx(measurement.value, abs=1e-6)
        assert document.metrics[name] == webcam_interval(
            name, rows["target_label"], rows["raw_score"], webcam_id=rows["webcam_id"],
            threshold=0.35, bootstrap_samples=200, random_state=5,
        )  # fmt: skip


def test_regression_is_measured_in_stars():
    frame = predictions("regression")
    rows = test_split(frame)
    document = report("regression", frame).document
    plain = regression_metrics(rows["target_label"], 1 + 4 * rows["raw_score"])
    for name, measurement in plain.items():
        assert document.metrics[name].value == pytest.approx(measurement.value, abs=1e-6)
    assert document.confusion is None
    assert document.decision_threshold is None


def test_the_test_split_is_counted():
    frame = predictions("binary")
    rows = test_split(frame)
    split = report("binary", frame).document.test_split
    positive = rows.filter(pl.col("target_label") == 1)
    assert (split.rows, split.webcams) == (rows.height, rows["webcam_id"].n_unique())
    assert (split.positives, split.webcams_with_a_positive) == (
        positive.height, positive["webcam_id"].n_unique()
    )  # fmt: skip
    assert (split.sha256, split.positive_from_stars) == ("a" * 64, 4.0)


def test_error_by_star_shares_out_the_error():
    frame = predictions("regression")
    rows = test_split(frame)
    document = report("regression", frame).document
    assert sum(one.rows for one in document.by_star) == rows.height
    total = sum(one.rows * one.mae.value for one in document.by_star if one.mae is not None)
    assert total / rows.height == pytest.approx(document.metrics["mae"].value, abs=1e-5)
    fives = rows.filter(pl.col("label_value") >= 4.5)
    assert document.by_star[4].rows == fives.height
    assert document.by_star[4].mean_prediction == pytest.approx(
        1 + 4 * fives["raw_score"].mean(), abs=1e-6
    )


def test_webcams_are_listed_by_their_share_of_the_error():
    frame = predictions("binary")
    rows = test_split(frame).with_columns(cost=(pl.col("raw_score") - pl.col("target_label")) ** 2)
    listed = report("binary", frame).document.webcams_with_most_error
    shares = [one.share_of_error for one in listed]
    assert shares == sorted(shares, reverse=True)
    assert len(listed) == 20
    worst = rows.filter(pl.col("webcam_id") == listed[0].webcam_id)
    assert listed[0].rows == worst.height
    assert shares[0] == pytest.approx(worst["cost"].sum() / rows["cost"].sum(), abs=1e-6)


def test_the_improvement_over_channel_means_is_the_paired_difference():
    for target_type, metric, sign in (("binary", "roc_auc", 1), ("regression", "mae", -1)):
        frame = predictions(target_type)
        rows = test_split(frame)
        scale = 1 if target_type == "binary" else 4
        offset = 0 if target_type == "binary" else 1
        expected = paired_difference(
            metric, rows["target_label"], offset + scale * rows["raw_score"],
            offset + scale * rows["channel_means_score"], webcam_id=rows["webcam_id"],
            bootstrap_samples=200, random_state=5,
        )  # fmt: skip
        found = report(target_type, frame).document.baselines[-1]
        assert found.name == "channel_means"
        assert found.improvement.value == pytest.approx(sign * expected.value, abs=1e-6)
        bound = expected.lower_bound() if sign == 1 else -expected.upper_bound()
        assert found.improvement_lower_bound == pytest.approx(bound, abs=1e-6)


def test_the_median_is_the_best_constant_for_mae_and_the_mean_for_rmse():
    frame = predictions("regression")
    stars = test_split(frame)["label_value"]
    constants = {"median": stars.median(), "mean": stars.mean()}
    median, mean, _ = report("regression", frame, baselines=constants).document.baselines
    assert (median.name, mean.name) == ("median", "mean")
    assert median.metrics["mae"].value <= mean.metrics["mae"].value
    assert mean.metrics["rmse"].value <= median.metrics["rmse"].value
    assert mean.metrics["r2"].value == pytest.approx(0.0, abs=1e-6)
    assert "every prediction is equal" in mean.metrics["spearman"].reason


def test_the_prior_ranks_like_chance():
    prior = report("binary").document.baselines[0]
    assert (prior.name, prior.constant) == ("prior", 0.2)
    assert prior.metrics["roc_auc"].value == 0.5
    assert prior.improvement.value == pytest.approx(
        report("binary").document.metrics["roc_auc"].value - 0.5, abs=1e-6
    )


def test_calibration_is_shown_before_and_after():
    reliability = report("binary").document.reliability
    before, after = reliability.uncalibrated, reliability.calibrated
    assert before.calibration_error.value > after.calibration_error.value
    for one in (before, after):
        assert sum(part.rows for part in one.bins) == report("binary").document.test_split.rows
        predicted = [part.mean_prediction for part in one.bins]
        assert predicted == sorted(predicted)
    assert after.calibration_error == report("binary").document.metrics[
        "expected_calibration_error"
    ]  # fmt: skip
    assert report("regression").document.reliability.uncalibrated is None


def with_test_values(frame, **values):
    return frame.with_columns(
        pl.when(pl.col("split") == "test").then(value).otherwise(pl.col(column)).alias(column)
        for column, value in values.items()
    )


@pytest.mark.parametrize("target_type", ["binary", "regression"])
@pytest.mark.parametrize(
    "values",
    [
        {"target_label": pl.lit(1.0), "label_value": pl.lit(1.0)},
        {"raw_score": pl.lit(0.5)},
        {"webcam_id": pl.lit(9_000)},
        {"channel_means_score": pl.lit(0.25)},
    ],
    ids=["one class", "constant scores", "one webcam", "constant channel means"],
)
def test_degenerate_splits_are_reported_with_reasons_not_numbers(target_type, values, tmp_path):
    made = full_report(target_type, with_test_values(predictions(target_type), **values))
    made.save(tmp_path)
    assert "NaN" not in (tmp_path / "eval_report.json").read_text()
    assert EvalReport.load(tmp_path) == made
    for interval in made.document.metrics.values():
        assert interval.low is not None or interval.reason


def test_one_row_makes_a_report_that_proves_nothing():
    frame = predictions("binary")
    one = pl.concat([frame.filter(pl.col("split") == "val"), test_split(frame).head(1)])
    verdict = enough_test_data(full_report("binary", one))
    assert not verdict.passed
    assert "1 of 100 rows" in verdict.reason


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_empty_split_is_refused_with_what_was_left_out(split):
    frame = predictions("binary").filter(pl.col("split") != split)
    with pytest.raises(WebcamMLError, match=rf"the {split} split has no row .*image missing: 7"):
        full_report("binary", frame, left_out={split: {"image missing": 7}})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("raw_score", float("nan"), "raw_score that is not a number from 0 to 1"),
        ("raw_score", None, "raw_score"),
        ("raw_score", 1.2, "with 1.2"),
        ("channel_means_score", float("inf"), "channel_means_score"),
        ("target_label", float("nan"), "target_label"),
        ("target_label", 0.5, "neither 0 nor 1"),
        ("label_value", 0.75, "label_value that is not a number from 1 to 5"),
        ("uncalibrated_score", None, "uncalibrated_score"),
        ("stars_3", None, "stars_3"),
    ],
)
def test_values_off_their_scale_are_refused_with_the_snapshot(column, value, message):
    frame = predictions("binary")
    bad = pl.when(pl.col("snapshot_id") == 100_003).then(pl.lit(value))
    frame = frame.with_columns(bad.otherwise(pl.col(column)).alias(column))
    with pytest.raises(WebcamMLError, match=message) as refused:
        full_report("binary", frame)
    assert "snapshot 100003" in str(refused.value)
    assert str(refused.value).startswith("1 of ")


def test_baselines_of_another_target_type_or_scale_are_refused():
    with pytest.raises(WebcamMLError, match="'median' is None"):
        full_report("regression", baselines={"prior": 0.2})
    with pytest.raises(WebcamMLError, match=r"'median' is 0\.25"):
        full_report("regression", baselines={"median": 0.25, "mean": 0.3})
    with pytest.raises(WebcamMLError, match="'prior' is nan"):
        full_report("binary", baselines={"prior": float("nan")})


def test_thresholds_belong_to_binary_reports_alone():
    frame = predictions("binary")
    with pytest.raises(ValueError, match="needs decision_threshold"):
        full_report("binary", frame, decision_threshold=None)
    with pytest.raises(ValueError, match="has no decision_threshold"):
        full_report("regression", decision_threshold=0.5)


def test_a_missing_column_is_named():
    frame = predictions("binary")
    with pytest.raises(ValueError, match="lack the columns phase"):
        build_eval_report(frame.drop("phase"), **arguments("binary", frame))


def test_a_file_with_other_keys_is_not_loaded(tmp_path):
    report("binary").save(tmp_path)
    path = tmp_path / "eval_report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    with pytest.raises(DocumentError, match="extra"):
        EvalReport.load(tmp_path)


def test_numbers_are_stored_with_six_decimals(tmp_path):
    report("binary").save(tmp_path)

    def numbers(part):
        if isinstance(part, dict):
            return [n for value in part.values() for n in numbers(value)]
        if isinstance(part, list):
            return [n for value in part for n in numbers(value)]
        return [part] if isinstance(part, float) else []

    found = numbers(json.loads((tmp_path / "eval_report.json").read_text()))
    assert len(found) > 300
    assert np.array_equal(found, np.round(found, 6))
