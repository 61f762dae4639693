"""From rows with pictures to a checkpoint, and from a checkpoint to predictions."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import PREDICTIONS_TABLE, TargetType, target_of
from webcam_ml.dataset import ExportMeta, RowsWithPictures
from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import (
    AUTO,
    BackboneGraph,
    BackboneSpec,
    Features,
    extract_features,
    prepare_backbone,
    weights_identity,
)
from webcam_ml.training._calibration import best_f1_threshold, fit_platt
from webcam_ml.training._challenge import Challenge, challenge
from webcam_ml.training._checkpoint import SUBSAMPLED_FROM, Checkpoint, TrainedModel
from webcam_ml.training._choice import Choice, choose_backbone
from webcam_ml.training._finetune import FineTuneTask, machine_for, require_full_batch
from webcam_ml.training._loss_curve import draw_loss_curve
from webcam_ml.training._probe import JudgedRows, Probe, fit_channel_means, fit_probe
from webcam_ml.training._settings import ClassWeight, TrainingSettings

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

# A head on more is not better (docs/scaling.md), and takes 21 kB of memory a row.
MAX_TRAIN_ROWS = 100_000


@dataclass(frozen=True)
class TrainingResult:
    """A checkpoint, and what is not part of it.

    Attributes:
        checkpoint: The model that was kept.
        features_computed: Pictures that went through a backbone now.
        features_reused: Pictures whose features were kept.
        challenge: What fine-tuning brought, also where the probe stayed; None without it.
        choice: How the backbone was chosen; None where it was named.
    """

    checkpoint: Checkpoint
    features_computed: int
    features_reused: int
    challenge: Challenge | None = None
    choice: Choice | None = None


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
    images: ImageCache,
    cache: Path,
    choice: Choice | None = None,
) -> TrainingResult:
    """Train a linear probe, and fine-tune from it if asked; no test row is used here.

    With `model_name: auto` the backbone is chosen first, on train alone; see `choose_backbone`. Of the
    probe, head and penalty come from train, calibration from out-of-fold train and validation
    rows, the decision threshold from validation. A fine-tuned network takes its weights from train
    and all the rest, the choice of its epoch included, from validation.

    Args:
        train_rows: Rows of the training split whose pictures could be read; those that only a judge
            knows, or that are of no webcam, are targets of the head with their weight, and of nothing
            else.
        val_rows: The same of the validation split.
        meta: How the manifest was made: what the model is asked, and from which labels.
        settings: How to train.
        images: Where the pictures are, and who computes what is made of them.
        cache: Root of the caches of backbones and features.
        choice: With `model_name: auto`, what is kept of an earlier training; None: choose anew.

    Raises:
        WebcamMLError: The rows cannot be learned from, no backbone is within the budget, or weights
            cannot be had.
    """
    _require_learnable(train_rows.of_people, val_rows, meta.target_type)
    tunes = settings.strategy == "finetune"
    if tunes:
        # An hour of features must not end at a batch that cannot be filled.
        machine = machine_for(settings.finetune, images.engine)
        require_full_batch(train_rows.frame.height, settings.finetune, machine)
    judged_rows = replace(train_rows, frame=train_rows.judged).at_most(MAX_TRAIN_ROWS).frame
    train_rows = train_rows.of_people
    labelled = train_rows.frame.height
    train_rows = train_rows.at_most(MAX_TRAIN_ROWS)
    if train_rows.frame.height < labelled:
        logger.info(
            "training on %d of %d rows: of each camera equally many, as far as it has them",
            train_rows.frame.height,
            labelled,
        )
    if settings.model_name == AUTO and choice is None:
        choice = choose_backbone(
            train_rows.frame, judged_rows, meta=meta, settings=settings, images=images, cache=cache
        )
    spec = settings.backbones[0] if choice is None else choice.spec
    probed = _train_probe(
        train_rows,
        val_rows,
        judged_rows,
        meta.target_type,
        spec=spec,
        class_weight=settings.class_weight,
        images=images,
        cache=cache,
    )
    challenger = _fine_tune(probed, spec, settings, images=images, cache=cache) if tunes else None
    model, raw_score, kind = probed.model, probed.raw_score, "out_of_fold"
    if challenger is not None and challenger.won:
        assert challenger.model is not None
        assert challenger.val_score is not None
        model, kind = challenger.model, "out_of_fold_probe"
        raw_score = np.concatenate([raw_score[probed.is_train], challenger.val_score])
    summary = {
        "labels_sha256": meta.labels_sha256,
        **_summary(spec, settings, train_rows, val_rows, probe=probed.probe, model=model),
    }
    if train_rows.frame.height < labelled:
        summary[SUBSAMPLED_FROM] = labelled
    if choice is not None:
        summary["auto"] = dict(choice.account)
    if probed.judged is not None:
        judged = probed.judged
        summary["judged"] = {"rows": len(judged.weight), "weight": float(judged.weight.sum())}
    if challenger is not None:
        summary["finetune"] = challenger.summary()
    checkpoint = Checkpoint(
        weights=model.to_bytes(),
        summary=summary,
        predictions=_predictions(
            probed.rows, raw_score, np.where(probed.is_train, kind, "held_out")
        ),
        loss_curve=None if challenger is None else draw_loss_curve(summary["finetune"]),
    )
    computed, reused = probed.features.computed, probed.features.reused
    if challenger is not None:
        computed += challenger.features_computed
    if choice is not None and choice.kept_from is None:
        # The chosen one's features of these pictures were counted when it was chosen.
        again = len({*train_rows.frame["sha256"], *judged_rows["sha256"]})
        computed += choice.features_computed
        reused += choice.features_reused - again
    return TrainingResult(
        checkpoint,
        features_computed=computed,
        features_reused=reused,
        challenge=challenger,
        choice=choice,
    )


def predict(
    checkpoint: Checkpoint, rows: pl.DataFrame, *, images: ImageCache, cache: Path
) -> Predictions:
    """Score rows by a checkpoint, through the same features that it was trained on.

    Args:
        checkpoint: The model.
        rows: With a column `sha256` that names each row's picture.
        images: Where the pictures are, and who computes what is made of them.
        cache: Root of the caches of backbones and features.
    """
    model = checkpoint.model
    graph = model.restore_graph(cache)
    features: Features = extract_features(
        graph, rows["sha256"].to_list(), images=images, cache=cache
    )
    raw, uncalibrated, trivial = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for values, channel_means in features.blocks():
        raw.append(model.raw_score(values))
        if (before := model.uncalibrated_score(values)) is not None:
            uncalibrated.append(before)
        trivial.append(model.channel_means_score(channel_means))
    return Predictions(
        raw_score=np.concatenate(raw),
        uncalibrated_score=None if model.calibration is None else np.concatenate(uncalibrated),
        channel_means_score=np.concatenate(trivial),
        features_computed=features.computed,
        features_reused=features.reused,
    )


@dataclass(frozen=True)
class _Probed:
    """A trained probe, with what was made on the way there.

    Attributes:
        rows: Training rows, then validation rows.
        is_train: [rows] which is which.
        target: [rows] 0 or 1, or ratings scaled to 0–1.
        graph: The backbone.
        features: Of all rows, then of those that only judges know or that are of no webcam.
        judged: Those rows; None if there are none.
        judged_digests: Their pictures.
        probe: The head, without calibration.
        model: The calibrated model.
        raw_score: [rows] its predictions of webcams that it had not seen.
    """

    rows: pl.DataFrame
    is_train: npt.NDArray[np.bool_]
    target: Array
    graph: BackboneGraph
    features: Features
    judged: JudgedRows | None
    judged_digests: Sequence[str]
    probe: Probe
    model: TrainedModel
    raw_score: Array


def _train_probe(
    train_rows: RowsWithPictures,
    val_rows: RowsWithPictures,
    judged_rows: pl.DataFrame,
    target_type: TargetType,
    *,
    spec: BackboneSpec,
    class_weight: ClassWeight,
    images: ImageCache,
    cache: Path,
) -> _Probed:
    asked = target_of(target_type)
    graph = prepare_backbone(spec, cache=cache)
    rows = pl.concat([train_rows.frame, val_rows.frame])
    digests = [*rows["sha256"], *judged_rows["sha256"]]
    features = extract_features(graph, digests, images=images, cache=cache)
    values, channel_means = features.values[: rows.height], features.channel_means[: rows.height]
    is_train = np.arange(rows.height) < train_rows.frame.height
    target = asked.to_head(rows["target_label"].to_numpy().astype(np.float64))
    judged = JudgedRows.of(judged_rows, features.values[rows.height :], asked=asked)
    logger.info(
        "choosing a head on %d rows of %d features, and %d that only judges know",
        is_train.sum(),
        values.shape[1],
        judged_rows.height,
    )
    probe = fit_probe(
        values[is_train],
        target[is_train],
        rows["camera_id"].to_numpy()[is_train],
        asked=asked,
        class_weight=class_weight,
        random_state=spec.random_state,
        judged=judged,
    )
    unseen = np.concatenate([probe.out_of_fold, probe.head(values[~is_train])])
    calibration = fit_platt(unseen, target) if asked.has_classes else None
    model = TrainedModel(
        model_name=spec.model_name,
        image_size=spec.image_size,
        feature_stages=spec.feature_stages,
        store_weights=spec.store_weights,
        target_type=target_type,
        backbone_key=graph.key,
        backbone=graph.state_dict(),
        head=probe.head.calibrated(calibration),
        calibration=calibration,
        decision_threshold=None,
        channel_means=fit_channel_means(
            channel_means[is_train], target[is_train], asked=asked
        ).in_float32(),
    )
    raw_score = _unseen_scores(model, unseen)
    if asked.has_classes:
        threshold = best_f1_threshold(raw_score[~is_train], target[~is_train])
        model = replace(model, decision_threshold=threshold)
    return _Probed(
        rows=rows,
        is_train=is_train,
        target=target,
        graph=graph,
        features=features,
        judged=judged,
        judged_digests=judged_rows["sha256"].to_list(),
        probe=probe,
        model=model,
        raw_score=raw_score,
    )


def _fine_tune(
    probed: _Probed,
    spec: BackboneSpec,
    settings: TrainingSettings,
    *,
    images: ImageCache,
    cache: Path,
) -> Challenge:
    digests, target = probed.rows["sha256"].to_list(), probed.target
    people, judged = int(probed.is_train.sum()), probed.judged
    if judged is not None:
        digests[people:people] = probed.judged_digests
        target = np.concatenate([target[:people], judged.target, target[people:]])
    task = FineTuneTask(
        graph=probed.graph,
        head=probed.probe.head,
        spec=spec,
        digests=digests,
        target=target,
        train_rows=people + len(probed.judged_digests),
        judged_weight=np.zeros(0) if judged is None else judged.weight,
        target_type=probed.model.target_type,
        class_weight=settings.class_weight,
    )
    challenger = challenge(
        probed.model,
        task,
        val_score=probed.raw_score[~probed.is_train],
        val_webcam=probed.rows["camera_id"].to_numpy()[~probed.is_train],
        settings=settings.finetune,
        images=images,
        cache=cache,
    )
    logger.info("%s", challenger.verdict)
    return challenger


def _require_learnable(
    train_rows: RowsWithPictures, val_rows: RowsWithPictures, target_type: TargetType
) -> None:
    for name, rows in (("train", train_rows), ("val", val_rows)):
        left_out = sum(rows.left_out.values())
        without = (
            f" after {left_out} rows without a usable picture were left out" if left_out else ""
        )
        if rows.frame.is_empty():
            raise WebcamMLError(
                f"the {name} split has no rows{without}: see the failures of image_index"
            )
        if target_of(target_type).has_classes and rows.frame["target_label"].n_unique() < 2:
            only = "positive" if rows.frame["target_label"][0] else "negative"
            raise WebcamMLError(
                f"all {rows.frame.height} {name} rows are {only}{without}: a classifier needs both "
                "classes. Move binary_threshold (manifest_full) or rate more snapshots"
            )


def _unseen_scores(model: TrainedModel, value: Array) -> Array:
    if model.calibration is not None:
        return model.calibration(value)
    return model.asked.squash(value)


def _predictions(rows: pl.DataFrame, raw_score: Array, kind: npt.NDArray[np.str_]) -> pl.DataFrame:
    return (
        rows.select(
            "snapshot_id",
            "webcam_id",
            "split",
            pl.col("target_label").alias("target"),
            pl.Series("raw_score", raw_score),
            pl.Series("kind", kind),
        )
        .cast(PREDICTIONS_TABLE.schema)  # type: ignore[arg-type]  # a dict is invariant in its keys
        .sort("snapshot_id")
    )


def _summary(
    spec: BackboneSpec,
    settings: TrainingSettings,
    train_rows: RowsWithPictures,
    val_rows: RowsWithPictures,
    *,
    probe: Probe,
    model: TrainedModel,
) -> dict[str, Any]:
    calibration = model.calibration
    return {
        "target_type": model.target_type,
        "strategy": settings.strategy,
        "model_name": spec.model_name,
        "weights": weights_identity(spec.weights, random_state=spec.random_state),
        "image_size": spec.image_size,
        "feature_stages": spec.feature_stages,
        "store_weights": spec.store_weights,
        "random_state": spec.random_state,
        "class_weight": settings.class_weight,
        "rows": {"train": train_rows.frame.height, "val": val_rows.frame.height},
        "webcams": {
            "train": train_rows.frame["webcam_id"].n_unique(),
            "val": val_rows.frame["webcam_id"].n_unique(),
        },
        "left_out": {"train": dict(train_rows.left_out), "val": dict(val_rows.left_out)},
        "head": {
            "kind": model.asked.head,
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
        "baselines": model.asked.constants_of(train_rows.frame["target_label"].to_numpy()),
    }
