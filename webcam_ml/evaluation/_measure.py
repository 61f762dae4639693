"""What eval_report.json says, measured from the rows of validation and test."""

from collections.abc import Mapping, Sequence

import numpy as np

from webcam_ml.contracts import STARS, UPPER_HALF
from webcam_ml.evaluation._baselines import measure_baselines
from webcam_ml.evaluation._calibration import perfect_model_error
from webcam_ml.evaluation._document import (
    SCHEMA_VERSION,
    ConfusionCounts,
    EvalDocument,
    IntervalMethod,
    Reliability,
    ReliabilityBin,
    ReliabilityPair,
    SplitMetrics,
    SplitSummary,
    StarError,
    TestSplit,
    WebcamError,
)
from webcam_ml.evaluation._judges import JudgeScores, measure_judges
from webcam_ml.evaluation._raters import rater_agreement
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.evaluation._slices import slices
from webcam_ml.evaluation._thresholds import threshold_table
from webcam_ml.metrics import (
    BINARY_METRICS,
    MEAN_METRICS,
    METRICS,
    FloatArray,
    Interval,
    confusion,
    equal_mass_bins,
    whole_stars,
)

CONFIDENCE = 0.95
WEBCAMS_SHOWN = 20


def measure_splits(
    validation: SplitRows,
    test: SplitRows,
    *,
    decision_threshold: float | None,
    binary_threshold: float | None,
    baselines: Mapping[str, float],
    test_manifest_sha256: str,
    left_out: Mapping[str, Mapping[str, int]],
    webcam_label_counts: Mapping[int, int],
    checkpoint: str,
    judges: Sequence[JudgeScores] | None = None,
) -> EvalDocument:
    """Measure all that a report says.

    Args:
        validation: Rows that the decision threshold was chosen on.
        test: Rows that nothing was chosen on.
        decision_threshold: As for `build_eval_report`, like all that follows.
        binary_threshold: In stars.
        baselines: Constants of the train split.
        test_manifest_sha256: SHA-256 of manifest_test.csv.
        left_out: Split → reason → rows.
        webcam_label_counts: Webcam → labelled pictures.
        checkpoint: Identity of the checkpoint.
        judges: What judges said of the rows.
    """
    summaries = {
        split: _summary(rows, left_out.get(split, {}), binary_threshold)
        for split, rows in (("val", validation), ("test", test))
    }
    metrics = _metrics(test, decision_threshold)
    return EvalDocument(
        schema_version=SCHEMA_VERSION,
        target_type=test.target_type,
        primary_metric=test.primary_metric.name,
        checkpoint=checkpoint,
        decision_threshold=None if decision_threshold is None else round(decision_threshold, 6),
        intervals=IntervalMethod(
            confidence=CONFIDENCE,
            bootstrap_samples=test.bootstrap_samples,
            random_state=test.random_state,
        ),
        test_split=TestSplit(sha256=test_manifest_sha256, **summaries["test"].model_dump()),
        metrics=metrics,
        confusion=_confusion(test, decision_threshold),
        validation=SplitMetrics(
            split=summaries["val"],
            metrics=_metrics(validation, decision_threshold),
            confusion=_confusion(validation, decision_threshold),
        ),
        baselines=measure_baselines(validation, test, constants=baselines),
        raters=rater_agreement(test, binary_threshold=binary_threshold),
        slices=slices(
            test,
            overall=metrics[test.primary_metric.name],
            decision_threshold=decision_threshold,
            webcam_label_counts=webcam_label_counts,
        ),
        reliability=ReliabilityPair(
            calibrated=_reliability(test, test.prediction),
            uncalibrated=(
                None if test.uncalibrated is None else _reliability(test, test.uncalibrated)
            ),
        ),
        threshold_table=(
            None
            if decision_threshold is None
            else threshold_table(validation, test, decision_threshold=decision_threshold)
        ),
        by_star=_by_star(test),
        webcams_with_most_error=_webcams_with_most_error(test),
        judges=None
        if judges is None
        else measure_judges(test, judges, binary_threshold=binary_threshold),
    )


def _summary(
    rows: SplitRows, left_out: Mapping[str, int], binary_threshold: float | None
) -> SplitSummary:
    return SplitSummary(
        rows=rows.rows,
        webcams=rows.webcams,
        effective_webcams=rows.effective_webcams,
        positives=int(rows.positive.sum()),
        webcams_with_a_positive=rows.webcams_with_a_positive,
        positive_from_stars=UPPER_HALF if binary_threshold is None else binary_threshold,
        left_out=dict(sorted(left_out.items())),
    )


def _metrics(rows: SplitRows, threshold: float | None) -> dict[str, Interval]:
    return {
        metric.name: rows.bootstrap.estimate(
            metric, rows.target, rows.prediction, threshold=threshold
        ).interval(CONFIDENCE)
        for metric in rows.metrics
    }


def _confusion(rows: SplitRows, threshold: float | None) -> ConfusionCounts | None:
    if threshold is None:
        return None
    counts = confusion(rows.target, rows.prediction, threshold=threshold)
    return ConfusionCounts(tn=counts.tn, fp=counts.fp, fn=counts.fn, tp=counts.tp)


def _reliability(rows: SplitRows, prediction: FloatArray) -> Reliability:
    bins = equal_mass_bins(prediction)
    error = perfect = None
    if rows.asked.has_classes:
        error = rows.bootstrap.estimate(
            BINARY_METRICS["expected_calibration_error"], rows.target, prediction
        ).interval(CONFIDENCE)
        perfect = round(
            perfect_model_error(
                rows.target,
                prediction,
                webcam_id=rows.webcam_id,
                bootstrap_samples=rows.bootstrap_samples,
                random_state=rows.random_state,
            ),
            6,
        )
    parts = [(rows.where(bins == index), prediction[bins == index]) for index in np.unique(bins)]
    return Reliability(
        bins=[
            ReliabilityBin(
                rows=part.rows,
                webcams=part.webcams,
                mean_prediction=round(float(predicted.mean()), 6),
                mean_target=_mean_target(part),
            )
            for part, predicted in parts
        ],
        calibration_error=error,
        perfect_model_error=perfect,
    )


def _mean_target(part: SplitRows) -> Interval:
    metric = MEAN_METRICS[part.asked.mean_metric]
    return part.bootstrap.estimate(metric, part.target, part.prediction).interval(CONFIDENCE)


def _by_star(rows: SplitRows) -> list[StarError]:
    rounded = whole_stars(rows.label_value)
    found = []
    for star in STARS:
        part = rows.where(rounded == star) if (rounded == star).any() else None
        mae = None
        if part is not None and part.asked.in_stars:
            mae = part.bootstrap.estimate(METRICS["mae"], part.target, part.prediction)
        found.append(
            StarError(
                stars=star,
                rows=0 if part is None else part.rows,
                webcams=0 if part is None else part.webcams,
                mean_prediction=(None if part is None else round(float(part.prediction.mean()), 6)),
                mae=None if mae is None else mae.interval(CONFIDENCE),
            )
        )
    return found


def _webcams_with_most_error(rows: SplitRows) -> list[WebcamError]:
    cost = rows.asked.cost(rows.prediction - rows.target)
    webcams, code = np.unique(rows.webcam_id, return_inverse=True)
    count = np.bincount(code)
    share = np.bincount(code, weights=cost) / max(float(cost.sum()), 1e-300)
    mean_target = np.bincount(code, weights=rows.target) / count
    mean_prediction = np.bincount(code, weights=rows.prediction) / count
    # Rounded before sorting, so that equal shares keep the order of webcam_id on every machine.
    share = np.round(share, 6)
    return [
        WebcamError(
            webcam_id=int(webcams[i]),
            rows=int(count[i]),
            mean_target=round(float(mean_target[i]), 6),
            mean_prediction=round(float(mean_prediction[i]), 6),
            share_of_error=float(share[i]),
        )
        for i in np.argsort(-share, kind="stable")[:WEBCAMS_SHOWN]
    ]
