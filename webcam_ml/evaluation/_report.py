"""eval_report: the evidence in one document, with the plots that show it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from webcam_ml.evaluation._baselines import measure_baselines, require_baselines
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
    TargetType,
    TestSplit,
    WebcamError,
)
from webcam_ml.evaluation._intervals import Interval
from webcam_ml.evaluation._metrics import (
    BINARY_METRICS,
    MEAN_RATING,
    METRICS,
    POSITIVE_RATE,
    STARS,
    confusion,
    equal_mass_bins,
    to_stars,
)
from webcam_ml.evaluation._plots import draw_plots
from webcam_ml.evaluation._raters import rater_agreement
from webcam_ml.evaluation._rows import (
    PRIMARY_METRIC,
    UPPER_HALF,
    SplitRows,
    metrics_of,
    split_rows,
)
from webcam_ml.evaluation._scales import FloatArray
from webcam_ml.evaluation._slices import slices
from webcam_ml.evaluation._thresholds import threshold_table

FILE_NAME = "eval_report.json"
CONFIDENCE = 0.95
WEBCAMS_SHOWN = 20


@dataclass(frozen=True)
class EvalReport:
    """The artifact: eval_report.json and its plots.

    Attributes:
        document: What eval_report.json holds.
        plots: File name → PNG.
    """

    document: EvalDocument
    plots: Mapping[str, bytes]

    def save(self, folder: Path) -> None:
        """Write eval_report.json and the plots.

        Args:
            folder: An existing, empty folder.
        """
        content = self.document.model_dump(mode="json")
        text = json.dumps(content, indent=2, sort_keys=False, allow_nan=False) + "\n"
        (folder / FILE_NAME).write_text(text, encoding="utf-8")
        for name, png in self.plots.items():
            (folder / name).write_bytes(png)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The artifact's folder.

        Raises:
            pydantic.ValidationError: eval_report.json is not such a document.
        """
        document = EvalDocument.model_validate_json((folder / FILE_NAME).read_bytes())
        plots = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
        return cls(document=document, plots=plots)


def build_eval_report(
    predictions: pl.DataFrame,
    *,
    target_type: TargetType,
    decision_threshold: float | None,
    binary_threshold: float | None,
    baselines: Mapping[str, float],
    test_manifest_sha256: str,
    left_out: Mapping[str, Mapping[str, int]],
    webcam_label_counts: Mapping[int, int],
    checkpoint: str,
    bootstrap_samples: int = 2000,
    random_state: int = 0,
) -> EvalReport:
    """Measure a model on the test split, with intervals, baselines, slices and plots.

    Args:
        predictions: Validation and test rows with the columns snapshot_id, webcam_id, split (``val``
            or ``test``), phase, captured_at (ISO text or null), target_label, label_value,
            raw_score (0–1), channel_means_score (0–1), uncalibrated_score (0–1 or
            null), webcam_source (or null), stars_1 … stars_5 (how many ratings of each).
        target_type: ``binary`` (target_label 0 or 1) or ``regression`` (target_label 1–5; the
            prediction in stars is 1 + 4 · raw_score).
        decision_threshold: Binary: raw scores at or above it count as positive. Else None.
        binary_threshold: Binary: ratings at or above it are positive, in stars. Else None.
        baselines: What train says: ``prior`` (binary), ``median`` and ``mean`` in stars
            (regression).
        test_manifest_sha256: SHA-256 of manifest_test.csv.
        left_out: Split → reason → how many rows of the manifest are not in ``predictions``.
        webcam_label_counts: Webcam → labelled pictures in all splits.
        checkpoint: Identity of the checkpoint that made the predictions.
        bootstrap_samples: Resamples of the webcams for each interval.
        random_state: Seed of the resamples.

    Raises:
        WebcamMLError: A split without rows, values that are not finite or off their scale, or
            baselines that do not fit the target type.
        ValueError: A missing column or threshold.
    """
    if target_type == "binary" and (decision_threshold is None or binary_threshold is None):
        raise ValueError("a binary report needs decision_threshold and binary_threshold")
    if target_type == "regression" and (decision_threshold, binary_threshold) != (None, None):
        raise ValueError("a regression report has no decision_threshold and no binary_threshold")
    require_baselines(baselines, target_type)
    validation, test = (
        split_rows(
            predictions,
            split,
            target_type=target_type,
            left_out=dict(left_out.get(split, {})),
            bootstrap_samples=bootstrap_samples,
            random_state=random_state,
        )
        for split in ("val", "test")
    )
    summaries = {
        split: _summary(rows, left_out.get(split, {}), binary_threshold)
        for split, rows in (("val", validation), ("test", test))
    }
    metrics = _metrics(test, decision_threshold)
    document = EvalDocument(
        schema_version=SCHEMA_VERSION,
        target_type=target_type,
        primary_metric=PRIMARY_METRIC[target_type],
        checkpoint=checkpoint,
        decision_threshold=None if decision_threshold is None else round(decision_threshold, 6),
        intervals=IntervalMethod(
            confidence=CONFIDENCE, bootstrap_samples=bootstrap_samples, random_state=random_state
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
            overall=metrics[PRIMARY_METRIC[target_type]],
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
    )
    return EvalReport(document=document, plots=draw_plots(document, test))


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
        for metric in metrics_of(rows.target_type)
    }


def _confusion(rows: SplitRows, threshold: float | None) -> ConfusionCounts | None:
    if threshold is None:
        return None
    counts = confusion(rows.target, rows.prediction, threshold=threshold)
    return ConfusionCounts(tn=counts.tn, fp=counts.fp, fn=counts.fn, tp=counts.tp)


def _reliability(rows: SplitRows, prediction: FloatArray) -> Reliability:
    bins = equal_mass_bins(prediction)
    error = perfect = None
    if rows.target_type == "binary":
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
    metric = POSITIVE_RATE if part.target_type == "binary" else MEAN_RATING
    return part.bootstrap.estimate(metric, part.target, part.prediction).interval(CONFIDENCE)


def _by_star(rows: SplitRows) -> list[StarError]:
    rounded = to_stars(rows.label_value)
    found = []
    for star in STARS:
        part = rows.where(rounded == star) if (rounded == star).any() else None
        mae = None
        if part is not None and part.target_type == "regression":
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
    off = np.abs(rows.prediction - rows.target)
    cost = off**2 if rows.target_type == "binary" else off
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
