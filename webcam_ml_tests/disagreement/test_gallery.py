"""The page as a file: what is in it, what is not, and how large it is."""

import base64
import hashlib
import io
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webcam_ml.disagreement import DisagreementSettings, thumbnail_jpeg
from webcam_ml_tests.disagreement.compared_rows import QUICK, build, compared_rows

VOID = {"meta", "img", "input", "br", "line", "circle", "rect", "link"}


class Page(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(rows: pl.DataFrame, **others) -> Page:
    return Page(build(rows, **others).gallery)


HOSTILE = [
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "</style></script><script>document.title='pwned'</script>",
    "' onmouseover='document.title=1",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- ]]> &lt;b&gt;",
    "\u202eesrever\u2066",
    "شروق الشمس على البحر",
    "🌅👩‍👩‍👧 camera",
]


@settings(max_examples=40)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60)), min_size=6, max_size=6))
def test_database_text_stays_text(titles):
    rows = compared_rows(6).with_columns(
        webcam_title=pl.Series(titles),
        phase=pl.Series(titles),
        webcam_source=pl.Series(titles),
        image_path_or_url=pl.Series(titles),
        captured_at=pl.Series(titles),
        sha256=pl.lit(None, dtype=pl.String),
    )
    plain = rows.with_columns(
        webcam_title=pl.lit("t"),
        phase=pl.Series([f"p{len(set(titles[: i + 1]))}" for i in range(6)]),
        webcam_source=pl.lit("s"),
        image_path_or_url=pl.lit("i"),
        captured_at=pl.lit("c"),
    )
    quick = DisagreementSettings(bootstrap_samples=100)

    def shape(page: Page) -> list[tuple[str, tuple[str, ...]]]:
        return sorted((name, tuple(attributes)) for name, attributes in page.elements)

    hostile, harmless = page_of(rows, settings=quick), page_of(plain, settings=quick)
    # Empty titles and sources lose an element; what is never allowed is one that was not there.
    extra = set(shape(hostile)) - set(shape(harmless)) - {("a", ("class", "href", "target", "rel"))}
    assert not extra
    assert len(hostile.all("script")) == len(hostile.all("style")) == 1
    assert not hostile.all("img")


def test_titles_are_shown_as_they_are_and_isolated():
    rows = compared_rows(len(HOSTILE)).with_columns(webcam_title=pl.Series(HOSTILE))
    shown = page_of(rows).text["bdi"]
    for title in HOSTILE:
        assert title in shown


def test_only_web_addresses_become_links():
    sources = {
        "https://pictures.example.org/a.jpg?x=1&y=%22": True,
        "http://pictures.example.org/a.jpg": True,
        "javascript:alert(1)": False,
        " \tjavascript:alert(1)": False,
        "JaVaScRiPt://example.org/%0aalert(1)": False,
        "data:text/html,<script>alert(1)</script>": False,
        "file:///etc/passwd": False,
        "gs://bucket/a.jpg": False,
        "/var/pictures/a.jpg": False,
        "http://[broken": False,
        "https://" + "x" * 5000: False,
        "": False,
    }
    for source, linked in sources.items():
        page = page_of(compared_rows(1).with_columns(image_path_or_url=pl.lit(source)))
        links = [link for link in page.all("a") if link["class"] == "source"]
        assert [link["href"] for link in links] == ([source] if linked else [])
        assert all(link["rel"] == "noopener noreferrer" for link in links)


@pytest.mark.parametrize("scheme", ["ftp", "https"])
def test_no_password_is_sent_around(scheme):
    source = f"{scheme}://me:secret@example.org/a"
    gallery = build(compared_rows(1).with_columns(image_path_or_url=pl.lit(source))).gallery
    assert "secret" not in gallery
    assert f"{scheme}://example.org/a" in gallery


def test_nothing_is_loaded_and_only_our_style_and_script_may_run():
    page = page_of(compared_rows(20))
    (policy,) = (
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    for tag in ("script", "style"):
        content = "".join(page.text[tag])
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_a_picture_that_is_gone_is_shown_as_such():
    page = page_of(compared_rows(3).with_columns(sha256=pl.lit(None, dtype=pl.String)))
    assert page.text["span"].count("The picture is gone") == 3


def test_missing_facts_are_named_and_not_invented():
    nothing = pl.lit(None, dtype=pl.String)
    rows = compared_rows(2).with_columns(
        webcam_title=nothing, phase=nothing, captured_at=nothing, webcam_source=nothing
    )
    gallery = build(rows).gallery
    assert "date unknown" in gallery
    assert "unknown phase" in gallery
    assert f"Webcam {rows['webcam_id'][0]}" in gallery
    assert "None" not in gallery


def test_a_long_list_has_cards_for_its_first_rows_and_says_so():
    rows = compared_rows(520).with_columns(sha256=pl.lit(None, dtype=pl.String))
    gallery = build(rows, settings=DisagreementSettings(limit=520, **QUICK)).gallery
    assert gallery.count('class="card ') == 500
    assert "All 520 listed rows are in disagreement_report.csv" in gallery


# --- thumbnails -----------------------------------------------------------------------------------


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_two_hundred_pictures_of_pure_noise_stay_under_five_megabytes():
    rows = compared_rows(200).with_columns(
        webcam_title=pl.lit("🌅" * 500),
        image_path_or_url=pl.lit("https://example.org/" + "a" * 600),
    )
    worst_case = noise(300, 400)
    gallery = build(rows, thumbnail=lambda _: worst_case).gallery
    assert gallery.count("data:image/jpeg") == 200
    assert len(gallery.encode()) < 5_000_000


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (90, 160), (1080, 1920)])
def test_thumbnails_fit_their_side_and_their_bytes_and_keep_their_shape(shape):
    data = thumbnail_jpeg(noise(*shape), side=200, max_bytes=6_000)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert len(data) <= 6_000
    assert max(image.size) <= min(200, max(shape))
    ratio = shape[1] / shape[0]
    if min(image.size) > 20:
        assert image.size[0] / image.size[1] == pytest.approx(ratio, rel=0.05)


def test_a_thumbnail_resembles_its_picture():
    rows, columns = np.mgrid[0:300, 0:500]
    pixels = np.stack([rows * 0.8, columns * 0.5, 255 - rows * 0.8], axis=2).astype(np.uint8)
    small = np.asarray(Image.open(io.BytesIO(thumbnail_jpeg(pixels))).resize((500, 300)))
    assert np.abs(small.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(pixels):
    with pytest.raises(ValueError, match="uint8 RGB"):
        thumbnail_jpeg(pixels)
