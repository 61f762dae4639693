"""The job `both_targets` on the real command line: two runs, two verdicts, one file with both heads."""

import json
from collections import Counter
from pathlib import Path

import onnx
import pytest
import yaml

from webcam_ml.scoring import Scorer
from webcam_ml_tests.integration.project import (
    DAGSTER,
    WEBCAM_ML,
    demo_project,
    finished,
    shared_demo,
)
from webcam_ml_tests.integration.test_promotion import GOOD

pytestmark = pytest.mark.deployed


def test_one_job_asks_both_questions_and_one_file_answers_both(tmp_path: Path) -> None:
    project = demo_project(tmp_path)

    def run_with(config: dict[str, object], *, well: bool) -> str:
        command = ["job", "execute", "-m", "webcam_ml.definitions", "-j", "both_targets"]
        file = tmp_path / "both.yaml"
        file.write_text(yaml.safe_dump({"ops": {"both_targets": {"config": config}}}))
        return finished(project.fork(str(DAGSTER), *command, "-c", str(file)), well=well)

    refused = run_with({"checkpoint": {"strategy": "finetune"}}, well=False)
    assert "strategy finetune may give each target type a backbone of its own" in refused
    assert not project.artifacts.exists() or not list(project.artifacts.glob("labels_raw/2*"))

    fields = {name: entry["config"] for name, entry in GOOD.items()}
    fields["champion_comparison"] = {"min_spearman": 1.0}  # no regression model has it
    output = run_with(fields, well=True)

    production = project.artifacts / "production"

    def lines(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (production / name).read_text().splitlines()]

    (promoted,), (refused_head,) = lines("ledger.jsonl"), lines("refusals.jsonl")
    assert (promoted["target_type"], refused_head["target_type"]) == ("binary", "regression")
    assert promoted["run_id"] != refused_head["run_id"]
    assert f"{promoted['version']} is live." in output
    assert f"{refused_head['version']} does not go live." in output
    assert not (production / "both").exists()

    versions = [promoted["version"], refused_head["version"]]
    overridden = project.run(WEBCAM_ML, "promote", versions[1], "--override", "a test")
    assert f"has the heads of both, {' and '.join(versions)}." in overridden.stdout
    both = production / "both" / "model.onnx"
    convolutions = {
        name: Counter(
            node.op_type for node in onnx.load(production / name / "model.onnx").graph.node
        )["Conv"]
        for name in ("binary", "regression", "both")
    }
    assert len(set(convolutions.values())) == 1
    picture = min((shared_demo().parent / "images").glob("*.jpg"))
    (result,) = Scorer("onnx", model_path=both).score_many([picture])
    assert [score.model_version for score in result.heads.values()] == versions
    verified = project.run(WEBCAM_ML, "verify")
    assert verified.returncode == 0, verified.stderr
