"""eval_report: the evidence in one document, with the plots that show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import EVALUATED_TABLE, Document, TargetType, target_of
from webcam_ml.evaluation._baselines import require_baselines
from webcam_ml.evaluation._document import SCHEMA_VERSION, EvalDocument
from webcam_ml.evaluation._judges import JudgeScores
from webcam_ml.evaluation._measure import measure_splits
from webcam_ml.evaluation._plots import draw_plots
from webcam_ml.evaluation._rows import split_rows

DOCUMENT = Document("eval_report.json", made_by="eval_report", schema_version=SCHEMA_VERSION)
PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True)
class EvalReport:
    """The artifact: eval_report.json, its plots, and the predictions that it was measured on.

    Attributes:
        document: What eval_report.json holds.
        plots: File name → PNG.
        predictions: Validation and test rows with the columns of `EVALUATED_TABLE`, ordered by
            split and snapshot_id; None in a report that was stored before they were kept.
    """

    document: EvalDocument
    plots: Mapping[str, bytes]
    # Comparing tables gives no single true or false; the document has all that is measured of them.
    predictions: pl.DataFrame | None = field(default=None, compare=False)

    def save(self, folder: Path) -> None:
        """Write eval_report.json, the predictions and the plots.

        Args:
            folder: An existing, empty folder.
        """
        DOCUMENT.write(folder, self.document.model_dump(mode="json"))
        if self.predictions is not None:
            EVALUATED_TABLE.write(self.predictions, folder / PREDICTIONS_FILE)
        for name, png in self.plots.items():
            (folder / name).write_bytes(png)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The artifact's folder.

        Raises:
            DocumentError: eval_report.json is not such a document.
            TableError: predictions.csv lacks a column that is needed.
        """
        document = DOCUMENT.read_as(folder, EvalDocument.model_validate)
        plots = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
        path = folder / PREDICTIONS_FILE
        predictions = EVALUATED_TABLE.read(path) if path.is_file() else None
        return cls(document=document, plots=plots, predictions=predictions)


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
    judges: Sequence[JudgeScores] | None = None,
    bootstrap_samples: int = 2000,
    random_state: int = 0,
) -> EvalReport:
    """Measure a model on the test split, with intervals, baselines, slices and plots.

    Args:
        predictions: Validation and test rows with the columns snapshot_id, webcam_id, split (``val``
            or ``test``), phase, captured_at (ISO text or null), target_label, label_value,
            raw_score (0–1), channel_means_score and uncalibrated_score (0–1, or null in all rows),
            webcam_source (or null), stars_1 … stars_5 (how many ratings of each).
        target_type: ``binary`` (target_label 0 or 1) or ``regression`` (target_label 1–5; the
            prediction in stars is 1 + 4 · raw_score).
        decision_threshold: Binary: raw scores at or above it count as positive. Else None.
        binary_threshold: Binary: ratings at or above it are positive, in stars. Else None.
        baselines: From the train split: ``prior`` (binary), ``median`` and ``mean`` in stars
            (regression).
        test_manifest_sha256: SHA-256 of manifest_test.csv.
        left_out: Split → reason → how many rows of the manifest are not in ``predictions``.
        webcam_label_counts: Webcam → labelled pictures in all splits.
        checkpoint: Identity of the checkpoint that made the predictions.
        judges: Judges that are no people, with their scores; None where the labels hear none.
        bootstrap_samples: Resamples of the webcams for each interval.
        random_state: Seed of the resamples.

    Raises:
        WebcamMLError: A split without rows, values that are not finite or off their scale, or
            baselines that do not fit the target type.
        ValueError: A missing column or threshold.
    """
    has_classes, thresholds = (
        target_of(target_type).has_classes,
        (decision_threshold, binary_threshold),
    )
    if has_classes and None in thresholds:
        raise ValueError(f"a {target_type} report needs decision_threshold and binary_threshold")
    if not has_classes and thresholds != (None, None):
        raise ValueError(
            f"a {target_type} report has no decision_threshold and no binary_threshold"
        )
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
    document = measure_splits(
        validation,
        test,
        decision_threshold=decision_threshold,
        binary_threshold=binary_threshold,
        baselines=baselines,
        test_manifest_sha256=test_manifest_sha256,
        left_out=left_out,
        webcam_label_counts=webcam_label_counts,
        checkpoint=checkpoint,
        judges=judges,
    )
    measured = pl.concat([test.frame, validation.frame]).select(
        pl.col(name).cast(kind) for name, kind in EVALUATED_TABLE.schema.items()
    )
    return EvalReport(document=document, plots=draw_plots(document, test), predictions=measured)
