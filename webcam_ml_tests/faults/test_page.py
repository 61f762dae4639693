"""The web page after a full run: whatever it is asked, it does not know the password."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from webcam_ml_tests.faults.conftest import PASSWORD, Undisturbed
from webcam_ml_tests.integration.project import DAGSTER, Project

QUESTIONS = (
    (
        "{ runsOrError { ... on Runs { results { runId runConfigYaml tags { key value } stats { "
        "__typename } eventConnection { events { ... on MessageEvent { message } ... on "
        "MaterializationEvent { metadataEntries { label ... on TextMetadataEntry { text } ... on "
        "PathMetadataEntry { path } ... on MarkdownMetadataEntry { mdStr } } } } } } } } }"
    ),
    (
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { allTopLevelResourceDetails { name "
        "configuredValues { key value } configFields { name description defaultValueAsJson } } } } } }"
    ),
    (
        "{ workspaceOrError { ... on Workspace { locationEntries { name displayMetadata { key value } } "
        "} } }"
    ),
    "{ instance { info daemonHealth { id } } }",
)


def ask(url: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json"} if body else {}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.slow
def test_the_web_page_never_says_the_password(
    undisturbed: Undisturbed, database: tuple[str, str], tmp_path: Path
) -> None:
    for name in ("home", "artifacts"):
        shutil.copytree(undisturbed.project.folder / name, tmp_path / name, symlinks=True)
    project = Project(tmp_path, database[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [str(DAGSTER.with_name("dagster-webserver")), "-p", str(port), "-w", "workspace.yaml"],
        cwd=project.home,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                answers = [ask(f"http://127.0.0.1:{port}/")]
                break
            except (ConnectionError, urllib.error.URLError):
                assert time.monotonic() < deadline
                time.sleep(0.5)
        for question in QUESTIONS:
            answer = ask(
                f"http://127.0.0.1:{port}/graphql", json.dumps({"query": question}).encode()
            )
            assert "errors" not in json.loads(answer), answer
            answers.append(answer)
    finally:
        server.terminate()
        server.wait(60)
    said = "\n".join(answers)
    assert "labels_raw stored" in said
    assert "label_database" in said
    for secret in (PASSWORD, quote(PASSWORD, safe=""), json.dumps(PASSWORD)[1:-1]):
        assert secret not in said
