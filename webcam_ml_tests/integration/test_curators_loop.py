"""From nothing to a retrain on what one person rated: demo, review, sensor, what it changed."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from webcam_ml_tests.integration.project import (
    DAGSTER,
    WEBCAM_ML,
    Project,
    altered_copy,
    demo_project,
)
from webcam_ml_tests.integration.server import free_port
from webcam_ml_tests.integration.test_promotion import GOOD

pytestmark = pytest.mark.deployed

VOTES = 60
STARS = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}


@contextmanager
def reviewing(project: Project, *arguments: str) -> Iterator[httpx.Client]:
    """Start `webcam-ml review` on the newest queue, and open the address that it prints."""
    port = free_port()
    process = subprocess.Popen(
        [WEBCAM_ML, "review", "--curator", "anna", "--port", str(port), *arguments],
        cwd=project.home,
        env=project.env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = next(
            found[1] for line in process.stdout if (found := re.match(r"Open (\S+)", line))
        )
        base = address.partition("/?")[0]
        with httpx.Client(base_url=base, headers={"Origin": base}, timeout=60) as client:
            assert client.get(address, follow_redirects=True).status_code == 200
            yield client
    finally:
        process.terminate()
        process.communicate()


def rate(client: httpx.Client, number: int) -> dict[int, int]:
    """Rate the first frames of the list, a vote a request, as the page does; give their stars."""
    sitting = re.search(r'data-sitting="([^"]+)"', client.get("/").text)
    assert sitting is not None
    given: dict[int, int] = {}
    place: int | None = 0
    while len(given) < number:
        answer = client.get("/frames", params={"from": place}).json()
        place = answer["from"]
        for frame in answer["frames"][: number - len(given)]:
            snapshot = frame["snapshot_id"]
            key = str(1 + snapshot % 5)
            wish = {"id": f"vote-{snapshot:08d}", "snapshot_id": snapshot, "vote": key}
            sent = {"sitting": sitting[1], "wishes": [wish]}
            assert client.post("/votes", json=sent).status_code == 200
            given[snapshot] = STARS[key]
    return given


def preview(project: Project) -> str:
    """What a tick of the sensor would say and do."""
    sensor = ("sensor", "preview", "label_growth_sensor", "-w", "workspace.yaml")
    ran = project.run(DAGSTER, *sensor)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def changed_labels(page: Path) -> dict[str, set[int]]:
    """Name and snapshots of each group of labels of which what_changed.html lists some."""
    groups = re.findall(
        r'<section class="group" id="labels-.*?</section>', page.read_text(encoding="utf-8"), re.S
    )
    found = {}
    for group in groups:
        heading = re.search("<h3>(.*?):", group)
        assert heading is not None
        ids = re.findall(r'data-snapshot="(\d+)"|<li>#(\d+):', group)
        found[heading[1]] = {int(card or line) for card, line in ids}
    return {name: snapshots for name, snapshots in found.items() if snapshots}


def test_sixty_votes_on_the_page_start_a_retrain_that_lists_exactly_these(tmp_path: Path) -> None:
    project = demo_project(tmp_path / "loop")
    project.database_url = altered_copy(str(project.database_url), tmp_path / "labels.sqlite")
    config = tmp_path / "retrain.yaml"
    config.write_text(yaml.safe_dump({"ops": GOOD}))
    project.environment["WEBCAM_ML_RETRAIN_CONFIG"] = str(config)
    project.succeed("*", config)
    assert "0 of 50 new labels" in preview(project)

    with reviewing(project) as client:
        given = rate(client, VOTES)
        assert client.get("/status").json()["waiting"] == []
    assert len(given) == VOTES

    assert f"{VOTES} of 50 new labels" in preview(project)
    assert preview(project).count(": retrain.") == 1
    project.succeed("*", config)
    (page,) = (project.latest("champion_comparison")).glob("what_changed.html")
    assert changed_labels(page) == {"New": set(given)}
