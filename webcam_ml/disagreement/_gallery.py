"""The gallery: one HTML file with everything inside, made from text that is not trusted.

Template, style and script are beside this module, in ``gallery/``. Whatever comes from the
database is escaped by the template engine. Style and script are named by digest in the page's
content security policy, so that even markup that slipped through could neither run nor load
anything.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from urllib.parse import urlsplit, urlunsplit

from webcam_ml.contracts import STARS
from webcam_ml.disagreement._document import DisagreementDocument, Group, ReportRow
from webcam_ml.disagreement._rows import RECORDED_KINDS

# The page has cards of at most so many rows; the tables have all.
LARGEST_GALLERY = 500
LONGEST_TEXT = 200
LONGEST_LINK = 2000
# Of the drawing on a card, in its own units: where 1 star is, and how far it is to 5.
SCALE_START, SCALE_LENGTH = 12, 256

DIRECTIONS = {"model_high": "model higher", "model_low": "model lower", None: "equal"}
KINDS = {
    "out_of_fold": "out-of-fold",
    "out_of_fold_probe": "out-of-fold, by the probe",
    "model": "model",
    "recorded": "recorded",
    "recorded_known_webcam": "recorded, known webcam",
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Card:
    """One row as the page shows it: plain text, not yet escaped."""

    row: ReportRow
    picture: str | None
    title: str
    date: str
    phase: str
    origin: str
    direction: str
    source: str
    link: str | None
    votes: str


def render_gallery(document: DisagreementDocument, pictures: Mapping[int, bytes]) -> str:
    """Make the page.

    Args:
        document: The report.
        pictures: JPEG files by snapshot_id; rows without one are shown as such.

    Returns:
        HTML that loads nothing from anywhere.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("webcam_ml.disagreement") / "gallery"
    style, script, page = (
        (folder / name).read_text(encoding="utf-8")
        for name in ("style.css", "script.js", "page.html.j2")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(stars=_stars, signed=_signed, position=_position)
    cards = [_card(row, pictures) for row in document.worst[:LARGEST_GALLERY]]
    return environment.from_string(page).render(
        document=document,
        is_audit=not RECORDED_KINDS.isdisjoint(document.counts.prediction_kinds),
        cards=cards,
        origins=sorted({card.origin for card in cards}),
        phases=sorted({card.phase for card in cards}),
        groups=_summary_tables(document),
        # Our own files, not text from the database: all other text is escaped.
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _card(row: ReportRow, pictures: Mapping[int, bytes]) -> Card:
    picture = pictures.get(row.snapshot_id)
    source = _without_password(row.image_path_or_url or "")
    return Card(
        row=row,
        picture=None if picture is None else _data_uri(picture),
        title=_shortened(row.webcam_title or f"Webcam {row.webcam_id}"),
        date=_date(row.captured_at),
        phase=_shortened(row.phase or "unknown phase"),
        origin=f"{SPLITS[row.split]} · {KINDS[row.prediction_kind]}",
        direction=DIRECTIONS[row.direction],
        source=_shortened(source),
        link=source if _is_web_address(source) else None,
        votes=_votes(row),
    )


def _summary_tables(document: DisagreementDocument) -> list[tuple[str, list[Group]]]:
    summary = document.summary
    stars = [
        group.model_copy(update={"group": f"{group.group} star{'s' * (group.group != '1')}"})
        for group in summary.star
    ]
    return [
        ("All", [summary.all.model_copy(update={"group": "all pictures"})]),
        ("By phase", summary.phase),
        ("By split", summary.split),
        ("By people’s rating", stars),
    ]


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def _digest(text: str) -> str:
    """Name a style or script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _date(captured_at: str | None) -> str:
    if captured_at is None:
        return "date unknown"
    try:
        moment = datetime.fromisoformat(captured_at)
    except ValueError:
        return _shortened(captured_at)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _votes(row: ReportRow) -> str:
    counts = {star: getattr(row, f"stars_{star}") for star in reversed(STARS)}
    return ", ".join(f"{count} × {star} ★" for star, count in counts.items() if count) or "none"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _is_web_address(text: str) -> bool:
    """Say whether a link may point there: nothing but http and https, and of a sane length."""
    if len(text) > LONGEST_LINK:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _without_password(text: str) -> str:
    """Drop user and password from an address: the page is sent around."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    if "@" not in parts.netloc:
        return text
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _stars(rating: float) -> str:
    return f"{rating:.1f}" if round(rating, 1) == round(rating, 2) else f"{rating:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def _position(rating: float) -> str:
    """Where a rating lies on the card's scale, in units of its drawing."""
    return f"{SCALE_START + (rating - 1) / 4 * SCALE_LENGTH:.1f}"
