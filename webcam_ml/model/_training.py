"""From rows with pictures to a checkpoint, and from a checkpoint to predictions."""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.dataset import ExportMeta, RowsWithPictures, TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.model._array_cache import ImageArray
from webcam_ml.model._backbone_graph import (
    BackboneGraph,
    BackboneSpec,
    prepare_backbone,
    restore_backbone,
)
from webcam_ml.model._backbones import weights_identity
from webcam_ml.model._calibration import PlattScaling, best_f1_threshold, fit_platt
from webcam_ml.model._checkpoint import PREDICTIONS_SCHEMA, Checkpoint, TrainedModel
from webcam_ml.model._features import Features, extract_features
from webcam_ml.model._probe import ClassWeight, LinearHead, Probe, fit_channel_means, fit_probe

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Strategy = Literal["linear_probe"]
Decode = Callable[[str], ImageArray]


@dataclass(frozen=True)
class TrainingSettings:
    """How a checkpoint is trained.

    Attributes:
        backbone: Which features.
        strategy: `linear_probe`: a linear head on the frozen backbone.
        class_weight: `balanced` weighs rare positives up while fitting; calibration undoes the
            shift in probabilities, the ranking stays.

    Raises:
        WebcamMLError: An unknown strategy or class weight.
    """

    backbone: BackboneSpec
    strategy: Strategy = "linear_probe"
    class_weight: ClassWeight = "none"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("strategy", self.strategy, get_args(Strategy)),
            ("class_weight", self.class_weight, get_args(ClassWeight)),
        ):
            if value not in known:
                raise WebcamMLError(f"{name} {value!r} is unknown: choose {' or '.join(known)}")


@dataclass(frozen=True)
class TrainingResult:
    """A checkpoint, and how much of the work was new (which is not part of it)."""

    checkpoint: Checkpoint
    features_computed: int
    features_reused: int


@dataclass(frozen=True)
class Predictions:
    """Scores of rows, in their order.

    Attributes:
        raw_score: [rows] in 0–1.
        uncalibrated_score: The same before calibration; None for regression.
        channel_means_score: What the trivial baseline says, on the same scale.
        features_computed: Pictures that went through the backbone now.
        features_reused: Pictures whose features were kept.
    """

    raw_score: Array
    uncalibrated_score: Array | None
    channel_means_score: Array
    features_computed: int
    features_reused: int


def train(
    train_rows: RowsWithPictures,
    val_rows: RowsWithPictures,
    *,
    meta: ExportMeta,
    settings: TrainingSettings,
    decode: Decode,
    cache: Path,
) -> TrainingResult:
    """Train a linear probe; nothing here has ever seen a test row.

    Head and penalty come from train, calibration from out-of-fold train and validation rows, the
    decision threshold from validation.

    Args:
        train_rows: Rows of the training split whose pictures could be read.
        val_rows: The same of the validation split.
        meta: How the manifest was made: what the model is asked, and from which labels.
        settings: How to train.
        decode: Turns the SHA-256 of a picture into uint8 RGB [height, width, 3].
        cache: Root of the caches of backbones and features.

    Raises:
        WebcamMLError: The rows cannot be learned from, or weights cannot be had.
    """
    target_type = meta.target_type
    _require_learnable(train_rows, val_rows, target_type)
    binary = target_type == "binary"
    graph = prepare_backbone(settings.backbone, cache=cache)
    rows = pl.concat([train_rows.frame, val_rows.frame])
    features = extract_features(graph, rows["sha256"].to_list(), decode=decode, cache=cache)
    is_train = np.arange(rows.height) < train_rows.frame.height
    target = _model_target(rows, target_type)
    logger.info(
        "choosing a head on %d rows of %d features", is_train.sum(), features.values.shape[1]
    )
    probe = fit_probe(
        features.values[is_train],
        target[is_train],
        rows["webcam_id"].to_numpy()[is_train],
        binary=binary,
        class_weight=settings.class_weight,
        random_state=settings.backbone.random_state,
    )
    unseen = np.concatenate([probe.out_of_fold, probe.head(features.values[~is_train])])
    calibration = fit_platt(unseen, target) if binary else None
    model = TrainedModel(
        model_name=settings.backbone.model_name,
        image_size=settings.backbone.image_size,
        target_type=target_type,
        backbone_key=graph.key,
        backbone=_state(graph),
        head=_float32(_calibrated(probe.head, calibration)),
        calibration=calibration,
        decision_threshold=None,
        channel_means=_float32(
            fit_channel_means(features.channel_means[is_train], target[is_train], binary=binary)
        ),
    )
    raw_score = _unseen_scores(model, unseen)
    if binary:
        threshold = best_f1_threshold(raw_score[~is_train], target[~is_train])
        model = replace(model, decision_threshold=threshold)
    checkpoint = Checkpoint(
        weights=model.to_bytes(),
        summary={
            "labels_sha256": meta.labels_sha256,
            **_summary(settings, train_rows, val_rows, probe=probe, model=model),
        },
        predictions=_predictions(rows, raw_score, is_train),
    )
    return TrainingResult(checkpoint, features.computed, features.reused)


def predict(
    checkpoint: Checkpoint, rows: pl.DataFrame, *, decode: Decode, cache: Path
) -> Predictions:
    """Score rows by a checkpoint, through the same features that it was trained on.

    Args:
        checkpoint: The model.
        rows: With a column `sha256` that names each row's picture.
        decode: Turns such a digest into uint8 RGB [height, width, 3].
        cache: Root of the caches of backbones and features.
    """
    model = checkpoint.model
    graph = restore_backbone(
        key=model.backbone_key,
        model_name=model.model_name,
        image_size=model.image_size,
        state=model.backbone,
        cache=cache,
    )
    features: Features = extract_features(
        graph, rows["sha256"].to_list(), decode=decode, cache=cache
    )
    return Predictions(
        raw_score=model.raw_score(features.values),
        uncalibrated_score=model.uncalibrated_score(features.values),
        channel_means_score=model.channel_means_score(features.channel_means),
        features_computed=features.computed,
        features_reused=features.reused,
    )


def _require_learnable(
    train_rows: RowsWithPictures, val_rows: RowsWithPictures, target_type: TargetType
) -> None:
    for name, rows in (("train", train_rows), ("val", val_rows)):
        left_out = sum(rows.left_out.values())
        without = (
            f" after {left_out} rows without a readable picture were left out" if left_out else ""
        )
        if rows.frame.is_empty():
            raise WebcamMLError(
                f"the {name} split has no rows{without}: see the failures of image_index"
            )
        if target_type == "binary" and rows.frame["target_label"].n_unique() < 2:
            only = "positive" if rows.frame["target_label"][0] else "negative"
            raise WebcamMLError(
                f"all {rows.frame.height} {name} rows are {only}{without}: a classifier needs both "
                "classes. Move binary_threshold (manifest_full) or rate more snapshots"
            )


def _model_target(rows: pl.DataFrame, target_type: TargetType) -> Array:
    target = rows["target_label"].to_numpy().astype(np.float64)
    return target if target_type == "binary" else (target - 1.0) / 4.0


def _calibrated(head: LinearHead, calibration: PlattScaling | None) -> LinearHead:
    if calibration is None:
        return head
    return head.scaled(calibration.slope, calibration.intercept)


def _float32(head: LinearHead) -> LinearHead:
    """Round to what best.pt and the exported graph hold, so that all three score alike."""
    return LinearHead(
        head.weight.astype(np.float32).astype(np.float64), float(np.float32(head.bias))
    )


def _unseen_scores(model: TrainedModel, value: Array) -> Array:
    if model.calibration is not None:
        return model.calibration(value)
    return np.clip(value, 0.0, 1.0)


def _state(graph: BackboneGraph) -> Mapping[str, Any]:
    import torch

    state: Mapping[str, Any] = torch.load(io.BytesIO(graph.state), weights_only=True)
    return state


def _predictions(
    rows: pl.DataFrame, raw_score: Array, is_train: npt.NDArray[np.bool_]
) -> pl.DataFrame:
    return (
        rows.select(
            "snapshot_id",
            "webcam_id",
            "split",
            pl.col("target_label").alias("target"),
            pl.Series("raw_score", raw_score),
            pl.Series("kind", np.where(is_train, "out_of_fold", "held_out")),
        )
        .cast(PREDICTIONS_SCHEMA)  # type: ignore[arg-type]  # a dict is invariant in its keys
        .sort("snapshot_id")
    )


def _summary(
    settings: TrainingSettings,
    train_rows: RowsWithPictures,
    val_rows: RowsWithPictures,
    *,
    probe: Probe,
    model: TrainedModel,
) -> dict[str, Any]:
    spec, target_type = settings.backbone, model.target_type
    labels = train_rows.frame["target_label"].to_numpy()
    if target_type == "binary":
        baselines = {"prior": float(labels.mean())}
    else:
        baselines = {"median": float(np.median(labels)), "mean": float(labels.mean())}
    calibration = model.calibration
    return {
        "target_type": target_type,
        "strategy": settings.strategy,
        "model_name": spec.model_name,
        "weights": weights_identity(spec.weights, random_state=spec.random_state),
        "image_size": spec.image_size,
        "random_state": spec.random_state,
        "class_weight": settings.class_weight,
        "rows": {"train": train_rows.frame.height, "val": val_rows.frame.height},
        "webcams": {
            "train": train_rows.frame["webcam_id"].n_unique(),
            "val": val_rows.frame["webcam_id"].n_unique(),
        },
        "left_out": {"train": dict(train_rows.left_out), "val": dict(val_rows.left_out)},
        "head": {
            "kind": "logistic regression" if target_type == "binary" else "ridge regression",
            "penalty": probe.penalty,
            "folds": probe.folds,
            "search": [
                {"penalty": penalty, "out_of_fold_loss": loss} for penalty, loss in probe.search
            ],
        },
        "calibration": None
        if calibration is None
        else {"slope": calibration.slope, "intercept": calibration.intercept},
        "decision_threshold": model.decision_threshold,
        "baselines": baselines,
    }
