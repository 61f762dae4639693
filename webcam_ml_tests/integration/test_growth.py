"""Labels grow by a few percent: a retrain costs forward passes for the new pictures only."""

import re
from pathlib import Path

import polars as pl
import pytest

from webcam_ml_tests.integration.project import SMALL, Project, make_small_demo

pytestmark = pytest.mark.deployed

REPORTED = "*disagreement_report"


def computed(output: str, asset: str, what: str) -> int:
    """How many pictures went through the network in a step, from its log."""
    found = re.findall(rf"{asset} - {what}: (\d+) pictures computed", output)
    assert len(found) == 1, output
    return int(found[0])


@pytest.mark.parametrize(
    "target_type", ["binary", pytest.param("regression", marks=pytest.mark.slow)]
)
def test_forward_passes_of_a_retrain_are_the_new_pictures(tmp_path: Path, target_type: str) -> None:
    config = {"ops": {**SMALL["ops"], "manifest_full": {"config": {"target_type": target_type}}}}
    url = make_small_demo(tmp_path / "demo", snapshots=160)
    project = Project(tmp_path / "incremental", url)
    first = project.succeed(REPORTED, config)
    index = pl.read_csv(project.latest("image_index") / "image_index.csv")
    before = set(index.filter(pl.col("status") == "ok")["sha256"])
    passes = computed(first, "checkpoint", "features") + computed(first, "eval_report", "features")
    assert passes == len(before)

    make_small_demo(tmp_path / "demo", snapshots=168)
    second = project.succeed(REPORTED, config)
    index = pl.read_csv(project.latest("image_index") / "image_index.csv")
    after = set(index.filter(pl.col("status") == "ok")["sha256"])
    assert before < after
    passes = computed(second, "checkpoint", "features") + computed(
        second, "eval_report", "features"
    )
    assert passes == len(after - before)

    # A cold run on the grown data, in another folder, comes to the same bytes.
    cold = Project(tmp_path / "cold", url)
    cold.succeed(REPORTED, config)
    for asset in ("checkpoint", "eval_report", "onnx_model", "disagreement_report"):
        for path in project.latest(asset).iterdir():
            if path.name != "lineage.json":
                assert path.read_bytes() == (cold.latest(asset) / path.name).read_bytes(), path
