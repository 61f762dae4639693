"""From a candidate to evidence: what it and the live model score on the same frozen test rows."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import MANIFEST_TABLE, DocumentError, TargetType, target_of
from webcam_ml.dataset import SPLIT_NAMES, ExportMeta, Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging._evidence import (
    SCHEMA_VERSION,
    Candidate,
    Change,
    ChangeKind,
    Comparison,
    Evidence,
    PairedMetric,
    ParityEvidence,
    Rival,
    Serving,
    TestRows,
    as_judged,
    eval_report_sha256,
)
from webcam_ml.judging._gates import WARNINGS, judge
from webcam_ml.judging._plot import draw_comparison
from webcam_ml.judging._runtime import (
    ModelFile,
    RuntimeFailedError,
    RuntimeProcess,
    score_in_runtime,
    watch_serving,
)
from webcam_ml.judging._settings import ComparisonSettings
from webcam_ml.metrics import (
    Interval,
    WebcamEstimate,
    effective_webcams,
    paired_difference,
    webcam_estimate,
)
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml.training import TRAIN_SUMMARY

Scores = NDArray[np.float64]

TRAINING_FACTS = (
    "strategy", "model_name", "weights", "image_size", "class_weight", "random_state",
)  # fmt: skip
STORED_DIGITS = 6


@dataclass(frozen=True)
class ComparisonResult:
    """The evidence, and what is of interest today but not part of it.

    Attributes:
        comparison: The artifact.
        milliseconds: Median time the runtime took for one picture; None if it served none.
    """

    comparison: Comparison
    milliseconds: float | None


@dataclass(frozen=True)
class WasLive:
    """A model that is or was live, as far as a candidate is compared with it.

    Attributes:
        file: Its model.onnx and what that should be.
        onnx_model: data_version of the stored version that it came from.
        quality: The primary metric on the test split of its day, larger is better; None if it was
            not measured.
    """

    file: ModelFile
    onnx_model: str
    quality: float | None

    @property
    def version(self) -> str:
        """The model_version."""
        return self.file.model_version


@dataclass(frozen=True)
class _TestSet:
    """Test rows with a picture, and how everything on them is measured."""

    frame: pl.DataFrame
    target_type: TargetType
    bootstrap_samples: int
    random_state: int
    images: ImageCache
    cache: Path

    @property
    def digests(self) -> list[str]:
        return self.frame["sha256"].to_list()

    def prediction(self, raw_score: Scores) -> Scores:
        return target_of(self.target_type).prediction(raw_score)

    def estimate(self, metric: str, raw_score: Scores, threshold: float | None) -> WebcamEstimate:
        return webcam_estimate(
            metric,
            self.frame["target_label"].to_numpy(),
            self.prediction(raw_score),
            webcam_id=self.frame["camera_id"].to_numpy(),
            threshold=threshold,
            bootstrap_samples=self.bootstrap_samples,
            random_state=self.random_state,
        )

    def difference(
        self, metric: str, scores: tuple[Scores, Scores], thresholds: tuple[float, float] | None
    ) -> WebcamEstimate:
        first, second = (self.prediction(one) for one in scores)
        return paired_difference(
            metric,
            self.frame["target_label"].to_numpy(),
            first,
            second,
            webcam_id=self.frame["camera_id"].to_numpy(),
            thresholds=thresholds,
            bootstrap_samples=self.bootstrap_samples,
            random_state=self.random_state,
        )

    def without(self, cameras: frozenset[int]) -> tuple["_TestSet", NDArray[np.bool_]]:
        kept = (~self.frame["camera_id"].is_in(list(cameras))).to_numpy()
        return (
            _TestSet(
                self.frame.filter(pl.Series(kept, dtype=pl.Boolean)),
                self.target_type,
                self.bootstrap_samples,
                self.random_state,
                self.images,
                self.cache,
            ),
            kept,
        )


def compare_with_champion(
    candidate: StoredArtifact,
    eval_report: EvalReport,
    manifest_test: Manifest,
    image_index: ImageIndex,
    *,
    store: ArtifactStore,
    were_live: Sequence[WasLive],
    settings: ComparisonSettings | None = None,
    images: ImageCache,
    cache: Path,
) -> ComparisonResult:
    """Measure a candidate beside the live model, and say what each gate makes of it.

    Both score the pictures of the test split through the application's runtime in a fresh process.
    A candidate that is live already is compared with the model before it, so that equal runs give
    equal evidence. The difference is bounded by the webcam bootstrap of `paired_difference`.

    Args:
        candidate: A stored version of onnx_model.
        eval_report: What was measured of its checkpoint.
        manifest_test: The test rows that the report is about.
        image_index: Pictures of the labels.
        store: Where the ancestors of all models are.
        were_live: The models of this target type whose promotions still hold, the live one last.
        settings: Floors and margins; the defaults if None.
        images: Where the pictures are.
        cache: Root of the caches; scores are kept there by model file and picture.

    Raises:
        WebcamMLError: Candidate, report and test rows do not belong together, or what is known of
            the live model is missing or damaged.
    """
    settings = settings or ComparisonSettings()
    exported = candidate.load(ExportedModel)
    meta, document = exported.meta, eval_report.document
    _require_same_origin(meta, eval_report, manifest_test)
    target_type, labels = meta.target_type, manifest_test.meta
    with_pictures = rows_with_pictures(manifest_test, image_index)
    test = _TestSet(
        with_pictures.frame,
        target_type,
        document.intervals.bootstrap_samples,
        document.intervals.random_state,
        images,
        cache,
    )
    model = ModelFile(candidate.folder / MODEL_FILE, meta.model_version, exported.sha256)
    scores, serving, milliseconds = _score_candidate(model, test)
    rivals = tuple(_before(were_live, meta.model_version))
    champion = rivals[-1] if rivals else None
    best = _best_ever(rivals, meta.model_version)
    threshold = meta.decision_threshold
    evidence = Evidence(
        schema_version=SCHEMA_VERSION,
        target_type=target_type,
        primary_metric=document.primary_metric,
        candidate=Candidate(
            model_version=meta.model_version,
            model_sha256=exported.sha256,
            meta_sha256=candidate.lineage.files[META_FILE].sha256,
            onnx_model=candidate.data_version,
            checkpoint_sha256=meta.digests.checkpoint,
            labels_sha256=meta.digests.labels,
            from_demo=from_demo(candidate),
            metrics={}
            if scores is None
            else {
                metric: test.estimate(metric, scores, threshold).interval()
                for metric in target_of(target_type).compared_metrics
            },
        ),
        test_split=TestRows(
            sha256=document.test_split.sha256,
            rows=test.frame.height,
            webcams=test.frame["camera_id"].n_unique(),
            left_out=dict(with_pictures.left_out),
        ),
        eval_report_sha256=eval_report_sha256(document),
        parity=ParityEvidence(
            model_sha256=exported.parity.model_sha256,
            pictures=exported.parity.pictures,
            at_most=exported.parity.at_most,
        ),
        serving=serving,
        champion=None
        if champion is None
        else _measure_rival(champion, scores, threshold, test, labels=labels, store=store),
        best_ever_live=None
        if best is None
        else _measure_rival(best, scores, threshold, test, labels=labels, store=store),
        changes=[] if champion is None else list(_changes(candidate, labels, champion, store)),
        settings=settings,
    )
    unjudged = Comparison(evidence=evidence, eval_document=document, verdicts={}, plot=b"")
    verdicts = judge(unjudged) | {name: warn(unjudged) for name, warn in WARNINGS.items()}
    comparison = Comparison(
        evidence=evidence,
        eval_document=document,
        verdicts=as_judged(verdicts),
        plot=draw_comparison(evidence),
    )
    return ComparisonResult(comparison, milliseconds)


def from_demo(stored: StoredArtifact) -> bool:
    """Whether an artifact descends from the demo's label database, which its lineage marks."""
    return bool((stored.lineage.database or {}).get("demo", False))


def _require_same_origin(meta: ModelMeta, report: EvalReport, manifest_test: Manifest) -> None:
    document = report.document
    test_sha256 = hashlib.sha256(manifest_test.to_csv()).hexdigest()
    pairs = {
        "checkpoint": (meta.digests.checkpoint, document.checkpoint),
        "test split of the report": (meta.digests.test_split, document.test_split.sha256),
        "test split": (meta.digests.test_split, test_sha256),
        "labels": (meta.digests.labels, manifest_test.meta.labels_sha256),
        "target type": (meta.target_type, manifest_test.meta.target_type),
    }
    for what, (of_model, found) in pairs.items():
        if of_model != found:
            raise WebcamMLError(
                f"{meta.model_version} cannot be compared: its {what} is {of_model[:12]}, what it "
                f"is to be compared on has {found[:12]}. Materialize eval_report and onnx_model "
                "again, so that all is made from the same labels"
            )


def _before(standing: Sequence[WasLive], model_version: str) -> Iterator[WasLive]:
    """Yield the models that were live before the candidate, the one to beat last."""
    live = standing[-1].version if standing else None
    for number, entry in enumerate(standing, start=1):
        if number < len(standing) or live != model_version:
            yield entry


def _best_ever(rivals: Sequence[WasLive], model_version: str) -> WasLive | None:
    """Find the earlier model that did best when it went live, unless it is the one to beat.

    Each was measured on the test split of its day, so this only chooses which one is measured
    again; scoring all that were ever live would cost more with every promotion.
    """
    if not rivals:
        return None
    best = max(reversed(rivals), key=lambda one: -np.inf if one.quality is None else one.quality)
    if best.version in (rivals[-1].version, model_version):
        return None
    return best


def _score_candidate(
    model: ModelFile, test: _TestSet
) -> tuple[Scores | None, Serving, float | None]:
    with RuntimeProcess(model) as runtime:
        try:
            scores = score_in_runtime(
                runtime, model.sha256, test.digests, images=test.images, cache=test.cache
            )
        except RuntimeFailedError as error:
            return None, Serving(pictures=0, at_most=None, reason=str(error)), None
        expected = dict(zip(test.digests, scores.tolist(), strict=True))
        return (scores, *watch_serving(runtime, model, expected, images=test.images))


def _measure_rival(
    rival: WasLive,
    candidate_scores: Scores | None,
    candidate_threshold: float | None,
    test: _TestSet,
    *,
    labels: ExportMeta,
    store: ArtifactStore,
) -> Rival:
    stored = store.find("onnx_model", rival.onnx_model)
    # A camera that it knows under one id is known under the other.
    seen = frozenset().union(
        *(
            labels.cameras(_webcams_of(store.find(name, stored.lineage.ancestors[name])))
            for name in ("manifest_train", "manifest_val")
        )
    )
    shared, kept = test.without(seen)
    try:
        meta = ModelMeta.load(rival.file.path.parent)
    except DocumentError as error:
        raise WebcamMLError(
            f"The model to compare with cannot be read: {error}. `webcam-ml verify` says what else "
            "is damaged"
        ) from error
    metrics: dict[str, PairedMetric] = {}
    if candidate_scores is not None and shared.frame.height:
        rival_scores = _score_rival(rival.file, shared)
        thresholds = (
            None
            if candidate_threshold is None or meta.decision_threshold is None
            else (candidate_threshold, meta.decision_threshold)
        )
        metrics = {
            metric: _pair(metric, (candidate_scores[kept], rival_scores), thresholds, shared)
            for metric in target_of(test.target_type).compared_metrics
        }
    return Rival(
        model_version=rival.version,
        model_sha256=rival.file.sha256,
        onnx_model=stored.data_version,
        from_demo=from_demo(stored),
        rows=shared.frame.height,
        webcams=shared.frame["camera_id"].n_unique(),
        effective_webcams=round(effective_webcams(shared.frame["camera_id"].to_numpy()), 2),
        rows_left_out=test.frame.height - shared.frame.height,
        webcams_left_out=test.frame["camera_id"].n_unique() - shared.frame["camera_id"].n_unique(),
        metrics=metrics,
    )


def _webcams_of(manifest: StoredArtifact) -> pl.Series:
    """Read the webcams of a manifest that an earlier version may have written."""
    manifest.verify()
    path = manifest.folder / f"{manifest.asset}.csv"
    return MANIFEST_TABLE.read(path, "webcam_id")["webcam_id"]


def _score_rival(model: ModelFile, test: _TestSet) -> Scores:
    """Score by a model that is or was live: what its digest names, or nothing."""
    found = (
        hashlib.sha256(model.path.read_bytes()).hexdigest() if model.path.is_file() else "nothing"
    )
    if found != model.sha256:
        raise WebcamMLError(
            f"{model.path} is not what went live (sha256 {model.sha256[:12]}… then, {found[:12]} "
            "now), so nothing can be compared with it. Roll back to it or to another version "
            "(`webcam-ml rollback`), which writes damaged files again from the store"
        )
    with RuntimeProcess(model) as runtime:
        return score_in_runtime(
            runtime, model.sha256, test.digests, images=test.images, cache=test.cache
        )


def _pair(
    metric: str,
    scores: tuple[Scores, Scores],
    thresholds: tuple[float, float] | None,
    test: _TestSet,
) -> PairedMetric:
    intervals: list[Interval] = [
        test.estimate(metric, one, None if thresholds is None else thresholds[side]).interval()
        for side, one in enumerate(scores)
    ]
    difference = test.difference(metric, scores, thresholds)
    return PairedMetric(
        candidate=intervals[0],
        rival=intervals[1],
        difference=difference.interval(),
        lower_bound=_stored(difference.lower_bound()),
        upper_bound=_stored(difference.upper_bound()),
    )


def _stored(value: float | None) -> float | None:
    # As in `Interval`; + 0.0 makes −0.0 plain.
    return None if value is None else round(value, STORED_DIGITS) + 0.0


def _changes(
    candidate: StoredArtifact, meta: ExportMeta, champion: WasLive, store: ArtifactStore
) -> Iterator[Change]:
    """Yield what differs between candidate and champion in definition, labels, data and training."""
    stored = store.find("onnx_model", champion.onnx_model)
    manifest = store.find("manifest_full", stored.lineage.ancestors["manifest_full"])
    manifest.verify()
    before = ExportMeta.load(manifest.folder)
    sides = _facts_of_labels(before), _facts_of_labels(meta)
    for (kind, what), old in sides[0].items():
        new = sides[1][kind, what]
        if old != new:
            yield Change(kind=kind, what=what, champion=old, candidate=new)
    trainings = _training_facts(stored, store), _training_facts(candidate, store)
    for what, old in trainings[0].items():
        if old != trainings[1][what]:
            yield Change(kind="model", what=what, champion=old, candidate=trainings[1][what])


def _facts_of_labels(meta: ExportMeta) -> dict[tuple[ChangeKind, str], float | int | str | None]:
    split = meta.split_config
    return {
        ("definition", "binary_threshold"): meta.binary_threshold,
        ("definition", "seed"): split.seed,
        ("definition", "train_pct"): split.train_pct,
        ("definition", "val_pct"): split.val_pct,
        ("definition", "test_pct"): split.test_pct,
        **{("labels", name): _plain(value) for name, value in meta.query.to_dict().items()},
        **{("data", f"{name} rows"): meta.counts[name] for name in SPLIT_NAMES},
        **{("data", f"{name} webcams"): meta.webcams[name] for name in SPLIT_NAMES},
        ("data", "webcams merged into cameras"): len(meta.duplicate_webcams.camera_of)
        if meta.duplicate_webcams
        else 0,
        ("data", "labels"): meta.labels_sha256,
    }


def _plain(value: object) -> float | int | str | None:
    """Bring a setting to one value that a change can show."""
    if value is None or isinstance(value, float | int | str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value)


def _training_facts(
    model: StoredArtifact, store: ArtifactStore
) -> dict[str, float | int | str | None]:
    checkpoint = store.find("checkpoint", model.lineage.ancestors["checkpoint"])
    checkpoint.verify()
    summary = TRAIN_SUMMARY.read(checkpoint.folder)
    return {name: summary.get(name) for name in TRAINING_FACTS}
