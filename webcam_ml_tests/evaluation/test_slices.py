import numpy as np
import polars as pl
import pytest

from webcam_ml.evaluation import no_weak_slice
from webcam_ml.metrics import binary_metrics, regression_metrics
from webcam_ml_tests.evaluation.frames import predictions, report


def by_group(made):
    return {(one.by, one.group): one for one in made.document.slices}


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_slices_of_one_kind_share_out_the_test_rows(target_type):
    made = report(target_type)
    kinds = dict.fromkeys(one.by for one in made.document.slices)
    assert kinds.keys() >= {"phase", "webcam source", "labels of the webcam", "month"}
    for kind in kinds:
        parts = [one for one in made.document.slices if one.by == kind]
        assert sum(one.rows for one in parts) == made.document.test_split.rows
        assert sum(one.positives for one in parts) == made.document.test_split.positives


def test_a_slice_is_measured_on_its_own_rows():
    frame = predictions("binary")
    sunsets = frame.filter((pl.col("split") == "test") & (pl.col("phase") == "sunset"))
    expected = binary_metrics(sunsets["target_label"], sunsets["raw_score"], threshold=0.35)
    found = by_group(report("binary", frame))["phase", "sunset"]
    assert found.rows == sunsets.height
    for name, interval in found.metrics.items():
        assert interval.value == pytest.approx(expected[name].value, abs=1e-6)


def test_a_regression_slice_is_measured_in_stars():
    frame = predictions("regression")
    may = frame.filter((pl.col("split") == "test") & (pl.col("captured_at") < "2026-02"))
    expected = regression_metrics(may["target_label"], 1 + 4 * may["raw_score"])
    found = by_group(report("regression", frame))["month", "2026-01"]
    assert found.metrics["mae"].value == pytest.approx(expected["mae"].value, abs=1e-6)


def test_few_and_many_labels_are_counted_over_all_splits():
    frame = predictions("binary")
    counts = dict(frame.group_by("webcam_id").len().iter_rows())
    test = frame.filter(pl.col("split") == "test")
    few = by_group(report("binary", frame))["labels of the webcam", "up to 10 labels"]
    assert few.rows == sum(counts[webcam] <= 10 for webcam in test["webcam_id"])
    raised = report("binary", frame, webcam_label_counts=dict.fromkeys(counts, 11))
    assert ("labels of the webcam", "up to 10 labels") not in by_group(raised)


def test_what_is_not_known_is_a_slice_of_its_own():
    frame = predictions("binary").with_columns(
        captured_at=pl.lit(None, pl.String), webcam_source=pl.lit(None, pl.String)
    )
    found = by_group(report("binary", frame))
    assert found["month", "unknown"].rows == found["webcam source", "unknown"].rows


def test_under_thirty_rows_there_is_no_verdict():
    frame = predictions("binary")
    rare = pl.when(pl.col("snapshot_id").rank("ordinal").over("split") <= 29)
    frame = frame.with_columns(phase=rare.then(pl.lit("sunrise")).otherwise(pl.lit("sunset")))
    found = by_group(report("binary", frame))
    assert found["phase", "sunrise"].rows == 29
    assert found["phase", "sunrise"].weak is None
    assert "29 rows" in found["phase", "sunrise"].reason
    assert found["phase", "sunset"].weak is False


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_a_slice_where_scores_are_upside_down_is_weak_and_named(target_type):
    upside_down = pl.when(pl.col("phase") == "sunrise").then(1 - pl.col("raw_score"))
    frame = predictions(target_type).with_columns(
        raw_score=upside_down.otherwise(pl.col("raw_score"))
    )
    made = report(target_type, frame)
    assert by_group(made)["phase", "sunrise"].weak
    verdict = no_weak_slice(made)
    assert not verdict.passed
    assert "phase sunrise" in verdict.reason
    assert "phase sunset" not in verdict.reason


def test_a_slice_of_one_class_is_shown_without_a_verdict():
    frame = predictions("binary")
    positive = frame["target_label"].to_numpy() == 1
    frame = frame.with_columns(phase=pl.Series(np.where(positive, "sunset", "sunrise")))
    found = by_group(report("binary", frame))["phase", "sunrise"]
    assert found.weak is None
    assert "needs both classes" in found.reason
