"""The internal calls into Dagster, in one place: which version of an input a step reads.

Dagster pins, when a step starts, the latest materialization of each of its inputs; what lands later
does not change what the step reads. Its public interface does not show that pin, nor lets an IO
manager say what version it wrote, so these calls use its internals. A contract test checks them.
"""

from typing import TYPE_CHECKING

from dagster import AssetKey, DataVersion, InputContext, OutputContext
from dagster._core.instance.utils import RUNLESS_RUN_ID

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext


def pinned_data_version(context: InputContext | OutputContext, asset: AssetKey) -> str | None:
    """Give the version of an input that Dagster recorded for this step; None if there is none."""
    info = _step(context).maybe_fetch_and_get_input_asset_version_info(asset)
    if info is None or info.data_version is None:
        return None
    return info.data_version.value


def was_reported(context: InputContext | OutputContext, asset: AssetKey) -> bool:
    """Whether what Dagster recorded for an input was reported from outside: no run made it."""
    info = _step(context).maybe_fetch_and_get_input_asset_version_info(asset)
    return info is not None and info.run_id == RUNLESS_RUN_ID


def input_assets(context: InputContext | OutputContext) -> list[AssetKey]:
    """List the assets that the current step reads."""
    step = _step(context)
    layer = step.job_def.asset_layer
    keys = {
        layer.get_asset_key_for_node_input(step.node_handle, step_input.name)
        for step_input in step.step.step_inputs
    }
    return sorted(key for key in keys if key is not None)


def record_data_version(context: OutputContext, data_version: str) -> None:
    """Tell Dagster the version of what this step has just stored."""
    _step(context).set_data_version(context.asset_key, DataVersion(data_version))


def resolved_config(context: OutputContext) -> dict[str, object]:
    """Give the config of the current step with its defaults filled in."""
    config = _step(context).op_config
    return dict(config) if config else {}


def _step(context: InputContext | OutputContext) -> "StepExecutionContext":
    return context.step_context
