"""Messages on their way: written down first, so that none is lost by a bad hour.

A message has a key that names what happened. Whoever writes the key first tells it, the run that sees it
happen or the sensor that hears of it later; after that it is known for `DAYS_KNOWN`. One that cannot be
delivered is sent again on later occasions, ever more seldom, for a day: a host that takes it and answers
too late has it more than once. The folder is no part of what is stored: deleting it loses what waits and
lets old news be told again.
"""

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from webcam_ml.errors import WebcamMLError
from webcam_ml.notify._secrets import without_secrets
from webcam_ml.notify._webhook import NOTIFY_VARIABLE, NotDeliveredError, is_on, post
from webcam_ml.printable import printable
from webcam_ml.store import ArtifactStore, FolderBucket, write_atomically

logger = logging.getLogger(__name__)

OUTBOX = ".notify"
# In a bucket: what one machine tells, no other tells again. Each has its own outbox in its mirror.
TOLD = "notify"
# For all that waits, not for each: longer than this nothing is delayed.
SECONDS_TO_DELIVER = 4.0
SECONDS_WAITING = 24 * 60 * 60.0
# After it happened 4 minutes, 16, 64, …: six times in a day.
BACK_OFF = 4
DAYS_KNOWN = 90


@dataclass(frozen=True)
class Message:
    """What somebody is told.

    Attributes:
        text: Without secrets.
        at: When it happened, seconds since 1970.
        attempts: How often it was sent.
        settled: `delivered`, `given up` when it waited for too long, or `told with others`; None while
            it waits.
    """

    text: str
    at: float
    attempts: int = 0
    settled: str | None = None

    def is_due(self, now: float) -> bool:
        """Say whether to send it, for the first time or again."""
        return self.attempts == 0 or now - self.at >= 60 * BACK_OFF**self.attempts

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
        kind: Of news, a word.
        what: Names what happened among others of its kind: the same is told once.
        text: What to say; secrets are taken out.
    """
    if write_down(store, kind, [what], text):
        deliver(store)


def write_down(store: ArtifactStore, kind: str, whats: Sequence[str], text: str) -> bool:
    """Keep one message of one thing or several for `deliver`; false if it is known, or nobody is told.

    Args:
        store: Beside what is stored in it the message waits.
        kind: Of news, a word.
        whats: Name what it is about among others of its kind.
        text: What to say; secrets are taken out.
    """
    if not is_on():
        return False
    bucket = FolderBucket(store.root / OUTBOX)
    message = Message(f"webcam-ml: {printable(without_secrets(text))}", at=time.time())
    try:
        name = _name(kind, "\n".join(whats))
        is_new = bucket.create(name, message.to_bytes())
        if is_new and store.remote is not None:
            is_new = store.remote.create(f"{TOLD}/{name}", message.to_bytes())
            if not is_new:
                told = replace(message, settled="told by another machine")
                write_atomically(store.root / OUTBOX / name, told.to_bytes())
        if len(whats) > 1:
            # The message comes first: ended between the two, it is told twice and not never.
            known = replace(message, settled="told with others").to_bytes()
            for what in whats:
                bucket.create(_name(kind, what), known)
    except WebcamMLError as error:
        logger.warning("nobody is told: %s", error)
        return False
    return is_new


def news(store: ArtifactStore, kind: str, found: Collection[str]) -> list[str]:
    """Give what nobody was told of all that is found now; what is found no more may be told again.

    Args:
        store: Beside what is stored in it the messages are.
        kind: Of news, a word.
        found: All that is so now, named as for `write_down`.
    """
    if not is_on():
        return []
    folder = store.root / OUTBOX
    names = {_name(kind, what): what for what in found}
    try:
        known = {path.name for path in folder.glob(f"{kind}-*.json")}
        if store.remote is not None:
            told = {key.rpartition("/")[2] for key in store.remote.keys(TOLD)}
            known |= {name for name in told if name.startswith(f"{kind}-")}
        for name in known - names.keys():
            message = Message.read(folder / name)
            # One that waits may be about others, too, that are still found.
            if message is None or message.settled is not None:
                (folder / name).unlink(missing_ok=True)
                if store.remote is not None:
                    store.remote.delete(f"{TOLD}/{name}")
    except OSError as error:
        logger.warning("nobody is told, since %s cannot be used (%s)", folder, error.strerror)
        return []
    except WebcamMLError as error:
        logger.warning("nobody is told: %s", error)
        return []
    return [what for name, what in names.items() if name not in known]


def deliver(store: ArtifactStore) -> None:
    """Send what waits and is due, the oldest first, within `SECONDS_TO_DELIVER`."""
    folder = store.root / OUTBOX
    deadline = time.monotonic() + SECONDS_TO_DELIVER
    try:
        if not is_on() or not folder.is_dir():
            return
        with FileLock(folder / ".lock", timeout=SECONDS_TO_DELIVER):
            _deliver(folder, deadline)
    except Timeout:
        pass  # another process sends, and this one's message waits for the next occasion
    except OSError as error:
        logger.warning("nobody is told, since %s cannot be used (%s)", folder, error.strerror)


def _deliver(folder: Path, deadline: float) -> None:
    now = time.time()
    why = ""
    answers = True
    waiting = given_up = 0
    for path, message in sorted(_messages(folder, now), key=lambda found: found[1].at):
        if now - message.at > SECONDS_WAITING:
            write_atomically(path, replace(message, settled="given up").to_bytes())
            given_up += 1
            continue
        waiting += 1
        seconds = deadline - time.monotonic()
        if not message.is_due(now) or not answers:
            continue
        if seconds <= 0:
            why = why or "no time was left"
            continue
        # Counted before it is sent: what cannot be written down is not sent again and again.
        sent = replace(message, attempts=message.attempts + 1)
        write_atomically(path, sent.to_bytes())
        try:
            post(message.text, seconds=seconds)
        except NotDeliveredError as error:
            why, answers = str(error), error.answered
        else:
            waiting -= 1
            write_atomically(path, replace(sent, settled="delivered").to_bytes())
    if why:
        logger.warning(
            "%d %s not reach the webhook of %s: %s. Sent again with a later message, or by "
            "live_events_sensor, ever more seldom, for a day (%s)",
            waiting,
            "message does" if waiting == 1 else "messages do",
            NOTIFY_VARIABLE,
            why,
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
