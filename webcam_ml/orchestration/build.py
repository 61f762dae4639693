"""Everything that Dagster loads, wired once; a test or a tool overrides a folder here."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from dagster import DagsterInvalidSubsetError, Definitions, in_process_executor

from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.both_targets import build_both_targets
from webcam_ml.orchestration.checks import CHECKS
from webcam_ml.orchestration.failed_runs import build_failed_runs_sensor
from webcam_ml.orchestration.guard import sentences_about
from webcam_ml.orchestration.io_manager import ArtifactIOManager
from webcam_ml.orchestration.jobs import WHOLE_GRAPH, build_jobs
from webcam_ml.orchestration.last_words import end_with_a_sentence
from webcam_ml.orchestration.live_events import build_live_events_sensor
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.orchestration.retraining.sensors import SECONDS_BETWEEN_TICKS, build_sensors


def build_definitions(
    *,
    artifacts: Path | None = None,
    cache: Path | None = None,
    seconds_between_ticks: int = SECONDS_BETWEEN_TICKS,
) -> Definitions:
    """Wire assets, checks, jobs, sensors and resources.

    Args:
        artifacts: Artifact store; by default from the environment, see `Workspace`.
        cache: Root of the caches; likewise.
        seconds_between_ticks: How often a sensor looks, at most.
    """
    workspace = Workspace(artifacts=str(artifacts or ""), cache=str(cache or ""))
    label_database = LabelDatabaseResource()
    names = [key.to_user_string() for definition in ASSETS for key in definition.keys]
    end_with_a_sentence(partial(_sentence_of, assets=names))
    definitions = Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        jobs=[
            *build_jobs(),
            build_both_targets(lambda: definitions.resolve_job_def(WHOLE_GRAPH)),
        ],
        sensors=[
            *build_sensors(names, seconds_between_ticks=seconds_between_ticks),
            build_live_events_sensor(seconds_between_ticks),
            build_failed_runs_sensor(seconds_between_ticks),
        ],
        resources={
            "workspace": workspace,
            "label_database": label_database,
            "io_manager": ArtifactIOManager(
                workspace=workspace, label_database=label_database, asset_names=names
            ),
        },
        # One process a step would import torch in each: 52 s instead of 6 s for a toy graph.
        executor=in_process_executor,
    )
    return definitions


def _sentence_of(error: BaseException, *, assets: Collection[str]) -> str | None:
    if isinstance(error, DagsterInvalidSubsetError):
        # Dagster's own message suggests the nearest name.
        return f"nothing was run: {error}"
    return sentences_about(error, assets=assets)
