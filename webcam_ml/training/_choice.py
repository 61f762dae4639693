"""`model_name: auto`: which of several backbones, by what the training webcams say.

Each candidate within the budget gets its features and a head. The best is the one with the least
out-of-fold loss; chosen is the cheapest whose loss exceeds that by no more than one standard error of
the difference, which is paired over webcams (the one-standard-error rule of Breiman et al.,
Classification and Regression Trees, 1984). No row of validation or test comes here.
"""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import DocumentError, Target
from webcam_ml.dataset import ExportMeta
from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import (
    AUTO,
    BackboneSpec,
    Cost,
    extract_features,
    measure_cost,
    prepare_backbone,
)
from webcam_ml.metrics import Interval, WebcamEstimate, mean_over_webcams
from webcam_ml.store import ArtifactDamagedError, ArtifactStore, StoredArtifact
from webcam_ml.training._checkpoint import TRAIN_SUMMARY
from webcam_ml.training._probe import JudgedRows, fit_probe
from webcam_ml.training._settings import TrainingSettings

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

ASSET = "checkpoint"
KEPT_FOR = timedelta(days=30)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Candidate:
    """What was found of one backbone.

    Attributes:
        spec: The backbone.
        cost: What a picture and the file cost.
        within_budget: Whether it may be chosen; if not, nothing else was computed of it.
        loss: Mean out-of-fold loss; None beyond the budget.
        difference: Its loss less that of the best, over webcams; likewise.
    """

    spec: BackboneSpec
    cost: Cost
    within_budget: bool
    loss: float | None = None
    difference: WebcamEstimate | None = None

    @property
    def cannot_be_told_from_best(self) -> bool:
        """Whether its loss exceeds the best one by at most one standard error of the difference."""
        if self.difference is None:
            return False
        assert self.difference.value is not None
        return self.difference.value <= (self.difference.standard_error or 0.0)

    def __str__(self) -> str:
        """Name it with its cost."""
        return f"{self.spec.model_name} ({self.cost.milliseconds:g} ms, {self.cost.megabytes:g} MB)"


@dataclass(frozen=True)
class Choice:
    """A backbone, and why that one.

    Attributes:
        spec: The backbone.
        account: What train_summary.json says under `auto`: the question, the labels that answered it,
            the candidates and the verdict.
        kept_from: The stored checkpoint whose choice this is; None if it was made now.
        features_computed: Pictures that went through a candidate now, counted once for each.
        features_reused: Pictures whose features of a candidate were kept, likewise.
    """

    spec: BackboneSpec
    account: Mapping[str, Any]
    kept_from: str | None = None
    features_computed: int = 0
    features_reused: int = 0


def choose_backbone(
    train_rows: pl.DataFrame,
    judged_rows: pl.DataFrame,
    *,
    meta: ExportMeta,
    settings: TrainingSettings,
    images: ImageCache,
    cache: Path,
) -> Choice:
    """Choose one of the candidates.

    Args:
        train_rows: Rows of people, of the training split.
        judged_rows: Rows that only a judge knows, or of no webcam; learned from and nothing else.
        meta: How the manifest was made.
        settings: With `model_name: auto`.
        images: Where the pictures are, and who computes what is made of them.
        cache: Root of the caches.

    Raises:
        WebcamMLError: No candidate is within the budget, the rows cannot be learned from, or weights
            cannot be had.
    """
    candidates: list[Candidate] = []
    values_of: dict[str, Array] = {}
    computed = reused = 0
    asked = meta.asked
    digests = [*train_rows["sha256"], *judged_rows["sha256"]]
    target = asked.to_head(train_rows["target_label"].to_numpy().astype(np.float64))
    webcams = train_rows["camera_id"].to_numpy()
    for spec in settings.backbones:
        graph = prepare_backbone(spec, cache=cache)
        cost = measure_cost(graph, cache=cache)
        candidate = Candidate(spec, cost, _is_within_budget(cost, settings))
        if candidate.within_budget:
            features = extract_features(graph, digests, images=images, cache=cache)
            computed, reused = computed + features.computed, reused + features.reused
            probe = fit_probe(
                features.values[: train_rows.height],
                target,
                webcams,
                asked=asked,
                class_weight=settings.class_weight,
                random_state=spec.random_state,
                judged=JudgedRows.of(
                    judged_rows, features.values[train_rows.height :], asked=asked
                ),
            )
            values_of[spec.model_name] = probe.out_of_fold
            candidate = replace(candidate, loss=probe.loss)
            logger.info("%s: out-of-fold %s %.4f", candidate, asked.loss_name, probe.loss)
        else:
            logger.info("%s is beyond the budget", candidate)
        candidates.append(candidate)
    if not values_of:
        raise WebcamMLError(_nobody_meets(candidates, settings))
    candidates, chosen = compare_candidates(
        candidates,
        values_of,
        target,
        webcams,
        asked=asked,
        random_state=settings.random_state,
    )
    account = {
        "question": _question(settings, meta),
        "labels_sha256": meta.labels_sha256,
        "chosen": chosen.spec.model_name,
        "verdict": _verdict(chosen, candidates, asked.loss_name),
        "candidates": [
            {
                "model_name": one.spec.model_name,
                "image_size": one.spec.image_size,
                "milliseconds": one.cost.milliseconds,
                "megabytes": one.cost.megabytes,
                "within_budget": one.within_budget,
                "out_of_fold_loss": None if one.loss is None else round(one.loss, 6),
                "difference_to_best": _interval(one.difference),
                "cannot_be_told_from_best": one.cannot_be_told_from_best,
                "chosen": one is chosen,
            }
            for one in candidates
        ],
    }
    logger.info("%s", account["verdict"])
    return Choice(chosen.spec, account, features_computed=computed, features_reused=reused)


def compare_candidates(
    candidates: Sequence[Candidate],
    values_of: Mapping[str, Array],
    target: Array,
    webcams: npt.NDArray[np.int64],
    *,
    asked: Target,
    random_state: int,
) -> tuple[list[Candidate], Candidate]:
    """Compare candidates with the best of them, and take the cheapest that cannot be told from it.

    Args:
        candidates: Of those within the budget the loss is known.
        values_of: `model_name` → [rows] out-of-fold values of the head, of those within the budget.
        target: [rows] on the head's 0–1.
        webcams: [rows] which rows share a camera.
        asked: By which loss.
        random_state: Seed of the resamples of the webcams.

    Returns:
        The candidates with their `difference`, and the chosen one.
    """
    best = _best(candidates)
    groups = [webcams == webcam for webcam in np.unique(webcams)]

    def loss_by_webcam(name: str) -> Array:
        # Whole webcams are resampled, so the mean of its rows may stand for each of them.
        losses = np.empty(len(target))
        for rows in groups:
            losses[rows] = asked.loss(target[rows], values_of[name][rows])
        return losses

    of_best = loss_by_webcam(best.spec.model_name)
    compared = [
        one
        if one.loss is None
        else replace(
            one,
            difference=mean_over_webcams(
                loss_by_webcam(one.spec.model_name) - of_best,
                webcam_id=webcams,
                random_state=random_state,
            ),
        )
        for one in candidates
    ]
    alike = (one for one in compared if one.cannot_be_told_from_best)
    return compared, min(alike, key=_by_cost)


def _best(candidates: Sequence[Candidate]) -> Candidate:
    return min(
        (one for one in candidates if one.loss is not None),
        key=lambda one: (one.loss, *_by_cost(one)),
    )


def _by_cost(candidate: Candidate) -> tuple[float, float, str]:
    cost = candidate.cost
    return cost.milliseconds, cost.megabytes, candidate.spec.model_name


def earlier_choice(
    store: ArtifactStore,
    *,
    settings: TrainingSettings,
    meta: ExportMeta,
    origin: Mapping[str, Any] | None,
) -> Choice | None:
    """Find the choice that `reconsider` says to keep; None if there is none, or it has to be made anew.

    It is that of the newest stored checkpoint which was asked the same question (candidates, budget,
    weights, sizes, target, whose labels and split) on labels of the same database. A choice is as old as the
    oldest version that has it.

    Args:
        store: Where earlier checkpoints are.
        settings: What is asked now.
        meta: How the manifest was made.
        origin: The label database, as lineage.json describes it.
    """
    how = settings.auto.reconsider
    if settings.model_name != AUTO or how == "always":
        return None
    question = _question(settings, meta)
    found: Choice | None = None
    made = datetime.now(UTC)
    for version in store.versions(ASSET):
        try:
            stored = store.named(ASSET, version)
            account = TRAIN_SUMMARY.read(stored.folder_with(TRAIN_SUMMARY.file)).get("auto")
            if account is None or account["question"] != question:
                continue
            if stored.lineage.database != origin:
                continue
            stored.verify()
        except (ArtifactDamagedError, DocumentError) as error:
            logger.warning("what this checkpoint chose is passed over: %s", error)
            continue
        stored_at = datetime.fromisoformat(stored.lineage.created_at)
        if found is None:
            (spec,) = (one for one in settings.backbones if one.model_name == account["chosen"])
            made, found = stored_at, Choice(spec, account, kept_from=version)
        elif account == found.account and stored_at < made:
            made, found = stored_at, replace(found, kept_from=version)
    if found is None or (how == "monthly" and datetime.now(UTC) - made > KEPT_FOR):
        return None
    logger.info("%s is kept from %s: reconsider is %s", found.spec.model_name, found.kept_from, how)
    return found


def dating_choices(store: ArtifactStore, kept: Collection[str]) -> set[str]:
    """Find the checkpoints without which the choices of others would seem younger than they are.

    Args:
        store: Where checkpoints are.
        kept: `data_version` of those that stay.

    Returns:
        `data_version` of the oldest one of each choice that one of `kept` has.
    """
    oldest: dict[str, StoredArtifact] = {}
    of_kept: set[str] = set()
    for version in store.versions(ASSET):
        try:
            stored = store.named(ASSET, version)
            account = TRAIN_SUMMARY.read(stored.folder_with(TRAIN_SUMMARY.file)).get("auto")
        except (ArtifactDamagedError, DocumentError) as error:
            logger.warning("what this checkpoint chose is passed over: %s", error)
            continue
        if account is None:
            continue
        choice = json.dumps(account, sort_keys=True)
        first = oldest.setdefault(choice, stored)
        if stored.lineage.created_at < first.lineage.created_at:
            oldest[choice] = stored
        if stored.data_version in kept:
            of_kept.add(choice)
    return {oldest[choice].data_version for choice in of_kept}


def _question(settings: TrainingSettings, meta: ExportMeta) -> dict[str, Any]:
    """What a choice answers; another question needs another choice."""
    asked = {
        **settings.auto.model_dump(mode="json", exclude={"reconsider"}),
        **settings.model_dump(mode="json", exclude={"model_name", "auto", "strategy", "finetune"}),
    }
    definition = {"target_type": meta.target_type, "binary_threshold": meta.binary_threshold}
    # A webcam that another split trained on may now be one of test.
    split = meta.split_config.model_dump(mode="json")
    return {**asked, **definition, **meta.query.to_dict(), "split": split}


def _is_within_budget(cost: Cost, settings: TrainingSettings) -> bool:
    budget = settings.auto
    return (budget.max_milliseconds is None or cost.milliseconds <= budget.max_milliseconds) and (
        budget.max_megabytes is None or cost.megabytes <= budget.max_megabytes
    )


def _nobody_meets(candidates: Sequence[Candidate], settings: TrainingSettings) -> str:
    limits = [
        f"{name} {limit:g}"
        for name in ("max_milliseconds", "max_megabytes")
        if (limit := getattr(settings.auto, name)) is not None
    ]
    return (
        f"no candidate is within {' and '.join(limits)}: {', '.join(map(str, candidates))}, for one "
        "picture on one thread of this machine. Raise the budget (auto), or add a smaller candidate"
    )


def _verdict(chosen: Candidate, candidates: Sequence[Candidate], loss: str) -> str:
    best = _best(candidates)
    alike = sum(one.cannot_be_told_from_best for one in candidates)
    if alike == 1:
        why = (
            f"has the least out-of-fold {loss}, and no other comes within one standard error of it"
        )
    elif chosen.spec == best.spec:
        why = f"has the least out-of-fold {loss}, and is the cheapest of {alike} that cannot be told apart"
    else:
        why = (
            f"is the cheapest of {alike} that cannot be told from the best, {best}: its out-of-fold "
            f"{loss} is larger by no more than one standard error of the difference"
        )
    beyond = sum(not one.within_budget for one in candidates)
    return f"{chosen} {why}" + (f"; {beyond} are beyond the budget" if beyond else "")


def _interval(difference: WebcamEstimate | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    interval: Interval = difference.interval(CONFIDENCE)
    error = difference.standard_error
    return {
        **interval.model_dump(),
        "standard_error": None if error is None else round(error, 6),
    }
