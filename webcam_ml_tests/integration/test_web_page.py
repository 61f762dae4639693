"""Dagster's page as a curator uses it: `make dev` on demo data, in a real browser.

Screenshots go to the folder named by ``WEBCAM_ML_SCREENSHOTS``, or to pytest's temporary one.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from webcam_ml.features._backbones import get_backbone, load_weights
from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.checks import CHECKS
from webcam_ml.printable import printable
from webcam_ml_tests.integration.project import REPOSITORY, Project, shared_demo

pytestmark = pytest.mark.deployed

# Pages and runs take their time on a busy machine.
MINUTE = 60_000
RUN = 20 * MINUTE
RUN_PAGE = re.compile(r"/runs/[0-9a-f-]{36}")

HOSTILE = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "[look](javascript:document.title='pwned')",
    "![t](http://127.0.0.1:9/track.png)",
    "a | b `c` **d** ~~e~~ &lt;f&gt; \\| g",
    "\u202eesrever\u2066 شروق الشمس 🌅",
)
CHECKS_OF: dict[str, list[str]] = defaultdict(list)
for check in CHECKS:
    for key in check.check_keys:
        CHECKS_OF[key.asset_key.to_user_string()].append(key.name)
SELECT_THE_WORD = r"""(element, word) => {
    const editor = element.CodeMirror
    const found = [];
    editor.eachLine(line => {
        const column = line.text.search(new RegExp(`\\b${word}\\b`))
        if (column >= 0) found.push({line: line.lineNo(), ch: column})
    })
    if (found.length !== 1) throw new Error(`${word} stands in ${found.length} lines`)
    const [start] = found
    editor.focus()
    editor.setSelection(start, {line: start.line, ch: start.ch + word.length})
    return start.ch
}"""
# Warnings about what is odd in the demo on purpose (docs/demo.md).
WARNINGS = {
    "cached_ratings_fresh",
    "no_near_duplicates_across_splits",
    "no_unknown_version",
    "no_unscored_frames",
}


@dataclass
class Dagster:
    """The page of a project of its own."""

    project: Project
    address: str
    page: Page
    screenshots: Path
    image_size: int | None

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.address}{path}")
        return self.page

    def shoot(self, name: str) -> None:
        # Pictures and icons come after the words.
        self.page.wait_for_load_state("networkidle")
        self.page.screenshot(path=self.screenshots / f"page_{name}.png", animations="disabled")

    def replace(self, editor: Locator, word: str, wanted: str) -> None:
        """Type over the one place where a word stands in an editor; ``{indent}`` is its indentation.

        The editor itself selects the word: where it is drawn again at that moment, a double click
        would land on another.
        """
        column = editor.evaluate(SELECT_THE_WORD, word)
        self.page.keyboard.insert_text(wanted.replace("{indent}", " " * column))

    def overview(self, asset: str) -> Page:
        page = self.open(f"/assets/{asset}?view=overview")
        expect(page.get_by_text("Latest materialization")).to_be_visible()
        return page

    def metadata(self, key: str) -> Locator:
        """The row of the table of metadata that has this key."""
        return self.page.get_by_role("row").filter(
            has=self.page.get_by_role("cell", name=key, exact=True)
        )

    def shown(self, key: str) -> Locator:
        """Open what is too long for the table."""
        self.metadata(key).get_by_text("[Show Markdown]").click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        return dialog

    def close(self) -> None:
        self.page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(self.page.get_by_role("dialog")).to_be_hidden()

    def watch(self) -> None:
        """Wait until the run that the page shows has ended, and see that it ended well."""
        page = self.page
        page.wait_for_url(RUN_PAGE)
        ended = page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
        expect(ended).to_be_visible(timeout=RUN)
        assert ended.inner_text() == "Success", page.locator("body").inner_text()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("WEBCAM_ML_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody brings who has trained a resnet18 elsewhere: a state dict."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    network = load_weights(get_backbone("resnet18"), "none", image_size=64, random_state=0)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(
    scope="module",
    params=[pytest.param(112, id="small"), pytest.param(None, id="full", marks=pytest.mark.slow)],
)
def image_size(request: pytest.FixtureRequest) -> int | None:
    """Side of the pictures that the network sees; None: as the config says, four times the work."""
    return request.param


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, image_size: int | None) -> Project:
    """A folder in which `make dev` finds all that a checkout has after `make demo-data`."""
    folder = tmp_path_factory.mktemp("page")
    retrain = folder / "retrain.yaml"
    retrain.write_text("ops: {checkpoint: {config: {model_name: resnet18, weights: none}}}")
    project = Project(
        folder,
        database_url=None,
        environment={
            "WEBCAM_ML_RETRAIN_CONFIG": str(retrain),
            # Labels may grow as soon as the last training is over.
            "WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS": "1",
        },
    )
    (project.home / "Makefile").symlink_to(REPOSITORY / "Makefile")
    (project.home / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    (project.home / "demo").mkdir()
    database = project.home / "demo" / "labels.sqlite"
    shutil.copy(shared_demo(), database)
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        for row, (webcam,) in enumerate(
            connection.execute(sa.text("SELECT id FROM webcams")).all()
        ):
            connection.execute(
                sa.text("UPDATE webcams SET title = :title WHERE id = :id"),
                {"title": HOSTILE[row % len(HOSTILE)], "id": webcam},
            )
    engine.dispose()
    return project


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[str]:
    """`make dev`, with everything that it starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = project.folder / "dev.log"
    # What `make test` hands down to a make of its own.
    env = {name: value for name, value in project.env().items() if not name.startswith("MAKE")}
    with log.open("wb") as output:
        # The packages are installed already, here: make must not install them again.
        process = subprocess.Popen(
            ["make", "--assume-old=.venv/.installed", "dev", f"PORT={port}"],
            cwd=project.home,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(f"{address}/server_info", timeout=10):
                    break
            except (ConnectionError, TimeoutError, urllib.error.URLError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        # Everything that make started, the run in progress too.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_busy_port_is_said_and_starts_nothing(project: Project, server: str) -> None:
    port = server.rpartition(":")[2]
    env = {name: value for name, value in project.env().items() if not name.startswith("MAKE")}
    ran = subprocess.run(
        ["make", "--assume-old=.venv/.installed", "dev", f"PORT={port}"],
        cwd=project.home,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert f"Port {port} is in use" in ran.stderr
    assert "dagster" not in ran.stdout + ran.stderr
    assert "any web site open in the same browser can start runs" in (
        (project.folder / "dev.log").read_text()
    )


@pytest.fixture(scope="module")
def browser_context() -> Iterator[BrowserContext]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail(
            "there is no chromium: install it (apt-get install chromium, brew install chromium)"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )  # fmt: skip
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        context.set_default_timeout(2 * MINUTE)
        expect.set_options(timeout=2 * MINUTE)
        yield context
        expect.set_options(timeout=None)
        browser.close()


@pytest.fixture(scope="module")
def dagster(
    project: Project,
    server: str,
    browser_context: BrowserContext,
    screenshots: Path,
    image_size: int | None,
) -> Iterator[Dagster]:
    page = browser_context.new_page()
    strangers: list[str] = []
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((server, "data:", "blob:")) or strangers.append(asked.url)
        ),
    )
    page.on("dialog", lambda dialog: strangers.append(dialog.message))
    yield Dagster(project, server, page, screenshots, image_size)
    page.close()
    assert strangers == [], "the page asked other servers, or a title ran"


@pytest.fixture(scope="module")
def after_the_demo_job(dagster: Dagster) -> Dagster:
    """The job `demo` was launched from its Launchpad and ended well."""
    page = dagster.open("/locations/webcam_ml/jobs/demo/playground")
    expect(page.get_by_text("No errors")).to_be_visible()
    expect(page.locator(".CodeMirror")).to_contain_text("weights: none")
    if dagster.image_size is not None:
        editor = page.locator(".CodeMirror")
        dagster.replace(editor, "128", str(dagster.image_size))
    expect(page.get_by_text("No errors")).to_be_visible()
    dagster.shoot("launchpad")
    page.get_by_role("button", name="Launch Run").click()
    dagster.watch()
    dagster.shoot("demo_run")
    return dagster


@pytest.fixture(scope="module")
def after_materialize_all(after_the_demo_job: Dagster, weights: Path) -> Dagster:
    """Everything was materialized from the lineage page, with the defaults and a weights file."""
    dagster = after_the_demo_job
    page = dagster.open("/asset-groups")
    page.get_by_role("button", name="Materialize all").click(modifiers=["Shift"])
    launchpad = page.get_by_role("dialog")
    editor = launchpad.locator(".CodeMirror").first
    # The editor holds no more lines than are on the screen.
    expect(editor).to_contain_text("champion_comparison")
    dagster.replace(editor, "imagenet", str(weights))
    if dagster.image_size is not None:
        # The size that goes with the model is no default that could be typed over.
        dagster.replace(editor, "strategy", f"image_size: {dagster.image_size}\n{{indent}}strategy")
    assert f"weights: {weights}" in editor.evaluate("element => element.CodeMirror.getValue()")
    expect(launchpad.get_by_text("No errors")).to_be_visible()
    dagster.shoot("materialize_all")
    launchpad.get_by_role("button", name="Materialize").click()
    dagster.watch()
    dagster.shoot("materialized")
    return dagster


def test_the_graph_shows_every_asset_in_its_group(after_materialize_all: Dagster) -> None:
    dagster = after_materialize_all
    page = dagster.open("/asset-groups")
    for definition in ASSETS:
        (group,) = set(definition.group_names_by_key.values())
        expect(page.get_by_text(group, exact=True).last).to_be_visible()
    dagster.shoot("groups")
    page.keyboard.press("Alt+e")
    for definition in ASSETS:
        name = definition.key.to_user_string()
        # Long names have an ellipsis in their middle.
        node = page.get_by_text(re.compile(f"^{name[:4]}.*{name[-4:]}$"))
        expect(node.last).to_be_visible()
    # Green is what is materialized and not behind.
    green = page.locator("[style*='--color-background-green']")
    expect(green).to_have_count(len(ASSETS))
    dagster.shoot("lineage")


def test_every_check_is_green_but_the_warnings_of_the_demo(after_materialize_all: Dagster) -> None:
    for asset, names in CHECKS_OF.items():
        page = after_materialize_all.open(f"/assets/{asset}?view=checks")
        expect(page.get_by_text(f"Checks ({len(names)})")).to_be_visible()
        for name in names:
            verdict = "Failed" if name in WARNINGS else "Succeeded"
            expect(page.get_by_title(name, exact=True).first.locator("xpath=..")).to_contain_text(
                verdict
            )
        after_materialize_all.shoot(f"checks_{asset}")


def test_the_plots_show(after_materialize_all: Dagster) -> None:
    for asset, key in (("eval_report", "roc pr"), ("champion_comparison", "comparison")):
        after_materialize_all.overview(asset)
        after_materialize_all.shoot(asset)
        plot = after_materialize_all.shown(key).get_by_role("img", name="picture")
        expect(plot).to_have_js_property("complete", True)
        assert plot.evaluate("image => image.naturalWidth") > 500
        whole = plot.evaluate(
            """image => image.getBoundingClientRect().right
                <= image.closest('[role=dialog]').getBoundingClientRect().right"""
        )
        assert whole, "the plot is wider than what the page shows of it"
        after_materialize_all.shoot(f"{asset}_plot")
        after_materialize_all.close()


def test_the_ten_worst_show_with_their_pictures_and_hostile_titles_stay_text(
    after_materialize_all: Dagster,
) -> None:
    page = after_materialize_all.overview("disagreement_report")
    after_materialize_all.shoot("disagreement_report")
    dialog = after_materialize_all.shown("the 10 worst")
    pictures = dialog.get_by_role("img", name="picture")
    expect(pictures).to_have_count(10)
    for index in range(10):
        assert pictures.nth(index).evaluate("image => image.naturalWidth") > 50
    titles = {
        " ".join(title.split()) for title in dialog.locator("td:nth-child(5)").all_inner_texts()
    }
    # What turns the direction of writing is shown by its number.
    assert titles <= {" ".join(printable(title).split()) for title in HOSTILE}
    assert len(titles) >= 3
    assert page.title() != "pwned"
    after_materialize_all.shoot("worst")
    after_materialize_all.close()
    after_materialize_all.shown("differences by phase")
    after_materialize_all.shoot("differences")
    after_materialize_all.close()


def test_what_to_rate_next_shows_with_its_pictures(after_materialize_all: Dagster) -> None:
    page = after_materialize_all.overview("rating_queue")
    expect(page.get_by_role("link", name="Download rating_queue.csv")).to_be_visible()
    after_materialize_all.shoot("rating_queue")
    pictures = after_materialize_all.shown("the first 10").get_by_role("img", name="picture")
    expect(pictures).to_have_count(10)
    for index in range(10):
        assert pictures.nth(index).evaluate("image => image.naturalWidth") > 50
    after_materialize_all.shoot("rating_queue_first")
    after_materialize_all.close()


@pytest.mark.parametrize(
    ("asset", "name"),
    [("disagreement_report", "gallery.html"), ("champion_comparison", "what_changed.html")],
)
def test_a_page_can_be_had_by_a_click(
    after_materialize_all: Dagster, tmp_path: Path, asset: str, name: str
) -> None:
    dagster = after_materialize_all
    page = dagster.overview(asset)
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download {name}").click()
    taken = tmp_path / name
    download.value.save_as(taken)
    assert taken.read_bytes() == (dagster.project.latest(asset) / name).read_bytes()


def test_the_sensor_is_turned_on_and_new_labels_start_a_retrain(
    after_materialize_all: Dagster,
) -> None:
    dagster = after_materialize_all
    page = dagster.open("/locations/webcam_ml/sensors/label_growth_sensor")
    switch = page.get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    rate_what_is_unrated(dagster.project.home / "demo" / "labels.sqlite")
    page.locator("label", has=switch).click()
    expect(switch).to_be_checked()
    dagster.shoot("sensor_on")
    started = page.get_by_role("link").filter(has_text=re.compile("^[0-9a-f]{8}$"))
    expect(started.first).to_be_visible(timeout=RUN)
    dagster.shoot("sensor_fired")
    dagster.open(str(started.first.get_attribute("href")))
    expect(page.get_by_text("STEP_START", exact=True).first).to_be_visible()
    dagster.shoot("retrain")


def rate_what_is_unrated(database: Path) -> None:
    """Let one person rate every snapshot that nobody has rated, as the application writes it."""
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        unrated = connection.execute(
            sa.text("SELECT id FROM webcam_snapshots WHERE calculated_rating IS NULL")
        )
        for (snapshot,) in unrated.all():
            values = {"id": snapshot, "rating": 1 + snapshot % 5}
            connection.execute(
                sa.text(
                    "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) "
                    "VALUES (:id, 'somebody-new', :rating)"
                ),
                values,
            )
            connection.execute(
                sa.text("UPDATE webcam_snapshots SET calculated_rating = :rating WHERE id = :id"),
                values,
            )
    engine.dispose()
