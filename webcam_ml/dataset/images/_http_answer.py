"""The message that a host sends when it refuses: taken from JSON, XML, a page or plain text."""

import json
import re

import httpcore

from webcam_ml.printable import printable

_MOST_BYTES = 16_384
_MOST_SHOWN = 200
_TITLE = re.compile(r"<(title|message)[^>]*>(.*?)</", re.IGNORECASE | re.DOTALL)


def beginning_of(response: httpcore.Response) -> bytes:
    """Read the first 16 kB of an answer, or as much of them as arrives."""
    body = bytearray()
    try:
        for piece in response.iter_stream():
            body += piece
            if len(body) >= _MOST_BYTES:
                break
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        pass  # the status has come, and it is what counts
    return bytes(body[:_MOST_BYTES])


def said_by(body: bytes) -> str:
    """Find the message for people: printable, of one line, at most 200 characters; or empty."""
    if b"\x00" in body:
        return ""
    text = body.decode(errors="replace").strip()
    if text.startswith(("{", "[")):
        text = _message_in(text)
    elif text.startswith("<"):
        found = _TITLE.search(text)
        text = found[2] if found else ""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MOST_SHOWN else line[: _MOST_SHOWN - 1] + "…"


def _message_in(text: str) -> str:
    """Take ``error.message``, ``message``, ``error`` or the first of ``errors`` out of JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for _ in range(3):
        if isinstance(value, list):
            value = value[0] if value else ""
        if isinstance(value, dict):
            said = (value.get(key) for key in ("error", "message", "detail", "errors"))
            # `"error": true` says nothing.
            value = next((one for one in said if one and isinstance(one, str | list | dict)), "")
    return value if isinstance(value, str) else ""
