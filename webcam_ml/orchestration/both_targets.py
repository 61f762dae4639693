"""The job `both_targets`: the whole graph once for each question, with the same settings.

A run has one question, and evidence, verdict and line of the ledger are each head's own. So this job
starts a run of the whole graph for each target type and waits for it; the second finds the features of the
first in the cache. What both have in common, one backbone, makes `production/both` possible.
No `from __future__ import annotations` here: Dagster reads the annotations.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dagster import Field, JobDefinition, OpExecutionContext, job, op

from webcam_ml.contracts import TARGETS, TargetType
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET, config_schema
from webcam_ml.orchestration.failures import failing_with_a_sentence, failure
from webcam_ml.orchestration.guard import BOTH_TARGETS, config_of
from webcam_ml.orchestration.resources import Workspace

# The run of `both_targets` that started a run.
STARTED_BY_TAG = "webcam_ml/both_targets"
NOT_MADE = {"served_scores_audit"}


def build_both_targets(whole_graph: Callable[[], JobDefinition]) -> JobDefinition:
    """Make the job.

    Args:
        whole_graph: Gives the job that it starts twice.
    """

    # The IO manager judges the config before this begins.
    @op(config_schema=_schema())
    @failing_with_a_sentence
    def run_for_each_target_type(context: OpExecutionContext, workspace: Workspace) -> None:
        from webcam_ml.live import both_heads

        written = config_of(BOTH_TARGETS, context.run.run_config)
        for target_type in TARGETS:
            result = whole_graph().execute_in_process(
                run_config=_run_config(written, target_type),
                instance=context.instance,
                tags={STARTED_BY_TAG: context.run_id},
                raise_on_error=False,
            )
            if not result.success:
                raise failure(
                    f"the run for target_type {target_type} failed (run {result.run_id[:8]}, whose log "
                    "says why). What is live for the other target type, and the file with both heads, "
                    "are as before it. Mend that, and start the job again: what was done is not done twice"
                )
        sentence = both_heads(workspace.store)
        if sentence is not None:
            context.log.info(sentence)

    @job(
        name=BOTH_TARGETS,
        description="The whole graph twice, for binary and for regression, with the same settings: two "
        "runs, each with its own evidence and verdict. Where both are live and share a backbone, "
        "production/both has one file with both heads. Takes the config of configs/both.yaml.",
    )
    def both_targets() -> None:
        # The config stands under the job's name, which no op may have besides.
        run_for_each_target_type.alias(BOTH_TARGETS)()

    return both_targets


def _schema() -> dict[str, Field]:
    return {
        asset: Field(
            {
                name: field
                for name, field in config_schema(settings).items()
                if (asset, name) != ("manifest_full", "target_type")
            },
            is_required=False,
            description=f"As for {asset}, in both runs.",
        )
        for asset, settings in SETTINGS_BY_ASSET.items()
        if asset not in NOT_MADE
    }


def _run_config(written: Mapping[str, Any], target_type: TargetType) -> dict[str, Any]:
    manifest = {**(written.get("manifest_full") or {}), "target_type": target_type}
    fields = {**written, "manifest_full": manifest}
    return {"ops": {asset: {"config": config} for asset, config in fields.items()}}
