"""The gallery in a real browser: what a curator clicks, types and sees.

Screenshots go to the folder named by ``WEBCAM_ML_SCREENSHOTS``, or to pytest's temporary one.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from webcam_ml.contracts import RELABEL_QUEUE_TABLE
from webcam_ml.disagreement import AskedBefore, DisagreementSettings
from webcam_ml_tests.disagreement.compared_rows import QUICK, build, compared_rows

HOSTILE = {
    10: "<script>document.title='pwned'</script>",
    11: '"><img src=x onerror="document.title=\'pwned\'">',
    12: "</script><svg onload=\"document.title='pwned'\">",
    13: "\u202eesrever \u2067 sunset",
    14: "شروق الشمس على البحر",
    15: "🌅👩‍👩‍👧‍👦 Hafenblick " + "sehr lang " * 60,
}
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
N = 36


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
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
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = compared_rows(N, seed=11).with_columns(
        webcam_title=pl.col("snapshot_id").replace_strict(HOSTILE, default=pl.col("webcam_title")),
        sha256=pl.when(pl.col("snapshot_id") == 16).then(None).otherwise("sha256"),
        image_path_or_url=pl.when(pl.col("snapshot_id") == 17)
        .then(pl.lit("javascript:document.title='pwned'"))
        .otherwise("image_path_or_url"),
        captured_at=pl.when(pl.col("snapshot_id") == 18).then(None).otherwise("captured_at"),
    )
    folder = tmp_path_factory.mktemp("report")
    build(rows).save(folder)
    return folder / "gallery.html"


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("WEBCAM_ML_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def complaints() -> list[str]:
    """What the browser logged, refused or tried to fetch; every test ends with none of it."""
    return []


@pytest.fixture
def open_page(browser: Browser, gallery: Path, complaints: list[str]):
    contexts: list[BrowserContext] = []

    def opened(file=gallery, address="", viewport=DESKTOP, **options) -> Page:
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: (
                request.url.partition("#")[0] == file.as_uri()
                or request.url.startswith("data:")
                or complaints.append(f"request: {request.url}")
            ),
        )
        page.goto(f"{file.as_uri()}{address}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


def shown(page: Page) -> list[dict[str, str]]:
    """The data of the cards that can be seen, in their order on the page."""
    return page.locator(".card:visible").evaluate_all(
        "cards => cards.map(card => ({...card.dataset}))"
    )


def focused_rank(page: Page) -> str | None:
    return page.evaluate("document.activeElement.closest('.card')?.dataset.rank ?? null")


def test_all_rows_are_there_worst_first(page):
    assert [card["rank"] for card in shown(page)] == [str(rank) for rank in range(1, N + 1)]
    expect(page.get_by_role("status")).to_have_text(f"{N} pictures")
    assert page.title() == "Labels worth a second look · binary-resnet18-0a1b2c3d4e5f"


def test_every_picture_is_really_drawn(page):
    page.locator(".card").last.scroll_into_view_if_needed()
    images = page.locator(".card img")
    assert images.count() == N - 1
    for index in range(images.count()):
        images.nth(index).scroll_into_view_if_needed()
        expect(images.nth(index)).to_have_js_property("complete", True)
        assert images.nth(index).evaluate("image => image.naturalWidth") > 0
    expect(page.get_by_text("The picture is gone")).to_have_count(1)


FILTERS = [
    ("Difference", "Model higher", "direction", "model_high"),
    ("Difference", "Model lower", "direction", "model_low"),
    ("Split", "train · out-of-fold", "origin", "train · out-of-fold"),
    ("Split", "test · model", "origin", "test · model"),
    ("Phase", "sunset", "phase", "sunset"),
]


def test_each_filter_keeps_exactly_the_rows_that_match(page):
    everything = shown(page)
    for label, option, field, value in FILTERS:
        wanted = [card for card in everything if card[field] == value]
        assert 0 < len(wanted) < N
        page.get_by_label(label, exact=True).select_option(label=option)
        assert shown(page) == wanted
        expect(page.get_by_role("status")).to_have_text(f"{len(wanted)} of {N} pictures")
        page.get_by_label(label, exact=True).select_option("")


def test_filters_combine_and_reset_brings_everything_back(page):
    everything = shown(page)
    wanted = [
        card["rank"]
        for card in everything
        if card["direction"] == "model_low" and card["phase"] == "sunrise"
    ]
    page.get_by_label("Difference", exact=True).select_option("model_low")
    page.get_by_label("Phase").select_option("sunrise")
    page.get_by_label("Sort by").select_option("webcam")
    assert sorted(card["rank"] for card in shown(page)) == sorted(wanted)
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("status")).to_have_text(f"{N} pictures")
    assert shown(page) == everything


def test_search_finds_titles_in_any_case_and_script(page):
    found = {"شروق": 1, "HAFENBLICK sehr": 1, "<script>": 1, '"><img': 1, "no such webcam": 0}
    for typed, count in found.items():
        page.get_by_label("Webcam or #snapshot").fill(typed)
        assert len(shown(page)) == count
        assert page.get_by_text("No picture matches").is_visible() == (count == 0)


def test_search_finds_webcams_by_number_and_an_empty_result_leads_back(page):
    first = shown(page)[0]["webcam"]
    page.get_by_label("Webcam or #snapshot").fill(first)
    assert {card["webcam"] for card in shown(page)} == {first}
    page.get_by_label("Webcam or #snapshot").fill("nothing")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("status")).to_have_text(f"{N} pictures")


ORDERS = {
    "difference": lambda card: -float(card["difference"]),
    "people-high": lambda card: -float(card["people"]),
    "people-low": lambda card: float(card["people"]),
    "oldest": lambda card: card["date"] or "9",
}


def test_each_order_sorts_and_equal_rows_keep_their_rank(page):
    everything = shown(page)
    for option, key in ORDERS.items():
        page.get_by_label("Sort by").select_option(option)
        # `everything` is in order of rank, and Python's sort keeps that among equals.
        assert shown(page) == sorted(everything, key=key)


def test_newest_first_puts_pictures_without_a_date_last(page):
    page.get_by_label("Sort by").select_option("newest")
    dates = [card["date"] for card in shown(page)]
    assert dates[-1] == ""
    assert dates[:-1] == sorted(dates[:-1], reverse=True)


def test_the_whole_page_works_from_the_keyboard(page):
    page.keyboard.press("/")
    expect(page.get_by_label("Webcam or #snapshot")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused_rank(page) == "1"

    page.keyboard.press("ArrowRight")
    assert focused_rank(page) == "2"
    page.keyboard.press("ArrowDown")
    columns = int(focused_rank(page)) - 2
    assert columns == page.locator(".card").evaluate_all(
        "cards => cards.filter(card => card.offsetTop === cards[0].offsetTop).length"
    )
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert focused_rank(page) == "1"
    page.keyboard.press("End")
    assert focused_rank(page) == str(N)

    page.keyboard.press("Enter")
    details = page.get_by_role("dialog")
    expect(details).to_be_visible()
    expect(details).to_contain_text(f"{N} of {N}")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(details).to_contain_text(f"{N - 2} of {N}")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    assert focused_rank(page) == str(N - 2)

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "permalink"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "source"
    page.keyboard.press("Tab")
    assert focused_rank(page) is None, "only one card is a stop of the tab key"


def test_the_arrows_still_turn_after_the_last_picture_was_reached_by_button(page):
    page.locator(".open").nth(N - 2).click()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("dialog")).to_contain_text(f"{N - 1} of {N}")


def test_turning_stays_within_the_filtered_pictures(page):
    page.get_by_label("Difference", exact=True).select_option("model_high")
    ranks = [card["rank"] for card in shown(page)]
    page.locator(".card:visible .open").first.click()
    titles = []
    for _ in ranks:
        titles.append(page.locator("#details-title").inner_text())
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog")).to_contain_text(f"{len(ranks)} of {len(ranks)}")
    assert titles == page.locator(".card:visible .title bdi").evaluate_all(
        "all => all.map(one => one.textContent)"
    )


def test_hostile_text_neither_runs_nor_breaks_out(page, screenshots):
    page.wait_for_load_state("load")
    for snapshot, title in HOSTILE.items():
        card = page.locator(f".card[data-snapshot='{snapshot}']")
        shown_title = card.locator(".title bdi").first.text_content()
        assert shown_title == (title if len(title) <= 200 else f"{title[:200]}…")
    card = page.locator(".card", has=page.get_by_text("javascript:document.title", exact=False))
    assert card.locator(".source").count() == 0

    page.get_by_label("Webcam or #snapshot").fill("<script>")
    page.locator(".card:visible .open").click()
    expect(page.locator("#details-title")).to_have_text(HOSTILE[10])
    assert "pwned" not in page.title()
    assert page.evaluate("document.scripts.length") == 1
    page.screenshot(path=screenshots / "hostile.png")


def test_even_markup_that_got_in_could_not_run(open_page, complaints):
    page = open_page()
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'pwned'";
            document.body.append(script);
            const holder = document.createElement("div");
            holder.innerHTML = `<img src="data:image/png,x" onerror="document.title = 'pwned'">`;
            document.body.append(holder);
        }"""
    )
    page.wait_for_timeout(200)
    assert "pwned" not in page.title()
    assert all("Content Security Policy" in complaint for complaint in complaints)
    assert len(complaints) >= 2
    complaints.clear()


def test_without_javascript_every_card_is_there_to_read(open_page):
    page = open_page(java_script_enabled=False)
    expect(page.locator(".card")).to_have_count(N)
    expect(page.locator(".tools")).to_be_hidden()


def test_a_phone_shows_it_without_scrolling_sideways(open_page, screenshots):
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.screenshot(path=screenshots / "phone.png")

    expect(page.get_by_label("Difference", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Filters").tap()
    page.get_by_label("Difference", exact=True).select_option("model_low")
    assert {card["direction"] for card in shown(page)} == {"model_low"}
    page.screenshot(path=screenshots / "phone_filters.png")

    page.locator(".card:visible .open").first.tap()
    dialog = page.get_by_role("dialog").bounding_box()
    assert dialog["x"] >= 0
    assert dialog["x"] + dialog["width"] <= PHONE["width"]
    page.screenshot(path=screenshots / "phone_details.png")
    page.get_by_role("button", name="Close").tap()
    page.locator("details.summary summary").tap()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


# --- the queue, what was answered, addresses ------------------------------------------------------

ANSWERED = {335: datetime(2026, 3, 4, tzinfo=UTC)}
ASKED_AGAIN = {396: "another rater disagrees"}


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose queue reaches beyond its list; 335 and 396 lead an unasked queue."""
    folder = tmp_path_factory.mktemp("queued")
    build(
        compared_rows(400, seed=11),
        settings=DisagreementSettings(limit=30, **QUICK),
        asked=AskedBefore(ANSWERED, ASKED_AGAIN),
    ).save(folder)
    return folder


def queue_of(folder: Path) -> list[str]:
    rows = RELABEL_QUEUE_TABLE.read(folder / "relabel_queue.csv", "snapshot_id")
    return [str(snapshot) for snapshot in rows["snapshot_id"]]


def test_every_row_of_the_queue_can_be_opened_in_the_order_of_the_queue(open_page, queued):
    page = open_page(queued / "gallery.html")
    expect(page.locator("code")).to_have_text("webcam-ml review --relabel")
    listed = {card["snapshot"] for card in shown(page)}
    page.get_by_role("link", name="show it").click()
    wanted = queue_of(queued)
    assert len(wanted) == 30
    assert not set(wanted) <= listed, "the queue should reach beyond the list, or nothing is shown"
    assert [card["snapshot"] for card in shown(page)] == wanted
    page.locator(".card:visible .open").first.click()
    opened = []
    for _ in wanted:
        opened.append(page.locator("#details-content .permalink").inner_text().split("#")[1])
        page.keyboard.press("ArrowRight")
    assert opened == wanted
    ranks = page.locator(".card:visible .rank").all_inner_texts()
    assert ranks == [str(place) for place in range(1, 31)]


def test_what_was_rated_again_is_marked_and_not_queued(open_page, queued):
    page = open_page(queued / "gallery.html")
    expect(page.get_by_text("1 label was rated again since")).to_be_visible()
    assert not set(queue_of(queued)) & {str(snapshot) for snapshot in ANSWERED}
    page.get_by_label("Show", exact=True).select_option("answered")
    assert [card["snapshot"] for card in shown(page)] == ["335"]
    expect(page.locator(".card:visible .asked")).to_have_text("Rated again on 2026-03-04")
    expect(page.locator("[id='396'] .asked")).to_have_text("Asked again: another rater disagrees")


def address(page: Page) -> str:
    page.wait_for_timeout(400)  # it is noted when typing stops
    return page.url.partition("#")[2]


def test_a_number_sign_finds_a_snapshot_whatever_else_is_chosen(open_page, queued):
    page = open_page(queued / "gallery.html")
    page.get_by_label("Phase").select_option("sunset")
    search = page.get_by_label("Webcam or #snapshot")
    everywhere = page.locator(".card").evaluate_all("all => all.map(one => one.dataset.snapshot)")
    for snapshot in (everywhere[0], everywhere[-1]):
        search.fill(f"#{snapshot}")
        assert [card["snapshot"] for card in shown(page)] == [snapshot]
        expect(page.get_by_role("status")).to_have_text(f"Snapshot {snapshot} is on this page")
    search.fill("#9999999")
    expect(page.get_by_role("status")).to_have_text("Snapshot 9999999 is not on this page")


def test_each_card_has_a_link_that_opens_it(open_page, queued):
    everything = open_page(queued / "gallery.html")
    only_queued = next(
        one
        for one in queue_of(queued)
        if one not in {card["snapshot"] for card in shown(everything)}
    )
    for snapshot in ("335", only_queued):
        card = everything.locator(f"[id='{snapshot}']")
        link = card.locator(".permalink")
        assert (
            link.evaluate("link => link.href") == f"{(queued / 'gallery.html').as_uri()}#{snapshot}"
        )
        page = open_page(queued / "gallery.html", f"#{snapshot}")
        expect(page.get_by_role("dialog")).to_contain_text(f"#{snapshot}")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
    expect(open_page(queued / "gallery.html", "#31415926").get_by_role("status")).to_have_text(
        "Snapshot 31415926 is not on this page"
    )


def test_what_is_chosen_stands_in_the_address_and_comes_back(open_page, queued):
    page = open_page(queued / "gallery.html")
    assert address(page) == ""
    page.get_by_label("Show", exact=True).select_option("queue")
    page.get_by_label("Difference", exact=True).select_option("model_low")
    page.get_by_label("Sort by").select_option("oldest")
    page.get_by_label("Webcam or #snapshot").fill("camera 1")
    kept = address(page)
    again = open_page(queued / "gallery.html", f"#{kept}")
    assert shown(again) == shown(page) != []
    page.locator(".card:visible .open").nth(1).click()
    opened = page.locator("#details-content .permalink").inner_text()
    sent = open_page(queued / "gallery.html", f"#{address(page)}")
    expect(sent.locator("#details-content .permalink")).to_have_text(opened)
    assert shown(sent) == shown(page)
    page.keyboard.press("Escape")
    assert address(page) == kept
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("status")).to_have_text("30 pictures")
    assert address(page) == ""


def test_an_address_that_makes_no_sense_shows_the_page_as_it_is(open_page, queued):
    page = open_page(queued / "gallery.html", "#list=nothing&sort=<b>&phase=%ZZ&snapshot=x")
    assert len(shown(page)) in (0, 30)
    page.get_by_role("button", name="Reset").click()
    # The page follows its address, which changes a moment after the click.
    expect(page.locator(".card:visible")).to_have_count(30)


def test_blind_hides_both_ratings_and_all_that_tells_them(open_page, queued, screenshots):
    page = open_page(queued / "gallery.html")
    page.get_by_label("Show", exact=True).select_option("queue")
    page.get_by_label("Difference", exact=True).select_option("model_low")
    page.get_by_label("Sort by").select_option("people-high")
    page.get_by_label("Hide both ratings").check()
    assert len(shown(page)) == 30, "the filter by direction would tell who is higher"
    assert [card["snapshot"] for card in shown(page)] == queue_of(queued)
    expect(page.get_by_label("Difference", exact=True)).to_be_disabled()
    page.screenshot(path=screenshots / "blind.png")
    page.locator(".card:visible .open").first.click()
    page.screenshot(path=screenshots / "blind_details.png")
    for telling in (".badge", ".scale", ".ratings", ".told", ".legend"):
        assert page.locator(f"{telling}:visible").count() == 0
    seen = (
        page.locator(".card:visible").first.aria_snapshot() + page.locator("dialog").aria_snapshot()
    )
    for word in ("People", "Model", "Similar", "May move", "%", "★"):
        assert word not in seen
    assert "blind=on" in address(page)
    page.keyboard.press("Escape")
    page.get_by_label("Hide both ratings").uncheck()
    expect(page.locator(".card:visible .ratings").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(open_page, screenshots, scheme):
    page = open_page(color_scheme=scheme)
    for part in (".lead", ".meta", ".badge", ".ratings dt", ".ratings dd", ".chip", ".source"):
        contrast = page.locator(part).first.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{part} has a contrast of {contrast:.1f} in {scheme}"
    page.screenshot(path=screenshots / f"{scheme}.png")
    page.locator(".open").first.click()
    page.screenshot(path=screenshots / f"{scheme}_details.png")
    page.keyboard.press("Escape")
    page.locator("details.summary summary").click()
    page.screenshot(path=screenshots / f"{scheme}_summary.png")


# WCAG 2.1: the ratio of relative luminances of a text and what is behind it.
CONTRAST = """element => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = numbers(colour).map((value) => {
            const share = value / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let behind = element;
    while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const both = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
    const [dark, light] = both.map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
}"""
