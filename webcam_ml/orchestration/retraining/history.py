"""What the Dagster instance has on record: trainings, retrains, and runs that are at work.

Nothing is written here; `sensors` decides what to do about it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)

from webcam_ml.dataset import TargetConfig
from webcam_ml.judging import DEFECTS, GATES
from webcam_ml.labels import LabelQuery
from webcam_ml.orchestration.retraining.presence import Presence, presence
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact

if TYPE_CHECKING:
    from webcam_ml.dataset import ExportMeta

CHECKPOINT = AssetKey("checkpoint")
RECORDS_AT_ONCE = 20

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
# A run that has no mark in the store may still get one: its container is being fetched, Python is
# starting, or one step's process has ended and the next one's begins.
LONGEST_WITHOUT_EVENT = timedelta(minutes=10)

# Dagster's own tag on re-executions: the run that they go back to.
ROOT_RUN_TAG = "dagster/root_run_id"


@dataclass(frozen=True)
class Training:
    """A training that is on record, and still in the store.

    Attributes:
        checkpoint: What it made.
        labels: The labels_raw that it was made from.
        meta: How its manifest was made.
        at: When it was stored.
    """

    checkpoint: StoredArtifact
    labels: StoredArtifact
    meta: "ExportMeta"
    at: datetime


def last_training(
    instance: DagsterInstance, store: ArtifactStore, *, query: LabelQuery, target: TargetConfig
) -> Training | None:
    """Find the last successful training of a target type on labels that this query asks for.

    A training is successful if its run came to its end: it succeeded, or a gate refused the model.
    A run that was killed after it stored its checkpoint has not ended: its model was never judged.
    Trainings on other labels (another source, minimum or other sessions) are passed over: their
    labels cannot grow into what the query asks for.
    """
    for event in _materializations(instance):
        found = _training(store, event.data_version)
        if found is None:
            continue
        checkpoint, labels, meta = found
        if meta.target_type != target.target_type or meta.query != query:
            continue
        if _has_ended(instance, event.run_id):
            return Training(checkpoint=checkpoint, labels=labels, meta=meta, at=event.at)
    return None


@dataclass(frozen=True)
class Materialization:
    """One record of a stored checkpoint."""

    data_version: str
    run_id: str
    at: datetime


def _materializations(instance: DagsterInstance) -> Iterator[Materialization]:
    """Yield the records of checkpoint, the newest first."""
    cursor = None
    while True:
        page = instance.fetch_materializations(CHECKPOINT, limit=RECORDS_AT_ONCE, cursor=cursor)
        for record in page.records:
            materialization = record.asset_materialization
            tags = (materialization.tags if materialization is not None else None) or {}
            # One that a person reported on the page may have no version: nothing is stored of it.
            if (version := tags.get("dagster/data_version")) is not None:
                at = datetime.fromtimestamp(record.timestamp, UTC)
                yield Materialization(data_version=version, run_id=record.run_id, at=at)
        if not page.has_more:
            return
        cursor = page.cursor


def _training(
    store: ArtifactStore, data_version: str
) -> tuple[StoredArtifact, StoredArtifact, "ExportMeta"] | None:
    """Look up a checkpoint with its labels and its target; None if one was pruned."""
    from webcam_ml.dataset import ExportMeta

    try:
        checkpoint = store.find("checkpoint", data_version)
        ancestors = checkpoint.lineage.ancestors
        labels = store.find("labels_raw", ancestors["labels_raw"])
        manifest = store.find("manifest_full", ancestors["manifest_full"])
    except ArtifactMissingError:
        return None
    return checkpoint, labels, ExportMeta.load(manifest.folder)


def _has_ended(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    if run is None:
        return True  # it was removed from the history, so assume that it ended
    again = instance.get_runs(filters=RunsFilter(tags={ROOT_RUN_TAG: run_id}))
    return any(is_done(instance, one) for one in (run, *again))


def is_done(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether a run succeeded, or was stopped by a gate, whose verdict would be the same again.

    A run whose candidate is refused succeeds; runs of earlier versions may have been stopped by the
    gate. A defective file is tried again.
    """
    if run.status is DagsterRunStatus.SUCCESS:
        return True
    if not run.is_finished:
        return False
    records = instance.get_records_for_run(
        run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    evaluations = [
        record.event_log_entry.get_dagster_event().asset_check_evaluation_data for record in records
    ]
    return any(one.check_name in GATES.keys() - DEFECTS and not one.passed for one in evaluations)


def training_run(instance: DagsterInstance, store: ArtifactStore) -> DagsterRun | None:
    """Find a run that contains checkpoint and is queued or running, whoever started it.

    A run that the history calls running counts only if a process holds its mark in the store: after
    a crash the history calls the run running for ever. Where there is no mark, it counts if it has
    logged an event within `LONGEST_WITHOUT_EVENT`.

    Raises:
        WebcamMLError: The store cannot be read.
    """
    for run in instance.get_runs(filters=RunsFilter(statuses=UNFINISHED)):
        if _contains_checkpoint(instance, run) and _is_alive(instance, store, run):
            return run
    return None


def _contains_checkpoint(instance: DagsterInstance, run: DagsterRun) -> bool:
    planned = instance.get_records_for_run(
        run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    ).records
    return any(
        record.event_log_entry.get_dagster_event().asset_key == CHECKPOINT for record in planned
    )


def _is_alive(instance: DagsterInstance, store: ArtifactStore, run: DagsterRun) -> bool:
    if run.status is DagsterRunStatus.QUEUED:
        return True  # it has no process yet, and the daemon will start it
    known = presence(store, run_id=run.run_id)
    if known is not Presence.UNKNOWN:
        return known is Presence.AT_WORK
    last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
    if not last:
        return False
    said = datetime.fromtimestamp(last[0].timestamp, UTC)
    return datetime.now(UTC) - said < LONGEST_WITHOUT_EVENT


def runs_with_tags(
    instance: DagsterInstance, tags: Mapping[str, str], *, limit: int | None = None
) -> list[RunRecord]:
    """List runs that carry all of these tags, the newest first."""
    return list(instance.get_run_records(filters=RunsFilter(tags=dict(tags)), limit=limit))
