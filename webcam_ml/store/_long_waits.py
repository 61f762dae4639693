"""Say of a request to a server that it takes long: its client asks again, and says nothing meanwhile.

One thread looks at all requests of the process: a timer for each would take as long as a small request.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

SECONDS_UNTIL_SAID = 10.0

_waiting: dict[object, tuple[float, str]] = {}
_watchers: list[threading.Thread] = []


@contextmanager
def saying_that_it_waits(what: str) -> Iterator[None]:
    """Warn once if the block takes longer than `SECONDS_UNTIL_SAID`.

    Args:
        what: What is not so yet, for people.
    """
    if not any(one.is_alive() for one in _watchers):  # a fork has no thread of its mother
        _watchers[:] = [threading.Thread(target=_watch, name="long waits", daemon=True)]
        _watchers[0].start()
    request = object()
    _waiting[request] = time.monotonic(), what
    try:
        yield
    finally:
        _waiting.pop(request, None)


def _watch() -> None:
    never = threading.Event()
    while not never.wait(SECONDS_UNTIL_SAID / 4):
        for request, (since, what) in _waiting.copy().items():
            if time.monotonic() - since >= SECONDS_UNTIL_SAID:
                _waiting.pop(request, None)
                logger.warning(
                    "%s yet, after %g s: the server is slow, asks to slow down, or cannot be reached. "
                    "It is asked again, and given up after some minutes",
                    what,
                    SECONDS_UNTIL_SAID,
                )
