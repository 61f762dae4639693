"""What is told of a run that failed: by the run itself where it can, else by a sensor.

A run tells it wherever it was started, on the page, by a sensor or in the shell, also where no daemon
is. One that was killed, or failed before its first step, cannot; the sensor hears of it from the
instance. Both name the run, so that one message is sent. No `from __future__ import annotations` here:
Dagster reads the annotations.
"""

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    RunFailureSensorContext,
    SensorDefinition,
    run_failure_sensor,
)

from webcam_ml.notify import tell
from webcam_ml.orchestration.resources import Workspace
from webcam_ml.store import ArtifactStore

FAILED_RUNS_SENSOR = "failed_runs_sensor"
KIND = "run"
SHORT_ID = 8
# What the first failed step of a run that a person ended failed by.
ENDED_BY_A_PERSON = "DagsterExecutionInterruptedError"


def build_failed_runs_sensor(seconds_between_ticks: int) -> SensorDefinition:
    """Make the sensor; it starts no run."""

    @run_failure_sensor(
        name=FAILED_RUNS_SENSOR,
        minimum_interval_seconds=seconds_between_ticks,
        default_status=DefaultSensorStatus.RUNNING,
        description="Tells the webhook of WEBCAM_ML_NOTIFY_URL, if one is set, of a run that was killed "
        "or could not begin; other runs tell it themselves. Starts nothing.",
    )
    def failed_runs_sensor(context: RunFailureSensorContext, workspace: Workspace) -> None:
        announce_failed_run(context.dagster_run, context.instance, workspace.store)

    return failed_runs_sensor


def announce_if_a_step_failed(
    run: DagsterRun, instance: DagsterInstance, store: ArtifactStore
) -> None:
    """Tell of a run whose process ends with a failed step; one that a person ended is no news."""
    failed = _first_failed_step(run, instance)
    if failed is not None and not _was_ended(failed):
        announce_failed_run(run, instance, store)


def announce_failed_run(run: DagsterRun, instance: DagsterInstance, store: ArtifactStore) -> None:
    """Tell which run failed, at which step and why, unless it was told before."""
    what = "assets" if run.job_name.startswith("__") else run.job_name
    failed = _first_failed_step(run, instance)
    sentence = f"run {run.run_id[:SHORT_ID]} ({what}) failed" + (
        ". It was killed, or could not begin: its log says more."
        if failed is None
        else f" at {failed.step_key}. {_why(failed)}"
    )
    tell(store, KIND, run.run_id, sentence)


def _first_failed_step(run: DagsterRun, instance: DagsterInstance) -> DagsterEvent | None:
    records = instance.get_records_for_run(
        run.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1
    ).records
    return records[0].event_log_entry.get_dagster_event() if records else None


def _why(event: DagsterEvent) -> str:
    """Give the sentence that was written for people; of other errors only the kind.

    The text of a foreign error may hold anything: a line of a file, an address, a password.
    """
    failed = event.step_failure_data
    written = failed.user_failure_data
    if written is not None and written.description:
        return written.description
    return f"{_kind(event)}: its trace is in the log of the run."


def _was_ended(event: DagsterEvent) -> bool:
    return _kind(event) == ENDED_BY_A_PERSON


def _kind(event: DagsterEvent) -> str:
    """Name the class of the error, of the one that Dagster wrapped where there is one."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return "an error" if error is None or error.cls_name is None else error.cls_name
