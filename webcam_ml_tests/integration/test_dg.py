"""`dg`, the newer of Dagster's two command lines, beside `dagster`, which the documents use."""

import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY, Project
from webcam_ml_tests.integration.server import free_port, wait_for
from webcam_ml_tests.stores.earlier import V0_1

pytestmark = pytest.mark.deployed

DG = DAGSTER.with_name("dg")
PROJECT = REPOSITORY / "webcam_ml" / "project"
ENV = REPOSITORY / "env.sh"
SOURCED = {"./env.sh", "demo/env.sh", "/etc/webcam-ml/webcam-ml.env"}
LOCATIONS = "{workspaceOrError {... on Workspace {locationEntries {name loadStatus}}}}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project folder in which dg finds what it looks for: pyproject.toml, and the package beside."""
    folder = tmp_path_factory.mktemp("clone")
    # No run here needs a backbone, so none is exported.
    (folder / "cache").mkdir()
    shutil.copy(V0_1 / "labels.sqlite", folder)
    # As `make` leaves a shell: an environment in the folder, on PATH, not activated.
    project = Project(
        folder,
        f"sqlite:///{folder / 'labels.sqlite'}",
        {"PYTHONWARNINGS": python_warnings(ENV), "VIRTUAL_ENV": ""},
    )
    shutil.copy(REPOSITORY / "pyproject.toml", project.home)
    (project.home / "webcam_ml").symlink_to(REPOSITORY / "webcam_ml")
    (project.home / ".venv").mkdir()
    return project


def said(result: "subprocess.CompletedProcess[str]") -> str:
    """What a command printed, which has no warning of Python or dg in it."""
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert not re.search("Warning|this warning", output), output
    return result.stdout


def python_warnings(file: Path) -> str:
    """What Python is told about warnings in a shell that sourced the file."""
    return subprocess.run(
        ["sh", "-c", 'set -a; . "$1"; printenv PYTHONWARNINGS', "sh", str(file)],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_each_shell_of_the_documents_first_sources_what_keeps_the_warning_off() -> None:
    documents = [REPOSITORY / "README.md", PROJECT / "README.md", *REPOSITORY.glob("docs/*.md")]
    found = 0
    for document in documents:
        text = document.read_text()
        for command in re.finditer(r"^ *dagster (asset materialize|dev)", text, re.M):
            sourced = re.findall(r"^ *(?:set -a; )?\. ([^\s;]+)", text[: command.start()], re.M)
            assert SOURCED.intersection(sourced), f"{document}: {command[0]}"
            found += 1
    assert found >= 5

    expected = python_warnings(ENV)
    assert python_warnings(REPOSITORY / "deploy" / "systemd" / "webcam-ml.env") == expected
    # What `make demo` writes into demo/env.sh.
    variables = subprocess.run(
        ["make", "-pn", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert f"PYTHONWARNINGS := {expected}\n" in variables


def test_dg_loads_the_module_that_the_workspace_file_names() -> None:
    configured = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (location,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"] == {
        "module_name": configured["code_location_target_module"],
        "location_name": configured["code_location_name"],
    }


def test_dg_checks_and_lists_the_definitions(project: Project) -> None:
    assert "valid" in said(project.run(DG, "check", "defs"))
    listed = json.loads(said(project.run(DG, "list", "defs", "--json")))
    assert {"labels_raw", "production_model"} <= {one["asset_key"] for one in listed["assets"]}
    assert "whole_graph" in {one["name"] for one in listed["jobs"]}


def test_a_launch_gives_the_versions_that_materialize_gives(project: Project) -> None:
    other = replace(
        project,
        environment=project.environment | {"WEBCAM_ML_ARTIFACTS": str(project.folder / "other")},
    )
    config = project.home / "config.yaml"
    config.write_text("ops: {manifest_full: {config: {binary_threshold: 3.5}}}")
    # The form of a selection in which the README makes an asset and what follows it.
    said(project.run(DG, "launch", "--assets", "labels_raw,manifest_full", "-c", config))
    said(other.run(*other.materialize_command("labels_raw,manifest_full", config)))

    for asset in ("labels_raw", "manifest_full"):
        ours, theirs = (
            json.loads((root / asset / "latest.json").read_text())["data_version"]
            for root in (project.artifacts, project.folder / "other")
        )
        assert ours == theirs, asset


def test_dg_dev_serves_the_page(project: Project) -> None:
    port = free_port()
    log = project.folder / "dev.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(DG), "dev", "-p", str(port)],
            cwd=project.home,
            env=project.env(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            locations = wait_for("the page", lambda: loaded(port))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert locations == [{"name": "webcam_ml", "loadStatus": "LOADED"}]
    assert "Warning" not in log.read_text()


def loaded(port: int) -> list[dict[str, str]] | None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": LOCATIONS}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            entries: list[dict[str, str]] = json.load(answer)["data"]["workspaceOrError"][
                "locationEntries"
            ]
    except OSError:
        return None
    return entries if {entry["loadStatus"] for entry in entries} == {"LOADED"} else None
