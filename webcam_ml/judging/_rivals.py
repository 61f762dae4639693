"""A candidate beside a model that is or was live, on rows that are new to both."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from webcam_ml.contracts import IMAGE_INDEX_TABLE, MANIFEST_TABLE, DocumentError, target_of
from webcam_ml.dataset import ExportMeta
from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging._changes import changes_between, from_demo, training_facts
from webcam_ml.judging._evidence import JudgedBy, KnownPictures, OnLiveLabels, PairedMetric, Rival
from webcam_ml.judging._pair import CountCandidate, ScoredRows, measure_pair, stored_bound
from webcam_ml.judging._runtime import ModelFile, RuntimeProcess, score_in_runtime
from webcam_ml.labels import LabelQuery
from webcam_ml.metrics import effective_webcams
from webcam_ml.store import ArtifactStore, StoredArtifact

CANDIDATE, RIVAL = "candidate", "rival"
PROBE = "linear_probe"
# Labels mean something else where these differ: whose ratings count, and from how many stars on.
LABEL_DEFINITION = {"binary_threshold", *LabelQuery.model_fields}


@dataclass(frozen=True)
class WasLive:
    """A model that is or was live, as far as a candidate is compared with it.

    Attributes:
        file: Its model.onnx and what that should be.
        onnx_model: data_version of the stored version that it came from.
        quality: The primary metric on the test split of its time, larger is better; None if it was
            not measured.
        judged_by: What it was judged by itself; None if that is not stored.
        fetch: Brings its file to this machine, where the store is elsewhere.
    """

    file: ModelFile
    onnx_model: str
    quality: float | None
    judged_by: JudgedBy | None = None
    fetch: Callable[[], None] = field(default=lambda: None, compare=False)

    @property
    def version(self) -> str:
        """The model_version."""
        return self.file.model_version


@dataclass(frozen=True)
class CandidateUnderTest:
    """A candidate with all that it is measured on and by.

    `pictures` has snapshot_id and sha256 of all rows of validation and test that have a picture,
    those that are left out too.
    """

    stored: StoredArtifact
    exported: ExportedModel
    labels: ExportMeta
    rows: ScoredRows
    pictures: pl.DataFrame
    images: ImageCache
    store: ArtifactStore
    count_candidate: CountCandidate

    @property
    def was_measured(self) -> bool:
        return CANDIDATE in self.rows.scores

    @property
    def test(self) -> ScoredRows:
        return self.rows.of_splits(["test"], but_cameras=())


class MeasuredRival(NamedTuple):
    """A model beside the candidate, and the rows with the scores of both.

    Attributes:
        rival: What was measured on test.
        pair: The rows of the pair that decides.
        test: The rows of test that are new to both.
    """

    rival: Rival
    pair: ScoredRows
    test: ScoredRows


def models_before(standing: Sequence[WasLive], model_version: str) -> Iterator[WasLive]:
    """Yield the models that were live before the candidate, last the one to compare it with."""
    live = standing[-1].version if standing else None
    for number, entry in enumerate(standing, start=1):
        if number < len(standing) or live != model_version:
            yield entry


def best_ever(rivals: Sequence[WasLive], model_version: str) -> WasLive | None:
    """Find the earlier model that did best when it went live, unless it is the last of them.

    Each was measured on the test split of its time, so this only chooses which one is measured
    again; scoring all that were ever live would cost more with every promotion.
    """
    if not rivals:
        return None
    best = max(reversed(rivals), key=lambda one: -np.inf if one.quality is None else one.quality)
    if best.version in (rivals[-1].version, model_version):
        return None
    return best


def measure_champion(champion: WasLive, tested: CandidateUnderTest) -> tuple[Rival, ScoredRows]:
    """Measure the live model on test, and on the pair that decides; also give the rows of test."""
    rival, rows, test = measure_rival(champion, tested)
    stored = tested.store.find("onnx_model", champion.onnx_model)
    pair = on_live_labels = None
    if CANDIDATE in rows.scores and rows.rows:
        counted = tested.count_candidate(
            tested.exported.meta.model_version, tested.exported.sha256, rows.sha256
        )
        pair = measure_pair(rows, CANDIDATE, RIVAL, counted)
        on_live_labels = _on_live_labels(rows, stored, tested)
    judged = rival.model_copy(
        update={
            "pair": pair,
            "on_live_labels": on_live_labels,
            "judged_by": champion.judged_by,
            "known_pictures": _known_pictures(stored, tested),
        }
    )
    return judged, test


def _known_pictures(live: StoredArtifact, tested: CandidateUnderTest) -> KnownPictures:
    """Compare the pictures of validation and test with those of the same snapshots back then."""
    index = tested.store.find("image_index", live.lineage.ancestors["image_index"])
    index.verify()
    then = IMAGE_INDEX_TABLE.read(index.folder / "image_index.csv", "snapshot_id", "sha256")
    both = tested.pictures.join(then.drop_nulls(), on="snapshot_id", suffix="_then")
    return KnownPictures(
        rows=both.height, changed=int((both["sha256"] != both["sha256_then"]).sum())
    )


def _on_live_labels(
    rows: ScoredRows, live: StoredArtifact, tested: CandidateUnderTest
) -> OnLiveLabels | None:
    """Compare once more by the live model's labels, if they mean something else."""
    differing = {
        one.what
        for one in changes_between(live, tested.stored, tested.labels, tested.store)
        if one.kind == "definition"
    }
    if not differing & LABEL_DEFINITION:
        return None
    manifest = tested.store.find("manifest_full", live.lineage.ancestors["manifest_full"])
    theirs = _columns_of(manifest, "snapshot_id", "target_label").rename(
        {"target_label": "live_label"}
    )
    joined = rows.frame.join(theirs, on="snapshot_id", how="left", maintain_order="left")
    both = rows.where(joined["live_label"].is_not_null().to_numpy())
    relabelled = ScoredRows(
        joined.drop_nulls("live_label").with_columns(target_label=pl.col("live_label")),
        rows.target_type,
        rows.bootstrap_samples,
        rows.random_state,
        both.scores,
    )
    if not relabelled.rows:
        return None
    return OnLiveLabels(
        rows=relabelled.rows,
        webcams=relabelled.n_cameras,
        difference=relabelled.primary_difference(CANDIDATE, RIVAL).interval(),
    )


def measure_rival(rival: WasLive, tested: CandidateUnderTest) -> MeasuredRival:
    """Measure a model that is or was live on test.

    A linear probe's threshold and calibration do not change the order of its scores, so cameras of
    validation are as unseen by it as those of test. A fine-tuned model chose its epoch on them.
    """
    rival.fetch()
    store, meta = tested.store, _meta_beside(rival.file)
    stored = store.find("onnx_model", rival.onnx_model)
    seen = {
        # A camera that it has seen under one id counts as seen under its others.
        part: frozenset(
            tested.labels.cameras(
                _columns_of(store.find(name, stored.lineage.ancestors[name]), "webcam_id")[
                    "webcam_id"
                ]
            )
        )
        for part, name in (("train", "manifest_train"), ("val", "manifest_val"))
    }
    are_probes = all(
        training_facts(one, store)["strategy"] == PROBE for one in (stored, tested.stored)
    )
    shared = tested.rows.of_splits(["test"], but_cameras=seen["train"] | seen["val"])
    pair = (
        tested.rows.of_splits(["val", "test"], but_cameras=seen["train"]) if are_probes else shared
    )
    metrics: dict[str, PairedMetric] = {}
    if tested.was_measured and pair.rows:
        _require_what_went_live(rival.file, stored)
        with RuntimeProcess(rival.file) as runtime:
            scores = score_in_runtime(runtime, pair.digests, images=tested.images)
        pair = pair.with_scores(RIVAL, scores)
        if shared.rows:
            by_snapshot = dict(zip(pair.frame["snapshot_id"], pair.scores[RIVAL], strict=True))
            shared = shared.with_scores(
                RIVAL, np.array([by_snapshot[one] for one in shared.frame["snapshot_id"]])
            )
            mine, theirs = tested.exported.meta.decision_threshold, meta.decision_threshold
            thresholds = None if mine is None or theirs is None else (mine, theirs)
            metrics = {
                metric: _pair_metric(metric, thresholds, shared)
                for metric in target_of(shared.target_type).compared_metrics
            }
    test = tested.test
    return MeasuredRival(
        Rival(
            model_version=rival.version,
            model_sha256=rival.file.sha256,
            onnx_model=stored.data_version,
            from_demo=from_demo(stored),
            rows=shared.rows,
            webcams=shared.n_cameras,
            effective_webcams=round(effective_webcams(shared.cameras), 2),
            rows_left_out=test.rows - shared.rows,
            webcams_left_out=test.n_cameras - shared.n_cameras,
            metrics=metrics,
        ),
        pair,
        shared,
    )


def _columns_of(manifest: StoredArtifact, *names: str) -> pl.DataFrame:
    """Read columns of a manifest that an earlier version may have written."""
    manifest.verify()
    return MANIFEST_TABLE.read(manifest.folder / f"{manifest.asset}.csv", *names)


def _meta_beside(file: ModelFile) -> ModelMeta:
    try:
        return ModelMeta.load(file.path.parent)
    except DocumentError as error:
        raise WebcamMLError(
            f"The model to compare with cannot be read: {error}. `webcam-ml verify` says what else "
            "is damaged"
        ) from error


def _require_what_went_live(model: ModelFile, stored: StoredArtifact) -> None:
    """Refuse a file that does not have its digest; its copy in the store may be the same file."""
    found = _sha256(model.path)
    if found == model.sha256:
        return
    copy = stored.folder / MODEL_FILE
    raise WebcamMLError(
        f"{model.path} is not what went live (sha256 {model.sha256[:12]}… then, {found[:12]} now), so "
        "nothing can be compared with it. "
        + (
            f"The store has it whole: cp -f {copy} {model.path}"
            if _sha256(copy) == model.sha256
            else f"Nor is {copy}, which is the same file under another name unless somebody copied "
            f"one: bring {model.path} back from a backup"
        )
        + ". Or let another version be live (`webcam-ml rollback`)"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"


def _pair_metric(
    metric: str, thresholds: tuple[float, float] | None, rows: ScoredRows
) -> PairedMetric:
    own, theirs = (
        rows.estimate(metric, model, None if thresholds is None else thresholds[side]).interval()
        for side, model in enumerate((CANDIDATE, RIVAL))
    )
    difference = rows.difference(metric, CANDIDATE, RIVAL, thresholds=thresholds)
    return PairedMetric(
        candidate=own,
        rival=theirs,
        difference=difference.interval(),
        lower_bound=stored_bound(difference.lower_bound()),
        upper_bound=stored_bound(difference.upper_bound()),
    )
