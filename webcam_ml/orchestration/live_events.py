"""A sensor that shows on the page what changed what is live, wherever that was done.

Runs report themselves. What a command did (`webcam-ml promote`, `rollback`), or a run of another
instance, is recorded only in the ledger and in refusals.jsonl. No `from __future__ import
annotations` here: Dagster reads the annotations.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dagster import (
    AssetKey,
    AssetObservation,
    DagsterInstance,
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from webcam_ml.errors import WebcamMLError
from webcam_ml.notify import deliver
from webcam_ml.orchestration.resources import Workspace
from webcam_ml.store import ArtifactStore

if TYPE_CHECKING:
    from webcam_ml.live import LedgerEntry, Refusal

LIVE_EVENTS_SENSOR = "live_events_sensor"
PRODUCTION_MODEL = AssetKey("production_model")


def build_live_events_sensor(seconds_between_ticks: int) -> SensorDefinition:
    """Make the sensor; it starts no run."""

    @sensor(
        name=LIVE_EVENTS_SENSOR,
        minimum_interval_seconds=seconds_between_ticks,
        default_status=DefaultSensorStatus.RUNNING,
        description="Shows on production_model what was promoted, rolled back or refused outside "
        "of the runs that this page knows, and sends again what a webhook (WEBCAM_ML_NOTIFY_URL) did "
        "not take. Starts nothing.",
    )
    def live_events_sensor(context: SensorEvaluationContext, workspace: Workspace) -> SensorResult:
        deliver(workspace.store)
        return tick(context.cursor, instance=context.instance, store=workspace.store)

    return live_events_sensor


def tick(cursor: str | None, *, instance: DagsterInstance, store: ArtifactStore) -> SensorResult:
    """Report what came since the last tick; without a cursor, everything."""
    from webcam_ml.live import current_ledger, production_folder, read_refusals

    try:
        entries = current_ledger(store).entries
        refusals = read_refusals(production_folder(store))
    except WebcamMLError as error:
        return SensorResult(skip_reason=SkipReason(str(error)), cursor=cursor)
    seen = _seen(cursor)
    news: list[LedgerEntry | Refusal] = [*entries[seen[0] :], *refusals[seen[1] :]]
    news.sort(key=lambda line: line.time)
    events = [_event(line) for line in news if not _is_known(instance, line.run_id)]
    after = json.dumps({"ledger": len(entries), "refusals": len(refusals)})
    if not events:
        nothing = SkipReason("Nothing happened to what is live outside of this page's runs.")
        return SensorResult(skip_reason=nothing, cursor=after)
    return SensorResult(asset_events=events, cursor=after)


def _seen(cursor: str | None) -> tuple[int, int]:
    try:
        found = json.loads(cursor or "")
        return int(found["ledger"]), int(found["refusals"])
    except (ValueError, KeyError, TypeError):
        return 0, 0


def _is_known(instance: DagsterInstance, run_id: str | None) -> bool:
    return run_id is not None and instance.get_run_by_id(run_id) is not None


def _event(line: "LedgerEntry | Refusal") -> AssetObservation:
    action = getattr(line, "action", "refused")
    facts = {
        "action": action,
        "model_version": line.version,
        "at": line.time,
        "line": line.sequence,
        **dict(_facts_of(line)),
    }
    description = f"{action}: {line.version}"
    if line.reason:
        description += f". {line.reason}"
    return AssetObservation(PRODUCTION_MODEL, description=description, metadata=facts)


def _facts_of(line: "LedgerEntry | Refusal") -> Iterator[tuple[str, str]]:
    for name in ("replaces", "live", "reason", "relaxed"):
        value = getattr(line, name, None)
        if value:
            yield name, str(value)
