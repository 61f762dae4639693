"""`webcam-ml review` as a curator uses it: a real server process, PostgreSQL, and a browser.

Screenshots go to the folder named by ``WEBCAM_ML_SCREENSHOTS``, or to pytest's temporary one.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from playwright.sync_api import Error as PlaywrightError

from webcam_ml.labels import read_dated_votes
from webcam_ml_tests.disagreement.test_gallery_browser import (
    CONTRAST,
    DESKTOP,
    PHONE,
    browser,
    screenshots,
)
from webcam_ml_tests.integration.project import REPOSITORY
from webcam_ml_tests.integration.server import free_port
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer, running_server
from webcam_ml_tests.review.conftest import fill, prepare, rate, ratings

pytestmark = pytest.mark.deployed

__all__ = ["browser", "screenshots"]

KEYS = "12345n"
VOTES = 300
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"> \u202eesrever 🌅 " + "sehr lang " * 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that this module may restart."""
    with running_server() as server:
        yield server


class Review:
    """The command in a process of its own; killed and started again on the same port."""

    def __init__(self, store: Store, folder: Path, *arguments: str) -> None:
        self.store = store
        self.folder = folder
        self.port = free_port()
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "webcam_ml.cli", "review", *self._arguments),
                *("--curator", "anna", "--port", str(self.port)),
            ],
            cwd=self.folder,
            env=os.environ
            | {
                "DATABASE_URL": self.store.url,
                "PYTHONPATH": str(REPOSITORY),
                "WEBCAM_ML_ARTIFACTS": str(self.folder / "artifacts"),
                "WEBCAM_ML_CACHE": str(self.folder / "cache"),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.match(r"Open (\S+)", line):
                self.address = found[1]
                return
        pytest.fail("webcam-ml review ended before it served")

    def kill(self) -> None:
        """As a power cut does."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.communicate()
        ended, self._process = self._process.returncode, None
        return ended

    @property
    def is_up(self) -> bool:
        return self._process is not None


@pytest.fixture
def begin(postgres: PostgresServer, tmp_path: Path) -> Iterator[Callable[..., Review]]:
    """Begin a review of so many frames on a fresh database."""
    begun: list[Review] = []
    with postgres.fresh_database() as url:
        store = Store(url)
        prepare(store)

        def begin(frames: int = 12, *arguments: str) -> Review:
            fill(store, tmp_path / "pictures", frames=frames, webcams=max(frames // 4, 1))
            ids = list(range(1, frames + 1))
            random.Random(1).shuffle(ids)
            (tmp_path / "list.csv").write_text("snapshot_id\n" + "".join(f"{id}\n" for id in ids))
            begun.append(Review(store, tmp_path, "list.csv", *arguments))
            return begun[-1]

        yield begin
        for review in begun:
            if review.is_up:
                review.kill()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


def opened(context: BrowserContext, review: Review) -> Page:
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(review.address)
    return page


def shown(page: Page) -> int:
    """Wait until there is a picture, and say of which snapshot."""
    page.wait_for_selector("body[data-shown]", timeout=60_000)
    return int(page.locator("body").get_attribute("data-shown"))


def vote(page: Page, key: str) -> tuple[int, str]:
    snapshot_id = shown(page)
    page.keyboard.press(key)
    return snapshot_id, key.upper()


def wait_until_saved(page: Page) -> None:
    expect(page.locator("#kept")).to_have_text("All saved", timeout=60_000)


def test_the_database_has_every_key_although_server_and_database_go_down(
    begin: Callable[..., Review],
    postgres: PostgresServer,
    context: BrowserContext,
    screenshots: Path,
) -> None:
    review = begin(VOTES + 40)
    review.start()
    page = opened(context, review)
    rng = random.Random(5)
    pressed: dict[int, str] = {}
    order: list[int] = []
    taken_back = 0
    for number in range(VOTES):
        if number in (80, 190):
            # A few more are pressed before anybody starts it again.
            review.kill()
        if number in (83, 194):
            review.start()
        if number == 230:
            postgres.stop()
        if number == 270:
            expect(page.locator("#kept")).to_contain_text("in the journal, not saved yet")
            expect(page.locator("#trouble")).to_contain_text("Cannot open PostgreSQL")
            page.screenshot(path=screenshots / "review_database_away.png")
            postgres.start()
        if order and rng.random() < 0.1:
            page.keyboard.press("z")
            undone = order.pop()
            taken_back += 1
            assert shown(page) == undone
            del pressed[undone]
        snapshot_id, said = vote(page, rng.choice(KEYS))
        assert snapshot_id not in pressed
        order.append(snapshot_id)
        pressed[snapshot_id] = said
    wait_until_saved(page)
    assert ratings(review.store) == pressed
    assert len(pressed) == VOTES - taken_back
    expect(page.locator("#counts")).to_contain_text(f"{len(pressed)} rated")
    assert review.end() == 0


def test_what_was_pressed_while_the_server_was_down_survives_the_tab(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    review = begin()
    review.start()
    page = opened(context, review)
    pressed = dict(vote(page, key) for key in "12")
    wait_until_saved(page)
    review.kill()
    pressed |= dict(vote(page, key) for key in "345")
    expect(page.locator("#trouble")).to_contain_text("The server does not answer")
    expect(page.locator("#kept")).to_have_text("3 not sent yet")
    page.close()
    review.start()
    again = opened(context, review)
    shown(again)
    wait_until_saved(again)
    assert ratings(review.store) == pressed


def test_a_tab_knows_what_another_one_has_not_sent(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    review = begin()
    review.start()
    tabs = [opened(context, review)]
    pressed = dict([vote(tabs[0], "1")])
    wait_until_saved(tabs[0])
    tabs[0].route("**/votes", lambda route: route.abort())
    pressed |= dict(vote(tabs[0], key) for key in "23")
    expect(tabs[0].locator("#kept")).to_have_text("2 not sent yet")
    tabs.append(opened(context, review))
    expect(tabs[1].locator("#kept")).to_have_text("2 not sent yet by another tab")
    tabs[0].close()
    wait_until_saved(tabs[1])
    assert ratings(review.store) == pressed


# Reading waits for what is being written.
ON_DISK = """() => new Promise((resolve) => {
    const opening = indexedDB.open("webcam-ml-review");
    opening.onsuccess = () => {
        const reading = opening.result.transaction("unsent").objectStore("unsent").getAll();
        reading.onsuccess = () => resolve(reading.result.flat().length);
    };
})"""


def processes_of(profile: Path) -> list[int]:
    """The ids of the browser that has this profile; its helpers end with it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # ended meanwhile
        if f"--user-data-dir={profile}" in words and not any("--type=" in one for one in words):
            found.append(int(path.parent.name))
    return found


def test_what_was_pressed_while_the_server_was_down_survives_the_browser(
    begin: Callable[..., Review], browser: Browser, tmp_path: Path
) -> None:
    """Killed, as by a power cut: it writes nothing any more."""
    profile = tmp_path / "profile"

    def start() -> BrowserContext:
        return browser.browser_type.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
            viewport=DESKTOP,
        )

    review = begin()
    review.start()
    killed = start()
    page = opened(killed, review)
    shown(page)
    review.kill()
    pressed = dict(vote(page, key) for key in "12345")
    expect(page.locator("#kept")).to_have_text("5 not sent yet")
    assert page.evaluate(ON_DISK) == 5
    (process,) = processes_of(profile)
    os.kill(process, signal.SIGKILL)
    with suppress(PlaywrightError):
        killed.close()
    review.start()
    again = start()
    page = opened(again, review)
    shown(page)
    wait_until_saved(page)
    again.close()
    assert ratings(review.store) == pressed


def test_a_clock_that_is_wrong_in_the_browser_dates_no_vote(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    context.clock.set_fixed_time("2001-01-01")
    review = begin()
    review.start()
    page = opened(context, review)
    pressed = dict(vote(page, key) for key in KEYS)
    assert page.evaluate("new Date().getFullYear()") == 2001
    wait_until_saved(page)
    assert ratings(review.store) == pressed
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    times = read_dated_votes(review.store.database, list(pressed))["voted_at"]
    assert all(now - minute < time < now + minute for time in times)
    found = re.search(r"([\d,]+) an hour", page.locator("#counts").inner_text())
    assert found is not None
    # Six votes within a minute, and not within no time or years.
    assert 300 < int(found[1].replace(",", "")) < 300_000


def test_an_answer_that_comes_late_does_not_stay(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    review = begin(40)
    review.start()
    page = opened(context, review)
    shown(page)
    held: list[Route] = []
    # Playwright writes into what it is given, so not the method itself.
    page.route("**/frames?*", lambda route: held.extend([route]))
    rated = 0
    while not held:
        vote(page, "4")
        rated += 1
        wait_until_saved(page)
        expect(page.locator("#counts")).to_contain_text(f"{rated} rated")
    (late,) = held
    answer = late.fetch()
    assert answer.json()["status"]["rated"] == rated
    vote(page, "5")
    expect(page.locator("#counts")).to_contain_text(f"{rated + 1} rated")
    wait_until_saved(page)
    late.fulfill(response=answer)
    # What it says is shown, and put right at the next look, within a second.
    page.wait_for_timeout(3_000)
    expect(page.locator("#counts")).to_contain_text(f"{rated + 1} rated")
    assert len(ratings(review.store)) == rated + 1


def test_two_tabs_share_the_work(begin: Callable[..., Review], context: BrowserContext) -> None:
    review = begin(24)
    review.start()
    tabs = [opened(context, review), opened(context, review)]
    pressed: dict[int, str] = {}
    for number in range(20):
        snapshot_id, said = vote(tabs[number % 2], KEYS[number % 5])
        assert snapshot_id not in pressed
        pressed[snapshot_id] = said
        # The other tab hears of it before it is pressed there.
        expect(tabs[1 - number % 2].locator(f"body[data-shown='{snapshot_id}']")).to_have_count(0)
    for tab in tabs:
        wait_until_saved(tab)
    assert ratings(review.store) == pressed


def test_the_page_works_from_the_keyboard(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    review = begin()
    rate(review.store, (1, 4, "ben"), (2, 4, "ben"))
    review.start()
    page = opened(context, review)
    first, _ = vote(page, "4")
    second = shown(page)
    page.keyboard.press("Space")
    third, _ = vote(page, "N")
    spoken = page.locator("#spoken")
    expect(spoken).to_contain_text("N. Now: ")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == third
    expect(page.locator("#mine")).to_have_text("your vote: N")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#mine")).to_have_text("your vote: skipped")
    page.keyboard.press("ArrowLeft")
    assert shown(page) == first
    expect(page.locator("[data-vote='4']")).to_have_attribute("aria-pressed", "true")
    vote(page, "2")
    assert shown(page) == second
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#mine")).to_be_hidden()
    wait_until_saved(page)
    assert ratings(review.store, "anna") == {first: "2", third: "N"}

    page.keyboard.press("z")
    expect(spoken).to_contain_text("Undone.")
    assert shown(page) == first
    expect(page.locator("#mine")).to_have_text("your vote: 4")
    page.keyboard.press("z")
    assert shown(page) == third
    page.keyboard.press("z")
    assert shown(page) == second
    expect(page.locator("#mine")).to_be_hidden()
    wait_until_saved(page)
    assert ratings(review.store, "anna") == {first: "4"}

    page.reload()
    assert shown(page) == second, "a reload goes on where it was"
    page.get_by_role("button", name="Skip").focus()
    page.keyboard.press("Space")
    assert shown(page) == third, "space presses the button that has the focus, once"
    page.keyboard.down("1")
    page.keyboard.down("1")
    page.keyboard.up("1")
    page.keyboard.press("Control+5")
    wait_until_saved(page)
    assert ratings(review.store, "anna") == {first: "4", third: "1"}


def test_others_are_shown_after_the_vote_and_if_one_wants_it(
    begin: Callable[..., Review], context: BrowserContext
) -> None:
    review = begin()
    rate(review.store, *((id, 2, "ben") for id in range(1, 13)))
    review.start()
    page = opened(context, review)
    told: list[str] = []
    page.on("response", lambda answer: told.append(answer.url))
    vote(page, "4")
    wait_until_saved(page)
    assert not [url for url in told if "/said/" in url]
    expect(page.locator("#others")).to_be_hidden()
    page.get_by_label("After my vote, show what others say").check()
    snapshot_id, _ = vote(page, "4")
    expect(page.locator("#others")).to_contain_text(f"Snapshot {snapshot_id}: you 4")
    expect(page.locator("#others")).to_contain_text("1 other person")
    expect(page.locator("#others")).to_contain_text("2.0 stars")


def test_the_end_says_what_was_done_and_what_could_not_be_shown(
    begin: Callable[..., Review], context: BrowserContext, screenshots: Path
) -> None:
    review = begin(3)
    (review.folder / "pictures" / "2.png").unlink()
    review.start()
    page = opened(context, review)
    snapshot_id = shown(page)
    review.store.execute(f"DELETE FROM webcam_snapshots WHERE id = {snapshot_id}")
    vote(page, "4")
    expect(page.locator("#notices")).to_contain_text(f"Snapshot {snapshot_id}: it was deleted")
    kept, _ = vote(page, "5")
    wait_until_saved(page)
    expect(page.locator("#instead")).to_contain_text("Nothing is left to rate.")
    expect(page.locator("#instead")).to_contain_text("Rated: 1.")
    expect(page.locator("#instead")).to_contain_text("1 not_found")
    page.screenshot(path=screenshots / "review_end.png")
    assert ratings(review.store) == {kept: "5"}


def test_a_hostile_title_is_text(
    begin: Callable[..., Review], context: BrowserContext, screenshots: Path
) -> None:
    review = begin()
    escaped = HOSTILE.replace("'", "''")
    review.store.execute(f"UPDATE webcams SET title = '{escaped}'")
    review.start()
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(review.address)
    vote(page, "4")
    shown(page)
    assert page.locator("#title").text_content() == HOSTILE.strip()
    assert "pwned" not in page.title()
    assert complaints == []
    page.screenshot(path=screenshots / "review_hostile.png")

    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'pwned'";
            document.body.append(script);
            const holder = document.createElement("div");
            holder.innerHTML = `<img src="/x" onerror="document.title = 'pwned'">`;
            document.body.append(holder);
        }"""
    )
    page.wait_for_timeout(200)
    assert "pwned" not in page.title()
    assert any("Content Security Policy" in complaint for complaint in complaints)


def test_a_phone_shows_all_of_it_in_the_dark(
    begin: Callable[..., Review], browser: Browser, screenshots: Path
) -> None:
    review = begin()
    review.start()
    context = browser.new_context(
        viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2, color_scheme="dark"
    )
    page = opened(context, review)
    shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.screenshot(path=screenshots / "review_phone.png")
    snapshot_id = shown(page)
    page.get_by_role("button", name="Vivid").tap()
    page.get_by_role("button", name="Skip").tap()
    page.get_by_role("button", name="Back").tap()
    page.get_by_role("button", name="Back").tap()
    assert shown(page) == snapshot_id
    wait_until_saved(page)
    assert ratings(review.store) == {snapshot_id: "4"}
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_everything_has_a_name(
    begin: Callable[..., Review], browser: Browser, screenshots: Path, scheme: str
) -> None:
    review = begin()
    review.start()
    context = browser.new_context(viewport=DESKTOP, color_scheme=scheme)
    page = opened(context, review)
    vote(page, "4")
    shown(page)
    wait_until_saved(page)
    for part in ("h1", ".to", "#counts", "#kept", "#title", "#facts", ".vote span", "kbd", ".line"):
        contrast = page.locator(part).first.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{part} has a contrast of {contrast:.1f} in {scheme}"
    assert page.get_by_role("img").get_attribute("alt")
    for button in page.get_by_role("button").all():
        assert button.inner_text().strip()
    assert page.get_by_role("status").get_attribute("aria-live") == "polite"
    page.screenshot(path=screenshots / f"review_{scheme}.png")
    context.close()
