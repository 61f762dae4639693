"""What other decision thresholds would do."""

from webcam_ml.evaluation._document import DecisionCounts, ThresholdRow, ThresholdTable
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.metrics import BINARY_METRICS, make_sample, measure

GRID = tuple(round(0.05 * step, 2) for step in range(1, 20))


def _decisions(rows: SplitRows, threshold: float) -> DecisionCounts:
    sample = make_sample(rows.target, rows.prediction, rows.webcam_id, threshold=threshold)
    values = {}
    for name in ("precision", "recall", "f1", "balanced_accuracy"):
        value = measure(BINARY_METRICS[name], sample).value
        values[name] = None if value is None else round(value, 6)
    return DecisionCounts(predicted_positive=int(sample.predicted_positive.sum()), **values)


def threshold_table(
    validation: SplitRows, test: SplitRows, *, decision_threshold: float
) -> ThresholdTable:
    """Tabulate a grid of thresholds, and the one in use, on both splits.

    Args:
        validation: The split to choose by.
        test: The split that only reports.
        decision_threshold: The threshold in use.
    """
    return ThresholdTable(
        choose_by="validation",
        rows=[
            ThresholdRow(
                threshold=round(threshold, 6),
                is_decision_threshold=threshold == decision_threshold,
                validation=_decisions(validation, threshold),
                test_report_only=_decisions(test, threshold),
            )
            for threshold in sorted({*GRID, decision_threshold})
        ],
    )
