"""A candidate that is judged and refused is a result: the run succeeds and says why, and what to do."""

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance
from playwright.sync_api import BrowserContext, Locator, Page, expect

from webcam_ml.dataset import TargetConfig
from webcam_ml.labels import LabelQuery
from webcam_ml.live import read_refusals
from webcam_ml.orchestration.live_events import tick
from webcam_ml.orchestration.retraining.history import is_done, last_training
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.integration.project import WEBCAM_ML, Project, demo_project
from webcam_ml_tests.integration.server import free_port, wait_for
from webcam_ml_tests.integration.test_promotion import GOOD, IMPOSSIBLE
from webcam_ml_tests.integration.test_web_page import browser_context, screenshots

pytestmark = pytest.mark.deployed

__all__ = ["browser_context", "screenshots"]


# What a text stands in that ends, to the left or right, before the text does; nobody moves a table
# sideways who does not know that there is more.
CUT_BY = """element => {
    for (let one = element; one; one = one.parentElement) one.scrollLeft = 0
    const text = document.createRange()
    text.selectNodeContents(element)
    const {left, right} = text.getBoundingClientRect()
    const cut = []
    for (let one = element; one; one = one.parentElement) {
        const box = one.getBoundingClientRect()
        if (getComputedStyle(one).overflowX !== "visible" && (right > box.right + 1 || left < box.left - 1))
            cut.push(one.outerHTML.slice(0, 100))
    }
    if (right > innerWidth) cut.push("the window")
    return cut
}"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project whose first candidate met a floor that no model reaches, and what the run printed."""
    project = demo_project(tmp_path_factory.mktemp("refused"))
    return project, project.succeed("*", IMPOSSIBLE)


def test_the_run_succeeds_and_ends_with_the_sentence_the_numbers_and_what_to_type(
    refused: tuple[Project, str],
) -> None:
    project, output = refused
    last = output.rstrip().splitlines()[-1]
    meta = json.loads((project.latest("onnx_model") / "model.meta.json").read_text())
    version = meta["model_version"]
    assert last.startswith(f"{version} does not go live. quality_floor: ROC AUC 0.")
    assert "(at least 0.999 needed)" in last
    assert last.endswith(f'webcam-ml promote {version} --override "REASON"')
    assert "Traceback" not in output


def test_production_model_says_that_nothing_is_live_and_what_was_refused(
    refused: tuple[Project, str],
) -> None:
    project, _ = refused
    content = json.loads((project.latest("production_model") / "production_model.json").read_text())
    assert content["model_version"] is None
    (refusal,) = read_refusals(project.artifacts / "production")
    assert content["refused"] == refusal.version
    assert content["refused_because"] == refusal.reason
    assert not (project.artifacts / "production" / "binary").exists()
    history = project.run(WEBCAM_ML, "history").stdout
    assert f"refused   {refusal.version} (nothing stays live)" in history
    assert "quality_floor: NO." in history


def test_the_checks_are_red_with_candidate_sentence_and_command(
    refused: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = refused
    monkeypatch.chdir(project.home)
    with DagsterInstance.from_config(str(project.home)) as instance:
        (run,) = instance.get_runs()
        assert run.is_success
        from dagster import DagsterEventType

        records = instance.get_records_for_run(
            run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION
        ).records
        found = [
            record.event_log_entry.get_dagster_event().asset_check_evaluation_data
            for record in records
        ]
        red = {one.check_name: one for one in found if not one.passed}
        assert {"quality_floor", "no_looser_than_before"} >= red.keys() & {
            "quality_floor", "not_worse_than_champion", "serves_in_runtime",
        }  # fmt: skip
        floor = red["quality_floor"]
        assert "at least 0.999 needed" in floor.description
        assert "webcam-ml promote" in floor.metadata["to let it go live all the same"].text
        assert not floor.blocking


def test_the_sensor_counts_it_as_trained(
    refused: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same labels would give the same model, and the gates would say the same again."""
    project, _ = refused
    store = ArtifactStore(project.artifacts)
    monkeypatch.chdir(project.home)
    with DagsterInstance.from_config(str(project.home)) as instance:
        (run,) = instance.get_runs()
        assert is_done(instance, run)
        training = last_training(
            instance, store, query=LabelQuery(), target=TargetConfig(binary_threshold=4.0)
        )
    assert training is not None
    assert training.checkpoint.data_version == store.latest("checkpoint").data_version
    assert training.labels.data_version == store.latest("labels_raw").data_version


@contextmanager
def page_on(project: Project) -> Iterator[str]:
    """Serve Dagster's page on a project; gives its address."""
    port = free_port()
    with (project.folder / "page.log").open("wb") as log:
        process = subprocess.Popen(
            [WEBCAM_ML.with_name("dagster-webserver"), "-p", str(port), "-w", "workspace.yaml"],
            cwd=project.home,
            env=project.env(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (project.folder / "page.log").read_text()
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=10):
                return True
        except (ConnectionError, urllib.error.URLError):
            return False

    try:
        wait_for("the page", answers)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def address(refused: tuple[Project, str]) -> Iterator[str]:
    """Dagster's page on the project."""
    with page_on(refused[0]) as address:
        yield address


def scroll_up_to(page: Page, wanted: Locator) -> None:
    """The list of a run's events shows its end, and holds no more than is on the screen."""
    page.mouse.move(700, 700)
    while not wanted.count():
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(300)


def test_somebody_on_call_reads_why_within_one_click_of_the_run(
    refused: tuple[Project, str],
    address: str,
    browser_context: BrowserContext,
    screenshots: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, _ = refused
    monkeypatch.chdir(project.home)
    with DagsterInstance.from_config(str(project.home)) as instance:
        (run,) = instance.get_runs()
        (refusal,) = read_refusals(project.artifacts / "production")
    page = browser_context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})

    def reads_to_its_end(name: str) -> None:
        """The sentence is on the screen, and nothing that it stands in cuts it."""
        sentence = page.get_by_text(refusal.reason).last
        sentence.scroll_into_view_if_needed()
        expect(sentence).to_be_in_viewport(ratio=0.99)
        page.wait_for_load_state("networkidle")
        cut = sentence.evaluate(CUT_BY)
        page.screenshot(path=screenshots / f"page_{name}.png", animations="disabled")
        assert cut == []

    page.goto(f"{address}/runs/{run.run_id}")
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    scroll_up_to(page, page.get_by_text(refusal.reason))
    reads_to_its_end("refused_run")
    of_model = page.locator('a[href^="/assets/production_model"]')
    of_model.filter(has_text="View Asset").last.click()
    expect(page.get_by_text("Latest materialization", exact=True)).to_be_visible()
    reads_to_its_end("refused_production_model")
    page.goto(f"{address}/assets/champion_comparison?view=checks&checkDetail=quality_floor")
    expect(page.get_by_text("at least 0.999 needed").first).to_be_in_viewport()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=screenshots / "page_refused_check.png", animations="disabled")
    page.close()


def test_a_curator_finds_in_two_clicks_why_a_candidate_did_not_beat_the_live_model(
    refused: tuple[Project, str],
    tmp_path: Path,
    browser_context: BrowserContext,
    screenshots: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = refused
    for name in ("home", "artifacts"):
        shutil.copytree(first.folder / name, tmp_path / name, symlinks=True)
    (tmp_path / "cache").symlink_to(first.folder / "cache")
    project = Project(tmp_path, first.database_url)
    live = json.loads((project.latest("onnx_model") / "model.meta.json").read_text())
    done = project.run(WEBCAM_ML, "promote", live["model_version"], "--override", "a drill")
    assert done.returncode == 0, done.stderr
    smaller = {"config": {"model_name": "resnet18", "weights": "none", "image_size": 64}}
    project.succeed("checkpoint*", {"ops": {**IMPOSSIBLE["ops"], "checkpoint": smaller}})
    candidate = json.loads((project.latest("onnx_model") / "model.meta.json").read_text())
    monkeypatch.chdir(project.home)
    with DagsterInstance.from_config(str(project.home)) as instance:
        run = instance.get_runs(limit=1)[0]
    page = browser_context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    with page_on(project) as address:
        page.goto(f"{address}/runs/{run.run_id}")
        expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
        row = page.get_by_role("row").filter(
            has=page.get_by_role("cell", name="what_changed.html", exact=True)
        )
        scroll_up_to(page, row)
        row.get_by_text("[Show Markdown]").last.click()
        link = page.get_by_role("link", name="Download what_changed.html")
        expect(link).to_be_visible()
        page.screenshot(path=screenshots / "page_two_clicks_1.png", animations="disabled")
        with page.expect_download() as download:
            link.click()
        taken = tmp_path / "what_changed.html"
        download.value.save_as(taken)
    page.goto(taken.as_uri())
    page.screenshot(path=screenshots / "page_two_clicks_2.png", animations="disabled")
    text = page.inner_text("body")
    page.close()
    assert live["model_version"] in text
    assert candidate["model_version"] in text
    assert "quality_floor" in text
    assert "at least 0.999 needed" in text
    assert "image_size" in text, "what differs in the config"
    assert read_refusals(project.artifacts / "production")[-1].version == candidate["model_version"]


def test_a_command_and_a_run_of_elsewhere_appear_on_the_page_once(
    refused: tuple[Project, str], tmp_path: Path
) -> None:
    project, _ = refused
    (refusal,) = read_refusals(project.artifacts / "production")
    store = ArtifactStore(project.artifacts)
    done = project.run(WEBCAM_ML, "promote", refusal.version, "--override", "a drill")
    assert done.returncode == 0, done.stderr
    with DagsterInstance.ephemeral() as elsewhere:
        first = tick(None, instance=elsewhere, store=store)
        told = [(one.asset_key, one.description) for one in first.asset_events]
        assert [key for key, _ in told] == [AssetKey("production_model")] * 2
        assert told[0][1].startswith(f"refused: {refusal.version}")
        assert told[1][1] == f"override: {refusal.version}. a drill"
        again = tick(first.cursor, instance=elsewhere, store=store)
        assert not again.asset_events
        assert again.cursor == first.cursor


def test_a_looser_floor_without_a_reason_is_refused_before_the_first_step(
    refused: tuple[Project, str],
) -> None:
    project, _ = refused
    lax = {"ops": {**GOOD, "champion_comparison": {"config": {"max_auc_loss": 0.5}}}}
    output = project.fail("champion_comparison", lax)
    assert "max_auc_loss 0.5 instead of 0.02" in output
    assert "relaxed_because" in output
