"""`model_name: auto` in the graph: chosen, shown, exported, judged, and kept by a retrain."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance, ExecuteInProcessResult, materialize

from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.guard import judge_run_config
from webcam_ml.orchestration.io_manager import ArtifactIOManager
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.project import CONFIGS
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.integration.project import altered_copy, make_small_demo
from webcam_ml_tests.stores.tiny import TINY, tiny_backbone
from webcam_ml_tests.world import SPEC, share_backbones

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

NAMES = [key.to_user_string() for asset in ASSETS for key in asset.keys]
REVIEW = {"disagreement_report", "rating_queue"}
CONFIG: dict[str, Any] = {
    "checkpoint": {
        "model_name": "auto",
        "weights": "none",
        "image_size": 64,
        "auto": {"candidates": [SPEC.model_name, TINY], "max_milliseconds": 1000},
    },
    "eval_report": {"bootstrap_samples": 200},
    "champion_comparison": {"min_auc": 0.5, "relaxed_because": "small drawn pictures"},
}


def run(folder: Path, instance: DagsterInstance) -> ExecuteInProcessResult:
    workspace = Workspace(artifacts=str(folder / "artifacts"), cache=str(folder / "cache"))
    label_database = LabelDatabaseResource()
    manager = ArtifactIOManager(
        workspace=workspace, label_database=label_database, asset_names=NAMES
    )
    with tiny_backbone():
        return materialize(
            ASSETS,
            selection=[name for name in NAMES if name not in REVIEW],
            resources={
                "io_manager": manager,
                "workspace": workspace,
                "label_database": label_database,
            },
            instance=instance,
            run_config={"ops": {name: {"config": fields} for name, fields in CONFIG.items()}},
        )


def shown(result: ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("checkpoint")
    return {name: value.value for name, value in event.metadata.items()}


def test_a_model_is_chosen_exported_and_judged_and_a_retrain_keeps_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_small_demo(tmp_path / "demo", webcams=100, snapshots=300)
    monkeypatch.setenv("DATABASE_URL", url)
    share_backbones(tmp_path / "cache")
    store = ArtifactStore(tmp_path / "artifacts")
    instance = DagsterInstance.ephemeral()
    first = shown(run(tmp_path, instance))
    checkpoint = store.latest("checkpoint")
    summary = json.loads((checkpoint.folder / "train_summary.json").read_text())
    chosen = summary["auto"]["chosen"]
    assert checkpoint.lineage.config["model_name"] == "auto"
    assert first["backbone"] == summary["auto"]["verdict"]
    for name in (SPEC.model_name, TINY):
        assert name.replace("_", r"\_") in first["candidates"]
    assert first["candidates"].count("| chosen |") == 2  # the column, and the one
    exported = store.latest("onnx_model")
    assert json.loads((exported.folder / "model.meta.json").read_text())["model_name"] == chosen
    evidence = store.latest("champion_comparison")
    assert evidence.lineage.ancestors["checkpoint"] == checkpoint.data_version

    # The same again is the same version; nothing is computed.
    again = shown(run(tmp_path, instance))
    assert again["unchanged"]
    assert again["features computed"] == 0
    assert again["version"] == checkpoint.version
    assert f"kept from {checkpoint.version}" in again["backbone"]

    # A retrain on other labels: the choice and its evidence stay, the model is another.
    other = altered_copy(
        url,
        tmp_path / "demo" / "more.sqlite",
        "UPDATE webcam_snapshot_ratings SET rating = 1 WHERE snapshot_id % 9 = 0",
        "UPDATE webcam_snapshots SET calculated_rating = 1 WHERE id % 9 = 0",
    )
    Path(url.removeprefix("sqlite:///")).unlink()
    Path(other.removeprefix("sqlite:///")).rename(url.removeprefix("sqlite:///"))
    later = shown(run(tmp_path, instance))
    retrained = store.latest("checkpoint")
    account = json.loads((retrained.folder / "train_summary.json").read_text())["auto"]
    assert retrained.data_version != checkpoint.data_version
    assert account == summary["auto"]
    assert f"kept from {checkpoint.version}" in later["backbone"]


def test_the_config_file_is_a_run_config_that_a_retrain_can_have() -> None:
    config = yaml.safe_load((CONFIGS / "auto.yaml").read_text(encoding="utf-8"))
    assert judge_run_config(config, assets=NAMES, selected=None) == []
