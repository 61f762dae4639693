"""Between Dagster and the artifact store: pinned reading, the ancestor rule, versions by content."""

import subprocess
import textwrap
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self, cast

from dagster import (
    AssetKey,
    ConfigurableIOManager,
    InitResourceContext,
    InputContext,
    MetadataValue,
    OutputContext,
    ResourceDependency,
)

import webcam_ml
from webcam_ml.dataset.images import onnxruntime_version
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET
from webcam_ml.orchestration.downloads import OFFERED, offer
from webcam_ml.orchestration.event_log import event_log_held_open
from webcam_ml.orchestration.failed_runs import announce_if_a_step_failed
from webcam_ml.orchestration.failures import as_dagster_failure
from webcam_ml.orchestration.guard import (
    BOTH_TARGETS,
    as_written,
    config_of,
    judge_both_targets,
    judge_engine,
    judge_run_config,
)
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.orchestration.retraining.presence import at_work
from webcam_ml.orchestration.values import value_type
from webcam_ml.orchestration.versions import (
    input_assets,
    pinned_data_version,
    record_data_version,
    resolved_config,
    was_reported,
)
from webcam_ml.store import (
    Artifact,
    ArtifactMissingError,
    Provenance,
    StoredArtifact,
    require_common_ancestry,
)

# Numbers of this run that lineage.json keeps; they vary, so no stored file may hold them.
RECORDED_MEASUREMENTS = ("milliseconds a picture",)
RECORDED_LIBRARIES = ("dagster", "numpy", "polars", "scikit-learn", "torch")


class ArtifactIOManager(ConfigurableIOManager):
    """Stores what assets return and gives it to those that take it.

    As the one resource that every run needs, it also judges the run config before the first step,
    shows to others that the run is at work, and holds its event log open.
    """

    workspace: ResourceDependency[Workspace]
    label_database: ResourceDependency[LabelDatabaseResource]
    asset_names: list[str]

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Generator[Self, None, None]:
        """Serve a run, hold its mark of presence in the store meanwhile, and tell if a step failed."""
        with ExitStack() as presence, super().yield_for_execution(context) as manager:
            if context.run is not None:
                if context.instance is not None:
                    presence.enter_context(
                        event_log_held_open(context.instance, context.run.run_id)
                    )
                with as_dagster_failure():
                    self.workspace.store.require_conditions()
                    presence.enter_context(at_work(self.workspace.store, run_id=context.run.run_id))
            yield manager
        if context.run is not None and context.instance is not None:
            announce_if_a_step_failed(context.run, context.instance, self.workspace.store)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Judge the run config; warn of entries without effect."""
        run = context.run
        if run is None:
            return
        if run.job_name == BOTH_TARGETS:
            with as_dagster_failure():
                judge_both_targets(run.run_config, assets=self.asset_names)
            return
        selection = run.asset_selection
        selected = None if selection is None else {key.to_user_string() for key in selection}
        with as_dagster_failure():
            warnings = judge_run_config(run.run_config, assets=self.asset_names, selected=selected)
            engine = self.workspace.engine_name
            judge_engine(run.run_config, engine=engine, selected=selected)
        for warning in warnings:
            if context.log is not None:
                context.log.warning(warning)

    def handle_output(self, context: OutputContext, obj: Artifact) -> None:
        """Store the value of an asset; a version that is there already is reused."""
        asset = context.asset_key.to_user_string()
        with as_dagster_failure():
            inputs = self._inputs(context)
            stored, is_new = self.workspace.store.write(
                asset, obj, inputs=inputs, provenance=self._provenance(context, inputs)
            )
        record_data_version(context, stored.data_version)
        context.log.info(
            "%s %s, version %s", asset, "stored" if is_new else "unchanged", stored.version
        )
        with as_dagster_failure():
            offers = {
                name: offer(stored, name, instance=context.step_context.instance)
                for name in OFFERED
                if name in stored.lineage.files
            }
        context.add_output_metadata(
            {
                **offers,
                "path": MetadataValue.path(stored.address),
                "version": stored.version,
                "unchanged": not is_new,
                # One text with blanks, which can wrap: a column of long names, or 64 characters
                # without a blank, would push the next columns off the page.
                "sha256": "; ".join(
                    f"{name} {' '.join(textwrap.wrap(record.sha256, 16))}"
                    for name, record in stored.lineage.files.items()
                    if len(stored.lineage.files) == 1 or not name.endswith((".png", ".html"))
                ),
            }
        )

    def load_input(self, context: InputContext) -> Artifact | StoredArtifact:
        """Give a step the version of its input that Dagster pinned, verified.

        A step whose input is annotated `StoredArtifact` gets the stored version itself, with its
        digests and lineage, instead of the value.
        """
        artifact_type = value_type(context.dagster_type.typing_type)
        with as_dagster_failure():
            inputs = self._inputs(context)
            step = context.step_context.step.key
            require_common_ancestry(step, inputs, store=self.workspace.store)
            stored = inputs[context.asset_key.to_user_string()]
            if artifact_type is StoredArtifact:
                stored.verify()
                return stored
            return stored.load(cast("type[Artifact]", artifact_type))

    def _inputs(self, context: InputContext | OutputContext) -> dict[str, StoredArtifact]:
        return {key.to_user_string(): self._pinned(context, key) for key in input_assets(context)}

    def _pinned(self, context: InputContext | OutputContext, key: AssetKey) -> StoredArtifact:
        asset = key.to_user_string()
        data_version = pinned_data_version(context, key)
        if was_reported(context, key) and not self.workspace.store.has(asset, data_version):
            raise ArtifactMissingError(
                f"the newest materialization of {asset} (data version {data_version}) is a reported "
                "event, not a stored version: no run made it, somebody reported it on the page or at "
                "/report_asset_materialization, as any web site can where the page has no proxy in "
                "front of it (docs/operation.md, Who may reach the page). The store is as it was. "
                f"Materialize {asset} again, then what you were about to do"
            )
        if data_version is None:
            raise ArtifactMissingError(
                f"{asset} has not been materialized in this Dagster instance yet: select it too "
                f"(--select '*{asset}' makes it with all that it needs)"
            )
        return self.workspace.store.find(asset, data_version)

    def _config(self, context: OutputContext) -> dict[str, Any]:
        """Give the config of the step as lineage.json keeps it: without values of the environment."""
        asset = context.asset_key.to_user_string()
        if asset not in SETTINGS_BY_ASSET:
            return {}
        settings = SETTINGS_BY_ASSET[asset](**resolved_config(context))
        run_config = context.step_context.dagster_run.run_config
        return as_written(settings.model_dump(mode="json"), config_of(asset, run_config))

    def _provenance(
        self, context: OutputContext, inputs: Mapping[str, StoredArtifact]
    ) -> Provenance:
        if inputs:
            # All inputs descend from the same labels: `require_common_ancestry` checked it.
            database = next(iter(inputs.values())).lineage.database
        else:
            source = self.label_database.connect()
            database = {**source.description, "demo": source.is_demo()}
        return Provenance(
            run_id=context.run_id,
            config=self._config(context),
            code_version=code_version(),
            libraries={
                "onnxruntime": onnxruntime_version(),
                **{name: metadata.version(name) for name in RECORDED_LIBRARIES},
            },
            database=database,
            measurements={
                name: context.output_metadata[name].value
                for name in RECORDED_MEASUREMENTS
                if name in context.output_metadata
            },
        )


@cache
def code_version() -> dict[str, Any]:
    """Name the code that runs: package version and, in a git checkout, commit and cleanliness."""
    version: dict[str, Any] = {"package": metadata.version("webcam-ml")}
    folder = Path(webcam_ml.__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        version |= {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "."))}
    except (OSError, subprocess.CalledProcessError):
        version |= {"commit": None, "dirty": None}  # installed without git: nothing to name
    return version


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
