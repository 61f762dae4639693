"""One at a time where no operating system frees a lock: a lease that its holder renews.

No two clocks are compared. A holder changes its entry every few seconds; whoever waits watches by its
own clock, and takes over an entry that stayed as it was for longer than a living holder leaves it.
What was cut off from the bucket for as long has lost its lease and is told so: what it does must do no
harm beside a second one.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._bucket import Bucket

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_BEATS = 5.0
SECONDS_UNTIL_LOST = 30.0
FREE = b"{}\n"


@dataclass
class _Entry:
    """The bytes of a lease while this process holds it: who, and a number that grows."""

    holder: str
    token: str
    beats: int = 0

    def to_bytes(self) -> bytes:
        content = {"holder": self.holder, "token": self.token, "beats": self.beats}
        return (json.dumps(content) + "\n").encode()


@contextmanager
def lease(
    bucket: Bucket, key: str, holder: str, *, told: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Wait until nobody else holds a key, then hold it.

    Args:
        bucket: Where the lease is; all who want it must use the same.
        key: Its key.
        holder: Who asks, for those who wait.
        told: Called with the holder at each look, while somebody else holds it.

    Yields:
        Whether it is still held; false after this process was cut off for too long.

    Raises:
        WebcamMLError: The bucket cannot be used.
    """
    entry = _Entry(holder, uuid.uuid4().hex)
    _take(bucket, key, entry, told)
    ended, lost = threading.Event(), threading.Event()
    beating = threading.Thread(
        target=_beat, args=(bucket, key, entry, ended, lost), name=f"lease {key}", daemon=True
    )
    beating.start()
    try:
        yield lambda: not lost.is_set()
    finally:
        ended.set()
        beating.join()
        found = bucket.get(key)
        if found is not None and found.data == entry.to_bytes():
            bucket.swap(key, FREE, found.tag)


def _take(bucket: Bucket, key: str, entry: _Entry, told: Callable[[str], None]) -> None:
    seen, since = b"", time.monotonic()
    while True:
        asked = time.monotonic()
        found = bucket.get(key)
        if found is None:
            if bucket.create(key, entry.to_bytes()):
                return
            continue
        now = time.monotonic()
        # While the bucket did not answer, the holder could not renew it either.
        since += now - asked
        if found.data != seen:
            seen, since = found.data, now
        if found.data == FREE or now - since > SECONDS_UNTIL_LOST:
            if bucket.swap(key, entry.to_bytes(), found.tag):
                return
            continue
        told(_holder_in(found.data))
        time.sleep(SECONDS_BETWEEN_BEATS / 5)


def _beat(
    bucket: Bucket, key: str, entry: _Entry, ended: threading.Event, lost: threading.Event
) -> None:
    last = time.monotonic()
    while not ended.wait(SECONDS_BETWEEN_BEATS):
        try:
            found = bucket.get(key)
            if found is None or json.loads(found.data).get("token") != entry.token:
                lost.set()
                logger.warning("the lease %s in %s was taken over", key, bucket.address)
                return
            entry.beats += 1
            if bucket.swap(key, entry.to_bytes(), found.tag):
                last = time.monotonic()
        except WebcamMLError as error:
            logger.warning("the lease %s could not be renewed: %s", key, error)
            if time.monotonic() - last > SECONDS_UNTIL_LOST:
                lost.set()


def _holder_in(data: bytes) -> str:
    try:
        return str(json.loads(data)["holder"])
    except (ValueError, KeyError, TypeError):
        return "somebody"
