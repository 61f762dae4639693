"""Fine-tuning on the real command line: killed in its middle, on two devices, on a Ray cluster."""

import json
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from webcam_ml_tests.integration.project import Project, make_small_demo

pytestmark = pytest.mark.slow


def config(**finetune: object) -> dict[str, Any]:
    return {
        "ops": {
            "checkpoint": {
                "config": {
                    "model_name": "mobilenet_v3_small",
                    "weights": "none",
                    "image_size": 64,
                    "strategy": "finetune",
                    "finetune": {
                        "epochs": 4,
                        "patience": 4,
                        "batch_size": 16,
                        "learning_rate": 1e-4,
                        **finetune,
                    },
                }
            },
            "eval_report": {"config": {"bootstrap_samples": 200}},
        }
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_small_demo(tmp_path_factory.mktemp("demo"), webcams=80, snapshots=240)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: str) -> Project:
    project = Project(tmp_path_factory.mktemp("undisturbed"), data)
    project.succeed("*checkpoint", config())
    return project


def said(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (project.latest("checkpoint") / "train_summary.json").read_text()
    )
    return content["finetune"]


def test_a_killed_run_goes_on_at_the_last_finished_epoch_and_ends_the_same(
    data: str, undisturbed: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path, data)
    run = project.fork(*project.materialize_command("*checkpoint", config()))
    states = project.folder / "cache" / "finetuning"
    run.wait_until(lambda: bool(list(states.glob("*/state.pt"))))
    run.kill()
    assert run.wait() == -signal.SIGKILL, run.output
    assert not (project.artifacts / "checkpoint" / "latest.json").exists()

    output = project.succeed("checkpoint", config())
    assert "fine-tuning goes on after epoch " in output
    assert said(project)["history"] == said(undisturbed)["history"]
    ours, theirs = (
        pl.read_csv(one.latest("checkpoint") / "predictions.csv") for one in (project, undisturbed)
    )
    assert (ours["raw_score"] - theirs["raw_score"]).abs().max() < 1e-5
    # All that follows takes the result as any other.
    project.succeed("manifest_test,eval_report,onnx_model,disagreement_report", config())


def test_two_devices_share_one_training_and_so_do_two_processes_of_a_cluster(
    data: str, undisturbed: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "local", data)
    halved = {"accelerator": "cpu", "batch_size": 8, "epochs": 2}
    project.succeed("*checkpoint", config(devices=2, **halved))
    result = said(project)
    assert result["machine"] == {"accelerator": "cpu", "devices": 2, "precision": "32-true"}
    assert [entry["epoch"] for entry in result["history"]] == [0, 1, 2]
    # Both begin at the same probe.
    assert result["history"][0] == said(undisturbed)["history"][0]
    # A cluster that the run itself starts.
    on_ray = Project(tmp_path / "ray", data, {"WEBCAM_ML_ENGINE": "ray"})
    output = on_ray.succeed("*checkpoint", config(num_workers=2, **halved))
    assert "fine-tuning by 2 processes of the Ray cluster (on this machine)" in output
    assert "epoch 2: training loss" in output
    for name in ("history", "best_epoch", "stopped", "machine", "gain"):
        assert said(on_ray)[name] == result[name]


def test_a_rate_that_diverges_leaves_the_probe_and_the_run_succeeds(
    data: str, tmp_path: Path
) -> None:
    project = Project(tmp_path, data)
    output = project.succeed("*checkpoint", config(learning_rate=50.0))
    assert "the probe stays: fine-tuning diverged" in output
    assert said(project)["kept"] == "probe"


@pytest.mark.parametrize(
    ("finetune", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be a whole number of at least 1"),
        ({"num_workers": 2}, "num_workers is 2: so many processes train on a Ray cluster"),
        ({"accelerator": "gpu", "devices": 99}, "CUDA device"),
        ({"epoch": 3}, "epoch"),
    ],
)
def test_what_cannot_work_stops_the_run_before_its_first_step(
    undisturbed: Project, finetune: dict[str, object], message: str
) -> None:
    before = undisturbed.versions()
    output = undisturbed.fail("labels_raw,checkpoint", config(**finetune))
    assert message in output
    assert undisturbed.versions() == before
