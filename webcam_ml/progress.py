"""Progress of long work: a bar on a terminal, a line every few seconds anywhere else."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Who watches a log should never wonder for more than five seconds whether anything happens.
SECONDS_BETWEEN_LINES = 4.0
# A little more, or it would speak beside every line of `track`.
SECONDS_OF_SILENCE = 4.5


def track(items: Iterable[T], *, total: int, what: str, unit: str) -> Iterator[T]:
    """Yield the items while showing how far the work is.

    Args:
        items: What is being worked on; yielded unchanged and in order.
        total: How many items there will be.
        what: The work in a word or two, e.g. ``"features"``.
        unit: What one item is, e.g. ``"images"``.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, unit=f" {unit}", leave=False)
        return
    first = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == 1:
            first = last = now  # what had to be started for the first says nothing of the others
        elif now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            rate = (done - 1) / (now - first)
            logger.info(
                "%s: %d of %d %s, %.1f/s, about %.0f s left",
                what, done, total, unit, rate, (total - done) / rate,
            )  # fmt: skip


@contextmanager
def never_silent(seconds: float = SECONDS_OF_SILENCE) -> Iterator[None]:
    """Log that work goes on wherever nothing else was logged for so many seconds.

    For what can show no progress of its own, such as an import, an export or a fit. On a terminal nothing
    is logged.
    """
    if sys.stderr.isatty():
        yield
        return
    began, over, last = time.monotonic(), Event(), _LastLine()

    def watch() -> None:
        while not over.wait(max(0.0, last.at + seconds - time.monotonic())):
            if time.monotonic() - last.at >= seconds:
                logger.info("still working, %.0f s so far", time.monotonic() - began)

    package = logging.getLogger(__package__)
    package.addHandler(last)
    thread = Thread(target=watch, name="never_silent", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        package.removeHandler(last)


class _LastLine(logging.Handler):
    """Notes when something was logged last."""

    def __init__(self) -> None:
        super().__init__()
        self.at = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.at = time.monotonic()
