"""What ratings are compared with: the candidate's predictions, or what the application recorded.

Never a prediction made in-sample: a model agrees with the errors that it was trained on, so that
they would hardly be found.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from webcam_ml.contracts import PREDICTIONS_TABLE, rating_of
from webcam_ml.dataset import ExportMeta, RowsWithPictures
from webcam_ml.dataset.images import DamagedImageError, ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import ExportedModel, ModelMeta, score_pictures
from webcam_ml.labels import LabelDatabase, count_inferences, read_inferences
from webcam_ml.live import live_version, stored_models
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml.training import PREDICTIONS_FILE, Checkpoint

logger = logging.getLogger(__name__)

# Why a labelled row has no prediction to compare with; beside the reasons of the image index.
PICTURE_GONE = "picture_gone_from_cache"
NOT_SAMPLED = "beyond_what_is_trained_on"
NOT_RECORDED = "not_recorded"
TRAINED_ON = "version_was_trained_on_it"
UNUSABLE = "recorded_score_unusable"
# Two roundings to two decimals, ours and the application's, differ by one hundredth at most.
LARGEST_ROUNDING = 0.011


@dataclass(frozen=True)
class Predictions:
    """Scores to compare ratings with.

    Attributes:
        frame: ``snapshot_id``, ``raw_score``, ``prediction_kind``.
        meta: The model that gave them.
        left_out: How many labelled rows have none, by reason.
    """

    frame: pl.DataFrame
    meta: ModelMeta
    left_out: Mapping[str, int]


def candidate_predictions(
    exported: ExportedModel,
    checkpoint: Checkpoint,
    pictured: RowsWithPictures,
    *,
    images: ImageCache,
    cache: Path,
) -> Predictions:
    """Predict every labelled row by a model that has not seen its webcam.

    Validation and test rows are scored by the model file through the runtime, train rows take the
    checkpoint's out-of-fold predictions, which not all have where there are more rows than are
    trained on. Of a fine-tuned model these are the probe's, marked so.

    Args:
        exported: The model file.
        checkpoint: What it was exported from.
        pictured: All labelled rows with a picture.
        images: Where the pictures are.
        cache: Root of the caches.

    Raises:
        ValueError: The checkpoint was trained on other rows.
    """
    is_train = pl.col("split") == "train"
    out_of_fold = checkpoint.predictions.filter(is_train).select(
        "snapshot_id", "raw_score", pl.col("kind").alias("prediction_kind")
    )
    train = pictured.frame.filter(is_train)
    without = train.join(out_of_fold, on="snapshot_id", how="anti").height
    if without and not checkpoint.is_of_subsample:
        raise ValueError(f"{without} train rows have no prediction of this checkpoint")
    held_out, gone = without_gone_pictures(pictured.frame.filter(~is_train), images)
    scores = score_pictures(exported, held_out["sha256"].to_list(), images=images, cache=cache)
    by_model = held_out.select("snapshot_id", pl.Series("raw_score", scores, dtype=pl.Float64))
    return Predictions(
        frame=pl.concat(
            [
                out_of_fold,
                by_model.with_columns(prediction_kind=pl.lit("model")),
            ]
        ),
        meta=exported.meta,
        left_out={
            **pictured.left_out,
            **_counted(**{PICTURE_GONE: gone, NOT_SAMPLED: without}),
        },
    )


def recorded_predictions(
    labelled: pl.DataFrame,
    *,
    meta: ExportMeta,
    model_version: str,
    store: ArtifactStore,
    database: LabelDatabase,
) -> Predictions:
    """Take what the application recorded under one version, except for rows it was trained on.

    Rows of webcams from which the version was trained on other pictures are kept, as kind
    ``recorded_known_webcam``: production scores such webcams every day, but their near-duplicates may
    have taught the model the same error.

    Args:
        labelled: All labelled rows.
        meta: How they were made: versions of another target type are refused, and a camera that was
            known under one id is known under the other.
        model_version: Whose records; empty for the live model's.
        store: Where the models and what they were trained on are.
        database: Where the records are.

    Raises:
        LabelDatabaseError: The database has no such table, or cannot be read.
        WebcamMLError: No version is meant, or it is of another target type, unknown to the store or
            without rows; the message lists the versions with rows.
    """
    target_type = meta.target_type
    counts, models = count_inferences(database), stored_models(store)
    there = f"Recorded are: {_listed(counts, models)}"
    version = model_version or live_version(store, target_type)
    if version is None:
        raise WebcamMLError(
            f"no {target_type} model is live, so there is none to audit. {there}. Set model_version to "
            "one of them, or predictions to model"
        )
    if version not in models:
        raise WebcamMLError(
            f"model_version {version} is no model of {store.address}. What it was asked and which rows it "
            "was trained on is not known, so that its scores might be of another target type, or "
            f"learned by heart: they are not compared. {there}"
        )
    model = models[version].load(ExportedModel).meta
    if model.target_type != target_type:
        raise WebcamMLError(
            f"model_version {version} is a {model.target_type} model, and the manifest is made for "
            f"{target_type}; the two are never mixed. {there}. Set model_version to a {target_type} "
            f"model, or materialize manifest_full and what follows with target_type: {model.target_type}"
        )
    if version not in counts:
        raise WebcamMLError(
            f"nothing is recorded under {version} in {database}. {there}. Set model_version to one "
            "of them, let the application score with this model, or record the candidate's scores with "
            "record_inferences: true"
        )
    seen = _trained_on(models[version], store)
    return _unseen(
        labelled.select("snapshot_id", camera_id=meta.cameras(labelled["webcam_id"])),
        read_inferences(database, version),
        seen=seen.select("snapshot_id", camera_id=meta.cameras(seen["webcam_id"])),
        model=model,
    )


def without_gone_pictures(rows: pl.DataFrame, images: ImageCache) -> tuple[pl.DataFrame, int]:
    """Keep the rows whose picture can still be read, and count the others.

    The cache may be deleted at any time. What it lost says nothing about labels, so a report goes on
    without it.

    Args:
        rows: With a column ``sha256``.
        images: Where the pictures are.
    """
    gone: list[str] = []
    for digest in rows["sha256"].unique(maintain_order=True):
        try:
            images.read(digest)
        except DamagedImageError as error:
            if not gone:
                logger.warning("pictures are gone since image_index was made, the first: %s", error)
            gone.append(digest)
    kept = rows.filter(~pl.col("sha256").is_in(gone))
    return kept, rows.height - kept.height


def _unseen(
    labelled: pl.DataFrame, records: pl.DataFrame, *, seen: pl.DataFrame, model: ModelMeta
) -> Predictions:
    recorded = labelled.join(records, on="snapshot_id", how="inner")
    trained_on = pl.col("snapshot_id").is_in(seen["snapshot_id"].implode())
    rest = recorded.filter(~trained_on)
    rating = rating_of(pl.col("raw_score"))
    usable = (
        pl.col("raw_score").is_between(0, 1)
        & ((pl.col("ai_rating") - rating).abs() <= LARGEST_ROUNDING)
    ).fill_null(False)
    known_webcam = pl.col("camera_id").is_in(seen["camera_id"].unique().implode())
    frame = rest.filter(usable).select(
        "snapshot_id",
        "raw_score",
        prediction_kind=pl.when(known_webcam)
        .then(pl.lit("recorded_known_webcam"))
        .otherwise(pl.lit("recorded")),
    )
    return Predictions(
        frame=frame,
        meta=model,
        left_out=_counted(
            **{
                NOT_RECORDED: labelled.height - recorded.height,
                TRAINED_ON: recorded.height - rest.height,
                UNUSABLE: rest.height - frame.height,
            }
        ),
    )


def _trained_on(model: StoredArtifact, store: ArtifactStore) -> pl.DataFrame:
    """Snapshots and webcams that the head of a stored model was fitted on."""
    checkpoint = store.find("checkpoint", model.lineage.inputs["checkpoint"])
    checkpoint.verify()
    rows = PREDICTIONS_TABLE.read(
        checkpoint.folder / PREDICTIONS_FILE, "snapshot_id", "webcam_id", "split"
    )
    return rows.filter(pl.col("split") == "train")


def _listed(counts: Mapping[str, int], models: Mapping[str, StoredArtifact]) -> str:
    return (
        ", ".join(
            f"{version} ({rows:,} rows{'' if version in models else ', not a model of this store'})"
            for version, rows in counts.items()
        )
        or "none"
    )


def _counted(**reasons: int) -> dict[str, int]:
    return {reason: rows for reason, rows in reasons.items() if rows}
