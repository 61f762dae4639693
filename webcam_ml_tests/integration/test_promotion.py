"""Going live, and every way around the gates that somebody could try on the real command line."""

import json
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from webcam_ml.contracts import IMAGE_INDEX_TABLE
from webcam_ml.dataset.images import ArrayCache
from webcam_ml.training import Checkpoint
from webcam_ml_tests.integration.project import DAGSTER, WEBCAM_ML, Project, demo_project

pytestmark = pytest.mark.deployed

# A network and a size at which the drawn webcams can be told apart, and no larger.
GOOD: dict[str, object] = {
    "checkpoint": {"config": {"model_name": "resnet18", "weights": "none", "image_size": 112}},
    "eval_report": {"config": {"bootstrap_samples": 200}},
}
# The candidate is the model that is live: it stays, and is told so.
REFUSED = "and stays so; the gates say no all the same"
IMPOSSIBLE = {"ops": {**GOOD, "champion_comparison": {"config": {"min_auc": 0.999}}}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first model went live."""
    project = demo_project(tmp_path_factory.mktemp("live"))
    project.succeed("*", {"ops": GOOD})
    return project


@pytest.fixture
def project(live: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may ruin."""
    copy = tmp_path / "copy"
    for name in ("home", "artifacts"):
        shutil.copytree(live.folder / name, copy / name, symlinks=True)
    (copy / "cache").symlink_to(live.folder / "cache")
    # It names an absolute path, which moves with the copy.
    for path in copy.glob("artifacts/production/versions/*/scorer.env"):
        path.write_text(path.read_text().replace(str(live.folder), str(copy)))
    return Project(copy, live.database_url)


def production(project: Project) -> dict[str, object]:
    """Every byte and link of what is live; what was refused is written down beside it."""
    root = project.artifacts / "production"

    def content(path: Path) -> object:
        if path.is_symlink():
            return path.readlink()
        if path.name == "ledger.head":
            # It counts the refusals too.
            head = json.loads(path.read_text())
            return {name: value for name, value in head.items() if name != "beside"}
        return path.read_bytes()

    return {
        str(path.relative_to(root)): content(path)
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or path.is_file())
        and not path.name.endswith(".lock")
        and path.name != "refusals.jsonl"
    }


def picture(project: Project) -> str:
    folder = Path(str(project.database_url).removeprefix("sqlite:///")).parent / "images"
    return str(sorted(folder.glob("*.jpg"))[0])


def test_the_first_model_clears_the_floors_and_is_live(live: Project) -> None:
    folder = live.artifacts / "production" / "binary"
    assert folder.is_symlink()
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx",
        "model.meta.json",
        "scorer.env",
    }
    meta = json.loads((folder / "model.meta.json").read_text())
    (line,) = (live.artifacts / "production" / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["version"] == meta["model_version"]


def test_lineage_keeps_the_demo_mark_and_latencies_and_the_evidence_does_not(live: Project) -> None:
    lineage = json.loads((live.latest("champion_comparison") / "lineage.json").read_text())
    assert lineage["database"]["demo"] is True
    assert lineage["measurements"]["milliseconds a picture"] > 0
    evidence = (live.latest("champion_comparison") / "champion_comparison.json").read_text()
    assert json.loads(evidence)["candidate"]["from_demo"] is True
    assert "milliseconds" not in evidence


def test_the_live_model_scores_under_its_own_name(live: Project) -> None:
    meta = json.loads((live.artifacts / "production/binary/model.meta.json").read_text())
    environment = dict(
        line.split("=", 1)
        for line in (live.artifacts / "production/binary/scorer.env").read_text().splitlines()
    )
    assert set(environment) == {"AI_SCORING_MODE", "AI_MODEL_VERSION", "AI_ONNX_MODEL_PATH"}
    live.environment = environment
    try:
        result = live.run(WEBCAM_ML, "score", picture(live))
    finally:
        live.environment = {}
    assert result.returncode == 0, result.stderr
    score = json.loads(result.stdout)
    assert set(score) == {"rawScore", "aiRating", "modelVersion"}
    assert score["modelVersion"] == meta["model_version"]


def test_a_model_path_to_nowhere_is_the_baseline_and_says_why(live: Project) -> None:
    live.environment = {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": "/nowhere/model.onnx"}
    try:
        result = live.run(WEBCAM_ML, "score", picture(live))
    finally:
        live.environment = {}
    assert result.returncode == 0
    assert json.loads(result.stdout)["modelVersion"] == "baseline-v1"
    assert "/nowhere/model.onnx" in result.stderr


def test_history_verify_and_lineage_tell_where_the_model_comes_from(live: Project) -> None:
    version = json.loads((live.artifacts / "production/binary/model.meta.json").read_text())[
        "model_version"
    ]
    history = live.run(WEBCAM_ML, "history")
    assert history.returncode == 0
    assert version in history.stdout
    verified = live.run(WEBCAM_ML, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    tree = live.run(WEBCAM_ML, "lineage")
    assert tree.returncode == 0
    for asset in ("onnx_model", "checkpoint", "manifest_full", "labels_raw"):
        assert asset in tree.stdout


def test_a_changed_byte_in_the_chain_is_named(project: Project) -> None:
    labels = project.latest("labels_raw") / "labels.csv"
    labels.write_bytes(labels.read_bytes().replace(b"manual_only", b"manual_onlY", 1))
    result = project.run(WEBCAM_ML, "verify")
    assert result.returncode == 1
    assert str(labels) in result.stdout + result.stderr


def test_running_again_changes_nothing_that_is_live(project: Project) -> None:
    before, versions = production(project), project.versions()
    output = project.succeed("*", {"ops": GOOD})
    assert production(project) == before
    assert project.versions() == versions
    assert "production_model unchanged" in output


def test_the_job_that_evaluates_again_changes_nothing_that_is_live(project: Project) -> None:
    versions, before = project.versions(), production(project)
    # The config of the live model's evaluation: other intervals would be another report.
    config = project.home / "again.yaml"
    config.write_text(yaml.safe_dump({"ops": {"eval_report": GOOD["eval_report"]}}))
    job = ("-m", "webcam_ml.definitions", "-j", "evaluate_and_compare", "-c", config)
    result = project.run(DAGSTER, "job", "execute", *job)
    assert result.returncode == 0, result.stderr
    assert project.versions() == versions
    assert production(project) == before


def test_impossible_floors_stop_at_the_gate_but_the_report_is_made(project: Project) -> None:
    before = production(project)
    report = project.artifacts / "disagreement_report"
    judged = "champion_comparison,disagreement_report,production_model"
    output = project.succeed(judged, IMPOSSIBLE)
    assert "quality_floor" in output
    assert "disagreement_report unchanged" in output
    assert report.exists()
    assert production(project) == before
    # Past the check, straight to the goal:
    alone = project.succeed("production_model")
    assert REFUSED in alone
    assert "quality_floor" in alone
    assert production(project) == before


def test_a_job_without_checks_is_refused(project: Project) -> None:
    project.succeed("champion_comparison", IMPOSSIBLE)
    before = production(project)
    script = """
        from dagster import AssetSelection, DagsterInstance, Definitions, define_asset_job
        from webcam_ml.orchestration.assets import ASSETS
        from webcam_ml.orchestration.build import build_definitions
        unchecked = AssetSelection.assets("production_model").without_checks()
        job = define_asset_job("unchecked", selection=unchecked)
        definitions = Definitions.merge(build_definitions(), Definitions(jobs=[job]))
        result = definitions.resolve_job_def("unchecked").execute_in_process(
            instance=DagsterInstance.get(), raise_on_error=False
        )
        assert result.success
        (event,) = result.asset_materializations_for_node("production_model")
        print(event.metadata["refused because"].text)
        """
    result = project.run(sys.executable, "-c", textwrap.dedent(script))
    assert result.returncode == 0, result.stderr
    assert REFUSED in result.stdout
    assert production(project) == before


def test_a_forged_check_result_is_refused(project: Project) -> None:
    project.succeed("champion_comparison", IMPOSSIBLE)
    before = production(project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [str(WEBCAM_ML.with_name("dagster-webserver")), "-p", str(port), "-w", "workspace.yaml"],
        cwd=project.home,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/report_asset_check/champion_comparison"
        body = json.dumps({"check_name": "quality_floor", "passed": True}).encode()
        request = urllib.request.Request(
            url, data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    assert answer.status == 200
                break
            except (ConnectionError, urllib.error.URLError):
                assert time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(60)
    assert REFUSED in project.succeed("production_model")
    assert production(project) == before


def test_evidence_of_other_bytes_is_refused(project: Project) -> None:
    other = {
        "ops": {
            **GOOD,
            "checkpoint": {
                "config": {
                    "model_name": "resnet18",
                    "weights": "none",
                    "image_size": 112,
                    "class_weight": "balanced",
                }
            },
        }
    }
    before = production(project)
    project.succeed("checkpoint,eval_report,onnx_model", other)
    output = project.fail("production_model")
    assert "champion_comparison" in output
    assert production(project) == before


def test_a_defective_candidate_fails_its_run_with_that_sentence_first(project: Project) -> None:
    """Somebody wrote the cache of features: the report is measured on scores that no file gives."""
    before = production(project)
    cache = project.folder / "cache"
    shared = cache.readlink()
    cache.unlink()
    shutil.copytree(shared, cache, symlinks=True)
    checkpoint = Checkpoint.load(project.latest("checkpoint"))
    graph = checkpoint.model.restore_graph(cache)
    features = cache / "features" / f"{graph.fingerprint[:24]}.sqlite"
    features.unlink()
    width = len(checkpoint.model.head.weight) + 3
    pictures = IMAGE_INDEX_TABLE.read(project.latest("image_index") / "image_index.csv", "sha256")

    def forged(digest: str) -> npt.NDArray[np.float32]:
        return np.random.default_rng(int(digest[:8], 16)).random(width, np.float32)

    ArrayCache(features, np.float32).keep(
        {digest: forged(digest) for digest in pictures["sha256"].drop_nulls()}
    )
    other = {"ops": {"eval_report": {"config": {"bootstrap_samples": 201}}}}
    output = project.fail("eval_report,onnx_model,champion_comparison,production_model", other)
    told = output.split("STEP_FAILURE", 1)[1].split("Stack Trace", 1)[0]
    assert " is defective. The report was measured on other scores than this file gives" in told
    assert "Delete cache/features and materialize eval_report and onnx_model again" in told
    assert "production_model stored" not in output
    assert production(project) == before
    assert "  refused  " not in project.run(WEBCAM_ML, "history").stdout


def test_every_gate_of_the_design_is_in_the_list_and_shown_as_a_check() -> None:
    from webcam_ml.judging import GATES
    from webcam_ml.orchestration.checks import CHECKS

    design = {
        "enough_test_data",
        "beats_trivial_baselines",
        "matches_torch",
        "quality_floor",
        "not_worse_than_champion",
        "serves_in_runtime",
    }
    assert design <= set(GATES)
    shown = {key.name for check in CHECKS for key in check.check_keys}
    assert set(GATES) <= shown
