"""`model_name: auto` on the real command line, from the labels to the model that is live."""

import json
from pathlib import Path
from typing import Any

import pytest

from webcam_ml_tests.integration.project import WEBCAM_ML, demo_project

pytestmark = pytest.mark.deployed

CANDIDATES = ["mobilenet_v3_small", "resnet18"]
CONFIG: dict[str, object] = {
    "ops": {
        "checkpoint": {
            "config": {
                "model_name": "auto",
                "weights": "none",
                "image_size": 112,
                "auto": {"candidates": CANDIDATES, "max_milliseconds": 1000},
            }
        },
        "eval_report": {"config": {"bootstrap_samples": 200}},
    }
}


def test_the_chosen_backbone_goes_live_and_the_same_again_keeps_it(tmp_path: Path) -> None:
    project = demo_project(tmp_path)
    said = project.succeed("*", CONFIG)
    live = project.artifacts / "production" / "binary"
    meta = json.loads((live / "model.meta.json").read_text())
    checkpoint = project.latest("checkpoint")
    account: dict[str, Any] = json.loads((checkpoint / "train_summary.json").read_text())["auto"]
    assert [one["model_name"] for one in account["candidates"]] == CANDIDATES
    assert meta["model_name"] == account["chosen"]
    assert f"{meta['model_version']} is live" in said
    picture = sorted(
        Path(str(project.database_url).removeprefix("sqlite:///")).parent.glob("images/*")
    )
    scored = project.run(WEBCAM_ML, "score", "--model", live / "model.onnx", picture[0])
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["modelVersion"] == meta["model_version"]

    again = project.succeed("*production_model", CONFIG)
    assert f"{meta['model_version']} was live already" in again
    assert project.latest("checkpoint") == checkpoint
