"""Messages on their way: written down first, so that each is sent once and none is lost by a bad hour.

A message has a key that names what happened. Whoever writes the key first tells it, the run that sees it
happen or the sensor that hears of it later; after that it is known for `DAYS_KNOWN`. One that cannot be
delivered waits for the next occasion, for a day. The folder is no part of what is stored: deleting it
loses what waits and lets old news be told again.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from webcam_ml.notify._secrets import without_secrets
from webcam_ml.notify._webhook import NOTIFY_VARIABLE, NotDeliveredError, is_on, post
from webcam_ml.printable import printable
from webcam_ml.store import ArtifactStore, write_atomically

logger = logging.getLogger(__name__)

OUTBOX = ".notify"
# For all that waits, not for each: longer than this nothing is delayed.
SECONDS_TO_DELIVER = 4.0
SECONDS_WAITING = 24 * 60 * 60.0
DAYS_KNOWN = 90


@dataclass(frozen=True)
class Message:
    """What somebody is told.

    Attributes:
        text: Without secrets.
        at: When it happened, seconds since 1970.
        attempts: How often it was sent in vain.
        settled: `delivered`, or `given up` when it waited for too long; None while it waits.
    """

    text: str
    at: float
    attempts: int = 0
    settled: str | None = None

    def to_bytes(self) -> bytes:
        """Serialise as a file of the outbox."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a file of the outbox; None if it is gone or is none."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def tell(store: ArtifactStore, kind: str, what: str, text: str) -> None:
    """Tell the webhook what happened, unless that was told before; without a webhook do nothing.

    A message that does not arrive is logged, counted and sent again later; no caller fails by it.

    Args:
        store: Beside what is stored in it the messages wait.
        kind: Of news, a word; see `forget`.
        what: Names what happened among others of its kind: the same is told once.
        text: What to say; secrets are taken out.
    """
    if not is_on():
        return
    folder = store.root / OUTBOX
    message = Message(f"webcam-ml: {printable(without_secrets(text))}", at=time.time())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _put(folder / _name(kind, what), message):
            return
    except OSError as error:
        logger.warning("nobody is told, since %s cannot be written (%s)", folder, error.strerror)
        return
    deliver(store)


def forget(store: ArtifactStore, kind: str) -> None:
    """Let news of a kind be told again: what they were about has passed."""
    for path in (store.root / OUTBOX).glob(f"{kind}-*.json"):
        path.unlink(missing_ok=True)


def deliver(store: ArtifactStore) -> None:
    """Send what waits, the oldest first, within `SECONDS_TO_DELIVER`."""
    folder = store.root / OUTBOX
    if not is_on() or not folder.is_dir():
        return
    deadline = time.monotonic() + SECONDS_TO_DELIVER
    try:
        with FileLock(folder / ".lock", timeout=SECONDS_TO_DELIVER):
            _deliver(folder, deadline)
    except Timeout:
        pass  # another process sends, and this one's message waits for the next occasion
    except OSError as error:
        logger.warning("nobody is told, since %s cannot be used (%s)", folder, error.strerror)


def _deliver(folder: Path, deadline: float) -> None:
    now = time.time()
    why: NotDeliveredError | None = None
    left = given_up = 0
    for path, message in sorted(_messages(folder, now), key=lambda found: found[1].at):
        if now - message.at > SECONDS_WAITING:
            write_atomically(path, replace(message, settled="given up").to_bytes())
            given_up += 1
            continue
        seconds = deadline - time.monotonic()
        if seconds <= 0 or (why is not None and not why.answered):
            left += 1
            continue
        try:
            post(message.text, seconds=seconds)
        except NotDeliveredError as error:
            why = error
            left += 1
            again = replace(message, attempts=message.attempts + 1)
            write_atomically(path, again.to_bytes())
        else:
            write_atomically(path, replace(message, settled="delivered").to_bytes())
    if left:
        logger.warning(
            "%d %s not reach the webhook of %s: %s. Sent again with the next message, or by "
            "live_events_sensor, for a day (%s)",
            left,
            "message does" if left == 1 else "messages do",
            NOTIFY_VARIABLE,
            why or "no time was left",
            folder,
        )
    if given_up:
        logger.warning(
            "given up, since nobody took them for a day: %d messages (%s)", given_up, folder
        )


def _messages(folder: Path, now: float) -> Iterator[tuple[Path, Message]]:
    """Yield what waits, and remove what was settled long ago."""
    for path in folder.glob("*.json"):
        message = Message.read(path)
        if message is None:
            continue
        if message.settled is None:
            yield path, message
        elif now - message.at > DAYS_KNOWN * 24 * 60 * 60:
            path.unlink(missing_ok=True)


def _name(kind: str, what: str) -> str:
    return f"{kind}-{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"


def _put(path: Path, message: Message) -> bool:
    """Write a message down; False if its key is taken."""
    try:
        with path.open("xb") as file:
            file.write(message.to_bytes())
    except FileExistsError:
        return False
    return True
