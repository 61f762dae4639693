"""What the text in `image_path_or_url` means: a local file, a web address, or another storage."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from webcam_ml.dataset.images._failure import ImageFetchError
from webcam_ml.printable import printable

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MALFORMED = "(malformed URLs)"


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine; relative paths are relative to the working folder."""

    path: Path


@dataclass(frozen=True)
class WebAddress:
    """An http or https URL."""

    url: str


@dataclass(frozen=True)
class StoredObject:
    """A URL for an fsspec driver, e.g. ``gs://bucket/key``."""

    scheme: str
    url: str


Source = LocalFile | WebAddress | StoredObject


def parse_source(text: str) -> Source:
    """Tell what a source is by its scheme; without one it is a local path.

    Raises:
        ImageFetchError: The text is a chained or malformed URL, or names a file of another machine.
    """
    match scheme_of(text):
        case None:
            return LocalFile(Path(text))
        case "file" | "local":
            return LocalFile(_path_of_file_url(text))
        case "http" | "https":
            return WebAddress(text)
        case scheme:
            if "::" in text:
                raise ImageFetchError("unsupported_source", "chained URLs (a::b) are not followed")
            return StoredObject(scheme, text)


def scheme_of(text: str) -> str | None:
    """Return the scheme of a URL in lower case, or None for a local path."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else None


def place_of(text: str) -> str:
    """Name where a source lives: its host, its bucket, or its folder; printable, no password."""
    return printable(_place_of(text))


def _place_of(text: str) -> str:
    scheme = scheme_of(text)
    if scheme is None:
        return str(Path(text).parent)
    try:
        if scheme in ("file", "local"):
            return str(_path_of_file_url(text).parent)
        parts = urlsplit(text)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        if parts.port is not None:
            host = f"{host}:{parts.port}"
    except (ValueError, ImageFetchError):
        return _MALFORMED
    return host if scheme in ("http", "https") else f"{scheme}://{host}"


def shown(text: str) -> str:
    """Return a source as it may appear in logs: printable, without user, password and query."""
    if scheme_of(text) in (None, "file", "local"):
        return printable(text)
    place = place_of(text)
    if place == _MALFORMED:
        return "a malformed URL"
    prefix = place if "://" in place else f"{scheme_of(text)}://{place}"
    return printable(prefix + urlsplit(text).path)


def _path_of_file_url(text: str) -> Path:
    try:
        parts = urlsplit(text)
    except ValueError as fault:
        raise ImageFetchError("unsupported_source", f"malformed URL ({fault})") from fault
    if parts.netloc not in ("", "localhost"):
        raise ImageFetchError(
            "unsupported_source",
            f"{printable(parts.netloc)} names another machine; a local file is file:///path",
        )
    return Path(unquote(parts.path))
