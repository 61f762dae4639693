"""Pages of one HTML file, made from text that is not trusted.

Whatever comes from a database is escaped by the template engine, cut, and becomes a link only where it
is a web address. Style and script are named by digest in the page's content security policy, so that
even markup that slipped through could neither run nor load anything.
"""

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit, urlunsplit

LONGEST_TEXT = 200
LONGEST_LINK = 2000
# Of the drawing of a scale, in its own units: where 1 star is, and how far it is to 5.
SCALE_START, SCALE_LENGTH = 12, 256


def render_page(package: str, folder: str, **values: Any) -> str:
    """Make a page from `page.html.j2`, `style.css` and, where there is one, `script.js`.

    Args:
        package: The package that they belong to.
        folder: Their folder in it.
        values: For the template, not yet escaped; it has the filters `stars`, `signed` and `position`.

    Returns:
        HTML that loads nothing from anywhere. The template gets `style` and `script` with their
        digests (`style_digest`, `script_digest`), None where there is no script.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    place = files(package) / folder
    own: dict[str, Any] = {}
    for what, name in (("style", "style.css"), ("script", "script.js")):
        file = place / name
        text = file.read_text(encoding="utf-8") if file.is_file() else None
        # Our own files, not text from the database: all other text is escaped.
        own[what] = None if text is None else Markup(text)
        own[f"{what}_digest"] = None if text is None else _digest(text)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(stars=stars, signed=signed, position=position)
    template = environment.from_string((place / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(**own, **values)


def data_uri(jpeg: bytes) -> str:
    """Give a picture an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """Cut a text of the database."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def shown_date(moment: str | None) -> str:
    """Write a time stamp for people; what is none stays as it is."""
    if moment is None:
        return "date unknown"
    try:
        read = datetime.fromisoformat(moment)
    except ValueError:
        return shortened(moment)
    if read.tzinfo is not None:
        read = read.astimezone(UTC)
    return f"{read:%Y-%m-%d %H:%M} UTC"


def is_web_address(text: str) -> bool:
    """Say whether a link may point there: nothing but http and https, and of a sane length."""
    if len(text) > LONGEST_LINK:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def without_password(text: str) -> str:
    """Drop user and password from an address: the page is sent around."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    if "@" not in parts.netloc:
        return text
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def stars(rating: float) -> str:
    """Write a rating with as many decimals as it has, two at most."""
    return f"{rating:.1f}" if round(rating, 1) == round(rating, 2) else f"{rating:.2f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a difference with its sign."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def position(rating: float) -> str:
    """Say where a rating lies on a drawn scale, in units of its drawing."""
    return f"{SCALE_START + (rating - 1) / 4 * SCALE_LENGTH:.1f}"


def _digest(text: str) -> str:
    """Name a style or script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
