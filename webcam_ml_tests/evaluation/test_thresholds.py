import polars as pl

from webcam_ml_tests.evaluation.frames import predictions, report


def test_the_table_has_the_threshold_in_use_among_a_grid():
    table = report("binary").document.threshold_table
    thresholds = [row.threshold for row in table.rows]
    assert thresholds == sorted(thresholds)
    assert [row.threshold for row in table.rows if row.is_decision_threshold] == [0.35]
    made = report("binary", decision_threshold=0.123)
    assert [
        row.threshold for row in made.document.threshold_table.rows if row.is_decision_threshold
    ] == [0.123]
    assert len(made.document.threshold_table.rows) == 20


def test_the_row_in_use_says_what_the_metrics_say():
    document = report("binary").document
    (row,) = [row for row in document.threshold_table.rows if row.is_decision_threshold]
    for name in ("precision", "recall", "f1", "balanced_accuracy"):
        assert getattr(row.test_report_only, name) == document.metrics[name].value
        assert getattr(row.validation, name) == document.validation.metrics[name].value
    assert row.test_report_only.predicted_positive == document.confusion.tp + document.confusion.fp


def test_test_labels_change_nothing_in_the_columns_to_choose_by():
    frame = predictions("binary")
    turned = frame.with_columns(
        target_label=pl.when(pl.col("split") == "test")
        .then(1 - pl.col("target_label"))
        .otherwise(pl.col("target_label"))
    )
    before, after = (report("binary", rows).document.threshold_table for rows in (frame, turned))
    assert before.choose_by == "validation"
    assert [row.validation for row in before.rows] == [row.validation for row in after.rows]
    assert [row.test_report_only for row in before.rows] != [
        row.test_report_only for row in after.rows
    ]


def test_a_regression_has_no_thresholds():
    assert report("regression").document.threshold_table is None
