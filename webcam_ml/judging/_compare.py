"""From a candidate to evidence: what it and the live model score on the same frozen rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from webcam_ml.contracts import target_of
from webcam_ml.dataset import Manifest, require_people_on_webcams, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging._changes import changes_between, from_demo
from webcam_ml.judging._evidence import (
    EVIDENCE_SCHEMA,
    Candidate,
    Comparison,
    Evidence,
    ParityEvidence,
    ReportAgreement,
    Serving,
    TestRows,
    as_judged,
    eval_report_sha256,
)
from webcam_ml.judging._gates import WARNINGS, judge
from webcam_ml.judging._pair import CountCandidate, ScoredRows
from webcam_ml.judging._plot import draw_comparison
from webcam_ml.judging._rivals import (
    CANDIDATE,
    CandidateUnderTest,
    WasLive,
    best_ever,
    measure_champion,
    measure_rival,
    models_before,
)
from webcam_ml.judging._runtime import (
    STORED_STEP,
    ModelFile,
    RuntimeFailedError,
    RuntimeProcess,
    score_in_runtime,
    watch_serving,
)
from webcam_ml.judging._settings import ComparisonSettings
from webcam_ml.store import ArtifactStore, StoredArtifact


@dataclass(frozen=True)
class ComparisonResult:
    """The evidence, and a measurement that is shown with it but is not part of it.

    Attributes:
        comparison: The artifact.
        milliseconds: Median time the runtime took for one picture; None if it served none.
        test: The test rows that are new to candidate and live model, with the scores of both; all
            test rows if no model is live.
    """

    comparison: Comparison
    milliseconds: float | None
    test: ScoredRows


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
    """Measure a candidate beside the live model, and give the verdict of each gate.

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
        count_candidate: Records that this candidate is judged on a pair, and gives its number.
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
    of_val = rows_with_pictures(manifest_val, image_index)
    rows = ScoredRows(
        pl.concat([of_val.frame, with_pictures.frame]),
        target_type,
        document.intervals.bootstrap_samples,
        document.intervals.random_state,
        {},
    )
    model = ModelFile(candidate.folder / MODEL_FILE, meta.model_version, exported.sha256)
    rows, serving, milliseconds = _score_candidate(model, rows, images)
    pictures = image_index.frame.select("snapshot_id", "sha256").drop_nulls()
    judged = pl.concat([one.frame.select("snapshot_id") for one in (manifest_val, manifest_test)])
    tested = CandidateUnderTest(
        candidate,
        exported,
        labels,
        rows,
        pictures.join(judged, on="snapshot_id", how="semi"),
        images,
        store,
        count_candidate,
    )
    test, threshold = tested.test, meta.decision_threshold
    rivals = tuple(models_before(were_live, meta.model_version))
    champion = rivals[-1] if rivals else None
    best = best_ever(rivals, meta.model_version)
    measured, beside = (None, test) if champion is None else measure_champion(champion, tested)
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
            if tested.was_measured
            else {},
            label_source=labels.query.label_source,
            judges=meta.judges,
        ),
        test_split=TestRows(
            sha256=document.test_split.sha256,
            rows=test.rows,
            webcams=test.n_cameras,
            left_out=dict(with_pictures.left_out),
            scored_sha256=test.sha256,
            val_rows=of_val.frame.height,
            val_left_out=dict(of_val.left_out),
        ),
        eval_report_sha256=eval_report_sha256(document),
        parity=ParityEvidence(
            model_sha256=exported.parity.model_sha256,
            pictures=exported.parity.pictures,
            at_most=exported.parity.at_most,
        ),
        serving=serving,
        report_agreement=_agreement(eval_report, rows),
        champion=measured,
        best_ever_live=None if best is None else measure_rival(best, tested).rival,
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
    return ComparisonResult(comparison, milliseconds, beside)


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
