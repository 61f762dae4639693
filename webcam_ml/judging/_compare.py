"""From a candidate to evidence: what it and the live model score on the same frozen rows."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from webcam_ml.contracts import MANIFEST_TABLE, DocumentError, target_of
from webcam_ml.dataset import SPLIT_NAMES, ExportMeta, Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging._changes import changes_between, training_facts
from webcam_ml.judging._evidence import (
    EVIDENCE_SCHEMA,
    Candidate,
    Comparison,
    Evidence,
    JudgedBy,
    OnLiveLabels,
    Pair,
    PairedMetric,
    ParityEvidence,
    ReportAgreement,
    Rival,
    Serving,
    TestRows,
    as_judged,
    eval_report_sha256,
)
from webcam_ml.judging._gates import WARNINGS, judge
from webcam_ml.judging._pair import ScoredRows, require_people_on_webcams
from webcam_ml.judging._plot import draw_comparison
from webcam_ml.judging._runtime import (
    STORED_STEP,
    ModelFile,
    RuntimeFailedError,
    RuntimeProcess,
    score_in_runtime,
    watch_serving,
)
from webcam_ml.judging._settings import ComparisonSettings
from webcam_ml.labels import LabelQuery
from webcam_ml.metrics import FloatArray, effective_webcams
from webcam_ml.store import ArtifactStore, StoredArtifact

STORED_DIGITS = 6
CANDIDATE, RIVAL = "candidate", "rival"
PROBE = "linear_probe"
# Whose ratings count, and from how many stars on: what makes two sets of labels two.
LABEL_DEFINITION = {"binary_threshold", *LabelQuery.model_fields}


@dataclass(frozen=True)
class ComparisonResult:
    """The evidence, and what is of interest today but not part of it.

    Attributes:
        comparison: The artifact.
        milliseconds: Median time the runtime took for one picture; None if it served none.
    """

    comparison: Comparison
    milliseconds: float | None


class Counted(NamedTuple):
    """Which candidate this is, from 1, since the line of the ledger that made the rival live."""

    since_entry: int
    candidate_number: int


# From model_version, the model's SHA-256 and that of the pair's rows; the same pair keeps its number.
CountCandidate = Callable[[str, str, str], Counted]


@dataclass(frozen=True)
class WasLive:
    """A model that is or was live, as far as a candidate is compared with it.

    Attributes:
        file: Its model.onnx and what that should be.
        onnx_model: data_version of the stored version that it came from.
        quality: The primary metric on the test split of its day, larger is better; None if it was
            not measured.
        judged_by: What it was judged by itself; None if that is not stored.
    """

    file: ModelFile
    onnx_model: str
    quality: float | None
    judged_by: JudgedBy | None = None

    @property
    def version(self) -> str:
        """The model_version."""
        return self.file.model_version


@dataclass(frozen=True)
class _Asking:
    """A candidate with all that it is measured on and by."""

    stored: StoredArtifact
    exported: ExportedModel
    labels: ExportMeta
    rows: ScoredRows
    images: ImageCache
    store: ArtifactStore
    count_candidate: CountCandidate

    @property
    def was_measured(self) -> bool:
        return CANDIDATE in self.rows.scores

    @property
    def test(self) -> ScoredRows:
        return self.rows.of_splits(["test"], but_cameras=())


def compare_with_champion(
    candidate: StoredArtifact,
    eval_report: EvalReport,
    manifest_val: Manifest,
    manifest_test: Manifest,
    image_index: ImageIndex,
    *,
    store: ArtifactStore,
    were_live: Sequence[WasLive],
    count_candidate: CountCandidate,
    settings: ComparisonSettings | None = None,
    images: ImageCache,
) -> ComparisonResult:
    """Measure a candidate beside the live model, and say what each gate makes of it.

    Both score the pictures of validation and test, from their stored bytes, through the
    application's runtime in a fresh process. A candidate that is live already is compared with the
    model before it, so that equal runs give equal evidence. The difference is bounded by the webcam
    bootstrap of `paired_difference`.

    Args:
        candidate: A stored version of onnx_model.
        eval_report: What was measured of its checkpoint.
        manifest_val: The validation rows that the report is about.
        manifest_test: The test rows that the report is about.
        image_index: Pictures of the labels.
        store: Where the ancestors of all models are.
        were_live: The models of this target type whose promotions still hold, the live one last.
        count_candidate: Records that this candidate is judged on a pair, and says which one it is.
        settings: Floors and margins; the defaults if None.
        images: Where the pictures are.

    Raises:
        WebcamMLError: Candidate, report and rows do not belong together, a row is not of a webcam
            or not rated by people, or what is known of the live model is missing or damaged.
    """
    settings = settings or ComparisonSettings()
    exported = candidate.load(ExportedModel)
    meta, document = exported.meta, eval_report.document
    _require_same_origin(meta, eval_report, manifest_val, manifest_test)
    for manifest in (manifest_val, manifest_test):
        require_people_on_webcams(manifest.frame, manifest.part)
    target_type, labels = meta.target_type, manifest_test.meta
    with_pictures = rows_with_pictures(manifest_test, image_index)
    rows = ScoredRows(
        pl.concat([rows_with_pictures(manifest_val, image_index).frame, with_pictures.frame]),
        target_type,
        document.intervals.bootstrap_samples,
        document.intervals.random_state,
        {},
    )
    model = ModelFile(candidate.folder / MODEL_FILE, meta.model_version, exported.sha256)
    rows, serving, milliseconds = _score_candidate(model, rows, images)
    asking = _Asking(candidate, exported, labels, rows, images, store, count_candidate)
    test, threshold = asking.test, meta.decision_threshold
    rivals = tuple(_before(were_live, meta.model_version))
    champion = rivals[-1] if rivals else None
    best = _best_ever(rivals, meta.model_version)
    evidence = Evidence(
        schema_version=EVIDENCE_SCHEMA,
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
            metrics={
                metric: test.estimate(metric, CANDIDATE, threshold).interval()
                for metric in target_of(target_type).compared_metrics
            }
            if asking.was_measured
            else {},
        ),
        test_split=TestRows(
            sha256=document.test_split.sha256,
            rows=test.rows,
            webcams=test.n_cameras,
            left_out=dict(with_pictures.left_out),
            scored_sha256=test.sha256,
        ),
        eval_report_sha256=eval_report_sha256(document),
        parity=ParityEvidence(
            model_sha256=exported.parity.model_sha256,
            pictures=exported.parity.pictures,
            at_most=exported.parity.at_most,
        ),
        serving=serving,
        report_agreement=_agreement(eval_report, rows),
        champion=None if champion is None else _measure_champion(champion, asking),
        best_ever_live=None if best is None else _measure_rival(best, asking)[0],
        changes=[]
        if champion is None
        else list(
            changes_between(store.find("onnx_model", champion.onnx_model), candidate, labels, store)
        ),
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


def _require_same_origin(
    meta: ModelMeta, report: EvalReport, manifest_val: Manifest, manifest_test: Manifest
) -> None:
    document = report.document
    test_sha256 = hashlib.sha256(manifest_test.to_csv()).hexdigest()
    pairs = {
        "checkpoint": (meta.digests.checkpoint, document.checkpoint),
        "test split of the report": (meta.digests.test_split, document.test_split.sha256),
        "test split": (meta.digests.test_split, test_sha256),
        "labels": (meta.digests.labels, manifest_test.meta.labels_sha256),
        "labels of the validation split": (meta.digests.labels, manifest_val.meta.labels_sha256),
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
    model: ModelFile, rows: ScoredRows, images: ImageCache
) -> tuple[ScoredRows, Serving, float | None]:
    with RuntimeProcess(model) as runtime:
        try:
            scores = score_in_runtime(runtime, rows.digests, images=images)
        except RuntimeFailedError as error:
            return rows, Serving(pictures=0, at_most=None, reason=str(error)), None
        expected = dict(zip(rows.digests, scores.tolist(), strict=True))
        served = watch_serving(runtime, model, expected, images=images)
        return (rows.with_scores(CANDIDATE, scores), *served)


def _agreement(report: EvalReport, rows: ScoredRows) -> ReportAgreement:
    """Compare what the runtime scored with what the report was measured on, row by row."""
    if report.predictions is None or CANDIDATE not in rows.scores:
        return ReportAgreement(
            rows=0,
            rows_unlike=0,
            at_most=None,
            reason="the report was stored by a version that did not keep its predictions; "
            "materialize eval_report and onnx_model again"
            if report.predictions is None
            else "the runtime scored nothing",
        )
    found = rows.frame.select("snapshot_id", "split", "target_label").with_columns(
        pl.Series("scored", rows.scores[CANDIDATE])
    )
    both = found.join(report.predictions, on=["snapshot_id", "split", "target_label"], how="inner")
    apart = (both["scored"] - both["raw_score"]).abs().max()
    return ReportAgreement(
        rows=both.height,
        rows_unlike=found.height + report.predictions.height - 2 * both.height,
        at_most=_bound(float(apart)) if isinstance(apart, float) else None,
        reason=None if both.height else "the report is about other rows",
    )


def _bound(value: float) -> float:
    """Round up to the grid on which bounds are stored: the same on all machines."""
    return round(float(np.ceil(value / STORED_STEP) * STORED_STEP), 5)


def _measure_champion(champion: WasLive, asking: _Asking) -> Rival:
    """Measure the live model on test, and on the pair that decides."""
    rival, rows = _measure_rival(champion, asking)
    stored = asking.store.find("onnx_model", champion.onnx_model)
    if CANDIDATE not in rows.scores:
        return rival.model_copy(update={"judged_by": champion.judged_by})
    pair = on_live_labels = None
    if rows.rows:
        difference = rows.primary_difference(CANDIDATE, RIVAL)
        counted = asking.count_candidate(
            asking.exported.meta.model_version, asking.exported.sha256, rows.sha256
        )
        pair = Pair(
            splits=[name for name in SPLIT_NAMES if name in set(rows.frame["split"])],
            sha256=rows.sha256,
            since_entry=counted.since_entry,
            candidate_number=counted.candidate_number,
            rows=rows.rows,
            webcams=rows.n_cameras,
            positives=int(rows.positive.sum()),
            webcams_with_a_positive=len(np.unique(rows.cameras[rows.positive])),
            effective_webcams=round(difference.effective_webcams, 2),
            difference=_stored(difference.value),
            standard_error=_stored(difference.standard_error),
            reason=difference.reason,
            same_scores=rows.say_the_same(CANDIDATE, RIVAL),
        )
        on_live_labels = _on_live_labels(rows, stored, asking)
    return rival.model_copy(
        update={
            "pair": pair,
            "on_live_labels": on_live_labels,
            "judged_by": champion.judged_by,
        }
    )


def _on_live_labels(rows: ScoredRows, live: StoredArtifact, asking: _Asking) -> OnLiveLabels | None:
    """Compare once more by the live model's labels, if they mean something else."""
    differing = {
        one.what
        for one in changes_between(live, asking.stored, asking.labels, asking.store)
        if one.kind == "definition"
    }
    if not differing & LABEL_DEFINITION:
        return None
    manifest = asking.store.find("manifest_full", live.lineage.ancestors["manifest_full"])
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


def _measure_rival(rival: WasLive, asking: _Asking) -> tuple[Rival, ScoredRows]:
    """Measure a model that is or was live on test; give the rows of the pair besides, with scores.

    A linear probe's threshold and calibration do not change the order of its scores, so cameras of
    validation are as unseen by it as those of test. A fine-tuned model chose its epoch on them.
    """
    store, meta = asking.store, _meta_beside(rival.file)
    stored = store.find("onnx_model", rival.onnx_model)
    seen = {
        # A camera that it knows under one id is known under the other.
        part: frozenset(
            asking.labels.cameras(
                _columns_of(store.find(name, stored.lineage.ancestors[name]), "webcam_id")[
                    "webcam_id"
                ]
            )
        )
        for part, name in (("train", "manifest_train"), ("val", "manifest_val"))
    }
    are_probes = all(
        training_facts(one, store)["strategy"] == PROBE for one in (stored, asking.stored)
    )
    shared = asking.rows.of_splits(["test"], but_cameras=seen["train"] | seen["val"])
    pair = (
        asking.rows.of_splits(["val", "test"], but_cameras=seen["train"]) if are_probes else shared
    )
    metrics: dict[str, PairedMetric] = {}
    if asking.was_measured and pair.rows:
        pair = pair.with_scores(RIVAL, _score_rival(rival.file, pair, asking.images))
        if shared.rows:
            by_snapshot = dict(zip(pair.frame["snapshot_id"], pair.scores[RIVAL], strict=True))
            shared = shared.with_scores(
                RIVAL, np.array([by_snapshot[one] for one in shared.frame["snapshot_id"]])
            )
            mine, theirs = asking.exported.meta.decision_threshold, meta.decision_threshold
            thresholds = None if mine is None or theirs is None else (mine, theirs)
            metrics = {
                metric: _pair_metric(metric, thresholds, shared)
                for metric in target_of(shared.target_type).compared_metrics
            }
    test = asking.test
    return (
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


def _score_rival(model: ModelFile, rows: ScoredRows, images: ImageCache) -> FloatArray:
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
        return score_in_runtime(runtime, rows.digests, images=images)


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
        lower_bound=_stored(difference.lower_bound()),
        upper_bound=_stored(difference.upper_bound()),
    )


def _stored(value: float | None) -> float | None:
    # As in `Interval`; + 0.0 makes −0.0 plain.
    return None if value is None else round(value, STORED_DIGITS) + 0.0
