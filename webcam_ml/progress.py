"""Progress of long work: a bar on a terminal, a line every few seconds anywhere else."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


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
