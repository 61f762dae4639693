"""The asset graph. Each function takes its inputs, calls one domain function and returns its value.

What is shown of a value is said in `presentation`, what a user may choose in `config`. Domain
functions are imported where they run, and the classes of values by `values`: loading the
definitions must stay cheap. No `from __future__ import annotations` here: Dagster reads them.
"""

from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from webcam_ml.dataset import SPLIT_NAMES, SplitConfig, SplitName, TargetConfig
from webcam_ml.disagreement import DisagreementSettings
from webcam_ml.evaluation import EvaluationSettings
from webcam_ml.judging import ComparisonSettings
from webcam_ml.labels import LabelQuery
from webcam_ml.monitoring import AuditSettings
from webcam_ml.orchestration import presentation
from webcam_ml.orchestration.config import (
    ImageIndexSettings,
    ManifestSettings,
    config_schema,
    settings_of,
)
from webcam_ml.orchestration.failures import failing_with_a_sentence
from webcam_ml.orchestration.groups import (
    CHANGES_WHAT_IS_LIVE,
    LABELS,
    MODEL,
    MONITORING,
    OWNERS,
    PICTURES,
    READS_DATABASE,
    READS_PICTURE_HOSTS,
    READS_TEST_SPLIT,
    RELEASE,
    REVIEW,
    STALE_LABELS,
    STALE_MODEL,
)
from webcam_ml.orchestration.last_words import say_last
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.orchestration.values import (
    Checkpoint,
    ComparedImages,
    Comparison,
    DisagreementReport,
    EvalReport,
    ExportedModel,
    ImageIndex,
    Labels,
    LiveModel,
    Manifest,
    RatingQueue,
    ServedAudit,
)
from webcam_ml.rating_queue import RatingQueueSettings
from webcam_ml.store import StoredArtifact
from webcam_ml.training import TrainingSettings, training_turn


@asset(
    group_name=LABELS,
    owners=OWNERS,
    kinds={"sql", "csv"},
    tags=READS_DATABASE,
    freshness_policy=STALE_LABELS,
    config_schema=config_schema(LabelQuery),
)
@failing_with_a_sentence
def labels_raw(
    context: AssetExecutionContext, label_database: LabelDatabaseResource
) -> MaterializeResult[Labels]:
    """Labelled snapshots straight from the label database, ratings on the 1–5 scale."""
    from webcam_ml.labels import read_labels

    labels = read_labels(label_database.connect(), settings_of(context, LabelQuery))
    return MaterializeResult(value=labels, metadata=presentation.of_labels(labels))


@asset(
    group_name=LABELS, owners=OWNERS, kinds={"csv"}, config_schema=config_schema(ManifestSettings)
)
@failing_with_a_sentence
def manifest_full(
    context: AssetExecutionContext, workspace: Workspace, labels_raw: Labels
) -> MaterializeResult[Manifest]:
    """Labels with target and split: what the model is asked is chosen here and nowhere else."""
    from webcam_ml.dataset import build_manifest
    from webcam_ml.dataset.duplicates import find_duplicate_webcams

    settings = settings_of(context, ManifestSettings)
    duplicates = None
    if settings.merge_duplicate_webcams:
        duplicates = find_duplicate_webcams(
            labels_raw.snapshots(),
            devices=labels_raw.devices,
            images=workspace.images,
            cache=workspace.cache_folder,
            settings=settings.images,
        )
    manifest = build_manifest(
        labels_raw,
        target=settings.part(TargetConfig),
        split=settings.part(SplitConfig),
        duplicate_webcams=duplicates,
    )
    return MaterializeResult(value=manifest, metadata=presentation.of_manifest(manifest))


def build_split_asset(split: SplitName) -> AssetsDefinition:
    """Make the asset that holds the rows of one split."""
    purposes = {
        "train": "what the head is fitted on",
        "val": "what calibration and decision threshold are tuned on",
        "test": "what reports are measured on; nothing that trains or chooses can read it",
    }

    @asset(
        name=f"manifest_{split}",
        group_name=LABELS,
        owners=OWNERS,
        kinds={"csv"},
        tags=READS_TEST_SPLIT if split == "test" else None,
        description=f"Rows of the {split} split: {purposes[split]}.",
    )
    @failing_with_a_sentence
    def manifest_split(manifest_full: Manifest) -> MaterializeResult[Manifest]:
        part = manifest_full.split(split)
        return MaterializeResult(value=part, metadata=presentation.of_manifest(part))

    return manifest_split


@asset(
    group_name=PICTURES,
    owners=OWNERS,
    kinds={"image"},
    tags=READS_PICTURE_HOSTS,
    config_schema=config_schema(ImageIndexSettings),
)
@failing_with_a_sentence
def image_index(
    context: AssetExecutionContext, workspace: Workspace, manifest_full: Manifest
) -> MaterializeResult[ComparedImages]:
    """Every picture of the manifest fetched once, verified and fingerprinted; failures listed."""
    from webcam_ml.dataset.duplicates import compare_images
    from webcam_ml.dataset.images import build_image_index

    settings = settings_of(context, ImageIndexSettings)
    index = build_image_index(manifest_full.frame, cache=workspace.images, settings=settings)
    compared = compare_images(
        manifest_full.frame,
        index,
        images=workspace.images,
        cache=workspace.cache_folder,
        keep_placeholders=settings.keep_placeholders,
    )
    return MaterializeResult(value=compared, metadata=presentation.of_images(compared))


@asset(
    group_name=MODEL,
    owners=OWNERS,
    kinds={"pytorch", "scikitlearn"},
    config_schema=config_schema(TrainingSettings),
)
@failing_with_a_sentence
def checkpoint(
    context: AssetExecutionContext,
    workspace: Workspace,
    manifest_train: StoredArtifact,
    manifest_val: Manifest,
    image_index: ImageIndex,
) -> MaterializeResult[Checkpoint]:
    """The trained model (best.pt), how it was trained, and its predictions of unseen webcams."""
    from webcam_ml import dataset
    from webcam_ml.training import earlier_choice, train

    settings = settings_of(context, TrainingSettings)
    training_part = manifest_train.load(dataset.Manifest)
    with training_turn(workspace.store, run_id=context.run_id):
        result = train(
            dataset.rows_with_pictures(training_part, image_index),
            dataset.rows_with_pictures(manifest_val, image_index),
            meta=training_part.meta,
            settings=settings,
            images=workspace.images,
            cache=workspace.cache_folder,
            choice=earlier_choice(
                workspace.store,
                settings=settings,
                meta=training_part.meta,
                origin=manifest_train.lineage.database,
            ),
        )
    return MaterializeResult(value=result.checkpoint, metadata=presentation.of_training(result))


@asset(
    group_name=MODEL,
    owners=OWNERS,
    kinds={"json"},
    tags=READS_TEST_SPLIT,
    config_schema=config_schema(EvaluationSettings),
)
@failing_with_a_sentence
def eval_report(
    context: AssetExecutionContext,
    workspace: Workspace,
    checkpoint: Checkpoint,
    manifest_val: Manifest,
    manifest_test: Manifest,
    image_index: ImageIndex,
) -> MaterializeResult[EvalReport]:
    """How good the model is on webcams that it has never seen, with intervals and plots."""
    from webcam_ml.evaluation import evaluate_checkpoint

    result = evaluate_checkpoint(
        checkpoint,
        manifest_val,
        manifest_test,
        image_index,
        images=workspace.images,
        cache=workspace.cache_folder,
        bootstrap_samples=settings_of(context, EvaluationSettings).bootstrap_samples,
    )
    metadata: dict[str, Any] = {
        **presentation.of_evaluation(result.report),
        "features computed": result.features_computed,
        "features reused": result.features_reused,
    }
    return MaterializeResult(value=result.report, metadata=metadata)


@asset(group_name=MODEL, owners=OWNERS, kinds={"onnx"})
@failing_with_a_sentence
def onnx_model(
    workspace: Workspace,
    checkpoint: Checkpoint,
    eval_report: EvalReport,
    manifest_train: Manifest,
    image_index: ImageIndex,
) -> MaterializeResult[ExportedModel]:
    """The candidate: one ONNX file with preprocessing and calibration inside, and its description."""
    from webcam_ml.export import export_candidate

    exported = export_candidate(
        checkpoint,
        eval_report,
        image_index,
        labels=manifest_train.meta,
        images=workspace.images,
        cache=workspace.cache_folder,
    )
    return MaterializeResult(value=exported, metadata=presentation.of_model(exported))


@asset(
    group_name=REVIEW,
    owners=OWNERS,
    kinds={"html", "json"},
    tags=READS_DATABASE,
    config_schema=config_schema(DisagreementSettings),
)
@failing_with_a_sentence
def disagreement_report(
    context: AssetExecutionContext,
    workspace: Workspace,
    label_database: LabelDatabaseResource,
    onnx_model: StoredArtifact,
    checkpoint: Checkpoint,
    manifest_full: Manifest,
    image_index: ImageIndex,
) -> MaterializeResult[DisagreementReport]:
    """Where people and model differ most: labels worth a second look."""
    from webcam_ml.disagreement import report_disagreement

    report = report_disagreement(
        onnx_model,
        checkpoint,
        manifest_full,
        image_index,
        settings=settings_of(context, DisagreementSettings),
        store=workspace.store,
        database=label_database.connect,
        images=workspace.images,
        cache=workspace.cache_folder,
    )
    metadata = presentation.of_disagreement(report, images=workspace.images)
    return MaterializeResult(value=report, metadata=metadata)


@asset(
    group_name=REVIEW,
    owners=OWNERS,
    kinds={"csv"},
    tags=READS_DATABASE,
    config_schema=config_schema(RatingQueueSettings),
)
@failing_with_a_sentence
def rating_queue(
    context: AssetExecutionContext,
    workspace: Workspace,
    label_database: LabelDatabaseResource,
    checkpoint: StoredArtifact,
    labels_raw: Labels,
    manifest_full: Manifest,
    image_index: ComparedImages,
) -> MaterializeResult[RatingQueue]:
    """What to rate next: unrated frames that teach the model most, and a fair draw for its judgement."""
    from webcam_ml.rating_queue import build_rating_queue

    result = build_rating_queue(
        checkpoint,
        manifest_full,
        image_index,
        judged=labels_raw.judged,
        settings=settings_of(context, RatingQueueSettings),
        database=label_database.connect,
        images=workspace.images,
        cache=workspace.cache_folder,
    )
    if result.queue.meta.shortfall is not None:
        say_last(f"rating_queue: {result.queue.meta.shortfall}")
    metadata = presentation.of_rating_queue(result, images=workspace.images)
    return MaterializeResult(value=result.queue, metadata=metadata)


@asset(
    group_name=RELEASE,
    owners=OWNERS,
    kinds={"html", "json"},
    tags=READS_TEST_SPLIT,
    config_schema=config_schema(ComparisonSettings),
)
@failing_with_a_sentence
def champion_comparison(
    context: AssetExecutionContext,
    workspace: Workspace,
    onnx_model: StoredArtifact,
    eval_report: EvalReport,
    manifest_val: Manifest,
    manifest_test: Manifest,
    image_index: ImageIndex,
) -> MaterializeResult[Comparison]:
    """The evidence for or against going live: the candidate beside the live model, gate by gate."""
    from webcam_ml.changes import with_what_changed
    from webcam_ml.judging import compare_with_champion
    from webcam_ml.live import candidate_counter, were_live

    store, target_type = workspace.store, manifest_test.meta.target_type
    result = compare_with_champion(
        onnx_model,
        eval_report,
        manifest_val,
        manifest_test,
        image_index,
        store=store,
        were_live=were_live(store, target_type),
        count_candidate=candidate_counter(store, target_type),
        settings=settings_of(context, ComparisonSettings),
        images=workspace.images,
    )
    comparison = with_what_changed(result, onnx_model, store=store, images=workspace.images)
    return MaterializeResult(value=comparison, metadata=presentation.of_comparison(result))


@asset(
    group_name=RELEASE,
    owners=OWNERS,
    kinds={"onnx"},
    tags=CHANGES_WHAT_IS_LIVE,
    freshness_policy=STALE_MODEL,
)
@failing_with_a_sentence
def production_model(
    context: AssetExecutionContext,
    workspace: Workspace,
    onnx_model: StoredArtifact,
    champion_comparison: StoredArtifact,
) -> MaterializeResult[LiveModel]:
    """What is live. Every gate is judged again, from the stored evidence, for exactly these bytes.

    A candidate that is judged and refused is a result, not a failed run: what is live stays so.
    """
    from webcam_ml.live import LiveModel, PromotionRefused, announce, both_heads, promote

    try:
        promotion = promote(
            onnx_model, champion_comparison, store=workspace.store, run_id=context.run_id
        )
    except PromotionRefused as no:
        if no.refusal is None:
            raise
        context.log.warning(str(no))
        say_last(str(no))
        announce(no.refusal, workspace.store)
        live = LiveModel.after_refusal(no.refusal, workspace.store)
        return MaterializeResult(value=live, metadata=presentation.of_refusal(live, no.refusal))
    entry = promotion.entry
    say_last(f"{entry.version} {'is live' if promotion.is_new else 'was live already'}.")
    both = both_heads(workspace.store)
    if both is not None:
        say_last(both)
    if promotion.is_new:
        announce(entry, workspace.store)
    return MaterializeResult(
        value=LiveModel.of(promotion), metadata=presentation.of_promotion(promotion, both)
    )


@asset(
    group_name=MONITORING,
    owners=OWNERS,
    kinds={"json"},
    tags=READS_DATABASE,
    config_schema=config_schema(AuditSettings),
)
@failing_with_a_sentence
def served_scores_audit(
    context: AssetExecutionContext,
    workspace: Workspace,
    label_database: LabelDatabaseResource,
    production_model: StoredArtifact,
) -> MaterializeResult[ServedAudit]:
    """What the application stored, beside what the files that it names say of the same pictures."""
    from webcam_ml.monitoring import announce_findings, audit_served_scores

    audit = audit_served_scores(
        store=workspace.store,
        database=label_database.connect(),
        images=workspace.images,
        settings=settings_of(context, AuditSettings),
    )
    announce_findings(audit, workspace.store)
    return MaterializeResult(value=audit, metadata=presentation.of_served_audit(audit))


ASSETS: list[AssetsDefinition] = [
    labels_raw,
    manifest_full,
    *(build_split_asset(split) for split in SPLIT_NAMES),
    image_index,
    checkpoint,
    eval_report,
    onnx_model,
    disagreement_report,
    rating_queue,
    champion_comparison,
    production_model,
    served_scores_audit,
]
