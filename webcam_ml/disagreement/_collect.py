"""From stored artifacts to compared rows: which prediction stands beside which rating."""

from pathlib import Path

import polars as pl

from webcam_ml.dataset import Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.disagreement._report import DisagreementReport, build_disagreement_report
from webcam_ml.disagreement._settings import DisagreementSettings
from webcam_ml.export import ExportedModel, score_pictures
from webcam_ml.model import Checkpoint


def report_disagreement(
    exported: ExportedModel,
    checkpoint: Checkpoint,
    manifest_full: Manifest,
    image_index: ImageIndex,
    *,
    settings: DisagreementSettings,
    images: ImageCache,
    cache: Path,
) -> DisagreementReport:
    """Compare every labelled snapshot with the model, never with a prediction made in-sample.

    Validation and test rows are scored by the model file through the runtime. Train rows take the
    checkpoint's out-of-fold predictions: a model agrees with the errors it was trained on.

    Args:
        exported: The model file.
        checkpoint: What it was exported from.
        manifest_full: All labelled rows.
        image_index: Their pictures.
        settings: Length and order of the report.
        images: Where the pictures are.
        cache: Root of the caches.

    Raises:
        WebcamMLError: There is no row to compare.
        ValueError: The checkpoint was trained on other rows.
    """
    pictured = rows_with_pictures(manifest_full, image_index)
    rows = pictured.frame.join(
        manifest_full.details, on="snapshot_id", how="left", maintain_order="left"
    )
    out_of_fold = checkpoint.predictions.filter(pl.col("split") == "train").select(
        "snapshot_id", "raw_score", pl.lit("out_of_fold").alias("prediction_kind")
    )
    others = rows.filter(pl.col("split") != "train").select("snapshot_id", "sha256")
    scores = score_pictures(exported, others["sha256"].to_list(), images=images, cache=cache)
    by_model = others.select(
        "snapshot_id", pl.Series("raw_score", scores), pl.lit("model").alias("prediction_kind")
    )
    compared = rows.join(pl.concat([out_of_fold, by_model]), on="snapshot_id", how="inner")
    if compared.height != rows.height:
        raise ValueError(
            f"{rows.height - compared.height} rows have no prediction of this checkpoint"
        )
    return build_disagreement_report(
        compared,
        model_version=exported.meta.model_version,
        target_type=exported.meta.target_type,
        decision_threshold=exported.meta.decision_threshold,
        left_out=pictured.left_out,
        thumbnail=images.decode,
        settings=settings,
    )
