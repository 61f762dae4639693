"""From stored artifacts to the report, and the candidate's scores into the label database."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from webcam_ml.contracts import PEOPLE
from webcam_ml.dataset import Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.disagreement._asked_before import asked_before
from webcam_ml.disagreement._predictions import (
    candidate_predictions,
    recorded_predictions,
    without_gone_pictures,
)
from webcam_ml.disagreement._report import DisagreementReport, build_disagreement_report
from webcam_ml.disagreement._said import SaidOfRows
from webcam_ml.disagreement._settings import DisagreementSettings
from webcam_ml.export import ExportedModel, score_pictures
from webcam_ml.labels import INFERENCE_SCHEMA, LabelDatabase, Recorded, record_inferences
from webcam_ml.scoring import Score
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml.training import Checkpoint

# What only a judge knows has no side of people to compare a model with.
LABEL_OF_JUDGE = "label_of_a_judge"

logger = logging.getLogger(__name__)


def report_disagreement(
    onnx_model: StoredArtifact,
    checkpoint: Checkpoint,
    manifest_full: Manifest,
    image_index: ImageIndex,
    *,
    settings: DisagreementSettings,
    store: ArtifactStore,
    database: Callable[[], LabelDatabase],
    images: ImageCache,
    cache: Path,
) -> DisagreementReport:
    """Compare every labelled snapshot with a model, never with a prediction made in-sample.

    With ``record_inferences`` the candidate's scores are written into the label database at the end, when
    the report is made: what the application would record, so train rows get the model file's own
    scores, which the report does not use.

    Args:
        onnx_model: The stored candidate.
        checkpoint: What it was exported from.
        manifest_full: All labelled rows.
        image_index: Their pictures.
        settings: Which predictions, length and order of the report.
        store: Where the live model and older ones are.
        database: Opens the label database; called only if it is written, or read for what was recorded or
            for what was rated again since an earlier report asked.
        images: Where the pictures are.
        cache: Root of the caches.

    Raises:
        WebcamMLError: There is no row to compare, or the setting and the records do not fit.
        LabelDatabaseError: The label database cannot be read or written.
        ValueError: The checkpoint was trained on other rows.
    """
    exported = onnx_model.load(ExportedModel)
    pictured = rows_with_pictures(manifest_full.of_people, image_index)
    labelled = manifest_full.of_people.frame.join(
        pictured.frame.select("snapshot_id", "sha256"), on="snapshot_id", how="left"
    ).join(manifest_full.details, on="snapshot_id", how="left")
    labelled = labelled.with_columns(camera_id=manifest_full.meta.cameras(labelled["webcam_id"]))
    if settings.predictions == "model":
        predictions = candidate_predictions(
            exported, checkpoint, pictured, images=images, cache=cache
        )
    else:
        predictions = recorded_predictions(
            labelled,
            meta=manifest_full.meta,
            model_version=settings.model_version,
            store=store,
            database=_database_of(onnx_model, database),
        )
    report = build_disagreement_report(
        labelled.join(predictions.frame, on="snapshot_id", how="inner"),
        model_version=predictions.meta.model_version,
        target_type=predictions.meta.target_type,
        decision_threshold=predictions.meta.decision_threshold,
        left_out=_with_judged(predictions.left_out, manifest_full),
        said=SaidOfRows.in_manifest(manifest_full),
        thumbnail=images.decode,
        settings=settings,
        asked=asked_before(
            labelled["snapshot_id"],
            model_version=predictions.meta.model_version,
            origin=onnx_model.lineage.database or {},
            store=store,
            database=lambda: _database_of(onnx_model, database),
        ),
    )
    if settings.record_inferences:
        rows, gone = without_gone_pictures(pictured.frame, images)
        record_candidate(
            exported, rows, database=_database_of(onnx_model, database), images=images, cache=cache
        )
        if gone:
            logger.warning("%d rows are not recorded, for their pictures are gone", gone)
    return report


def _with_judged(left_out: Mapping[str, int], manifest: Manifest) -> Mapping[str, int]:
    judged = manifest.frame.filter(pl.col("label_origin") != PEOPLE).height
    return {**left_out, LABEL_OF_JUDGE: judged} if judged else left_out


def record_candidate(
    exported: ExportedModel,
    rows: pl.DataFrame,
    *,
    database: LabelDatabase,
    images: ImageCache,
    cache: Path,
) -> Recorded:
    """Record what a model file says about pictures, under its own name and rounded as in the contract.

    Only the file's own scores are recorded: where the runtime would use the baseline, this raises.

    Args:
        exported: The model file.
        rows: ``snapshot_id`` and the ``sha256`` of its picture.
        database: Where to.
        images: Where the pictures are.
        cache: Root of the caches.

    Raises:
        ModelError: The runtime refuses the file; nothing is written.
        LabelDatabaseError: The database cannot be written.
    """
    version = exported.meta.model_version
    raw = score_pictures(exported, rows["sha256"].to_list(), images=images, cache=cache)
    scores = [Score.of(float(score), model_version=version) for score in raw]
    inferences = pl.DataFrame(
        {
            "snapshot_id": rows["snapshot_id"],
            "raw_score": [score.raw_score for score in scores],
            "ai_rating": [score.ai_rating for score in scores],
        },
        schema=INFERENCE_SCHEMA,
    )
    recorded = record_inferences(database, inferences, model_version=version)
    logger.info(
        "recorded under %s in %s: %d new, %d changed, %d unchanged",
        version, database, recorded.new, recorded.changed, recorded.unchanged,
    )  # fmt: skip
    return recorded


def _database_of(model: StoredArtifact, connect: Callable[[], LabelDatabase]) -> LabelDatabase:
    """Open the label database, if it is the one that the labels came from."""
    database = connect()
    database.require_origin(model.lineage.database or {})
    return database
