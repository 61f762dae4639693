"""From a checkpoint and its manifests to the report: predict, put the columns together, measure."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from webcam_ml.dataset import Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.evaluation._judges import judges_of
from webcam_ml.evaluation._report import EvalReport, build_eval_report
from webcam_ml.training import Checkpoint, predict


@dataclass(frozen=True)
class EvaluationResult:
    """A report, and how much of the work was new (which is not part of it)."""

    report: EvalReport
    features_computed: int
    features_reused: int


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    manifest_val: Manifest,
    manifest_test: Manifest,
    image_index: ImageIndex,
    *,
    images: ImageCache,
    cache: Path,
    bootstrap_samples: int = 2000,
    random_state: int = 0,
) -> EvaluationResult:
    """Measure a checkpoint on validation and test rows.

    Args:
        checkpoint: The model.
        manifest_val: Validation rows.
        manifest_test: Test rows.
        image_index: Pictures of the whole manifest.
        images: Where the pictures are.
        cache: Root of the caches of backbones and features.
        bootstrap_samples: Resamples of the webcams behind each interval.
        random_state: Seed of the resamples.

    Raises:
        WebcamMLError: A split has no readable pictures, or the scores cannot be measured.
    """
    parts = {m.part: rows_with_pictures(m, image_index) for m in (manifest_val, manifest_test)}
    details = pl.concat([manifest_val.details, manifest_test.details])
    rows = (
        pl.concat([part.frame for part in parts.values()])
        .join(details, on="snapshot_id", how="left", maintain_order="left")
        # Two ids of one camera count as one camera: their rows are not independent.
        .with_columns(webcam_id="camera_id")
    )
    scores = predict(checkpoint, rows, images=images, cache=cache)
    uncalibrated = scores.uncalibrated_score
    predictions = rows.with_columns(
        pl.Series("raw_score", scores.raw_score),
        pl.Series("channel_means_score", scores.channel_means_score),
        pl.lit(None, pl.Float64).alias("uncalibrated_score")
        if uncalibrated is None
        else pl.Series("uncalibrated_score", uncalibrated),
    )
    train_webcams = checkpoint.predictions.filter(pl.col("split") == "train")["webcam_id"]
    counted = manifest_test.meta.cameras(
        pl.concat(
            [train_webcams, manifest_val.frame["webcam_id"], manifest_test.frame["webcam_id"]]
        )
    ).value_counts()
    report = build_eval_report(
        predictions,
        target_type=checkpoint.model.target_type,
        decision_threshold=checkpoint.model.decision_threshold,
        binary_threshold=manifest_test.meta.binary_threshold,
        baselines=checkpoint.summary["baselines"],
        test_manifest_sha256=hashlib.sha256(manifest_test.to_csv()).hexdigest(),
        left_out={name: part.left_out for name, part in parts.items()},
        webcam_label_counts=dict(counted.iter_rows()),
        checkpoint=hashlib.sha256(checkpoint.weights).hexdigest(),
        judges=judges_of(manifest_test),
        bootstrap_samples=bootstrap_samples,
        random_state=random_state,
    )
    return EvaluationResult(report, scores.features_computed, scores.features_reused)
