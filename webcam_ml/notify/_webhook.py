"""One message to one webhook: a POST of ``{"text": …}``, as Slack, Mattermost and others take it.

The address is a secret: whoever has it can write there. It is in no log and in no error, which is why
the library of the standard is used: httpx logs every address. Nothing here may delay a run for longer
than it was given, also where the name server is silent or the host sends a byte a second; no time limit
of a socket holds that, so the request has a thread of its own that is left behind.
"""

import json
import os
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

NOTIFY_VARIABLE = "WEBCAM_ML_NOTIFY_URL"
LONGEST_TEXT = 3_000


class NotDeliveredError(Exception):
    """A message did not arrive; the text says why and holds no address.

    Attributes:
        answered: Whether the host said no, so that the next message may still arrive.
    """

    def __init__(self, why: str, *, answered: bool) -> None:
        super().__init__(why)
        self.answered = answered


def is_on() -> bool:
    """Whether somebody wants to be told."""
    return bool(os.environ.get(NOTIFY_VARIABLE))


def post(text: str, *, seconds: float) -> None:
    """Send one message to the webhook that the environment names.

    Args:
        text: What it says; what is longer than some thousand characters is cut.
        seconds: After that it counts as not delivered.

    Raises:
        NotDeliveredError: It was not accepted in time.
    """
    request = _request(text)
    outcome: list[NotDeliveredError | None] = []
    sending = threading.Thread(
        target=lambda: outcome.append(_send(request, seconds)), name="webhook", daemon=True
    )
    sending.start()
    sending.join(seconds)
    if not outcome:
        raise NotDeliveredError(f"no answer within {seconds:.0f} s", answered=False)
    if outcome[0] is not None:
        raise outcome[0]


def _request(text: str) -> urllib.request.Request:
    address = os.environ.get(NOTIFY_VARIABLE, "")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        # Neither has a meaning at a webhook, and a blank or line end would end the request's first line.
        usable = usable and address.isascii() and address.isprintable() and " " not in address
    except ValueError:
        usable = False
    if not usable:
        raise NotDeliveredError(
            f"{NOTIFY_VARIABLE} is no address of a webhook, https://… (it is not shown)",
            answered=False,
        )
    shown = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    # By these three a text becomes a link, or calls everybody of a channel.
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return urllib.request.Request(
        address,
        data=json.dumps({"text": shown}).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would be repeated as a GET without its text, and be answered with 200."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


def _send(request: urllib.request.Request, seconds: float) -> NotDeliveredError | None:
    """Send; the texts of these exceptions may hold the address, so that only their kind is told."""
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return NotDeliveredError(f"the host answers {error.code}", answered=True)
    except urllib.error.URLError as error:
        kind = type(error.reason).__name__ if isinstance(error.reason, OSError) else "URLError"
        return NotDeliveredError(f"the host cannot be reached ({kind})", answered=False)
    except (OSError, HTTPException, ValueError) as error:
        kind = type(error).__name__
        return NotDeliveredError(
            f"the host does not answer as a webhook does ({kind})", answered=False
        )
