"""From what was asked for on the command line to a page that is served until it is stopped."""

import hashlib
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from starlette.types import ASGIApp

from webcam_ml.dataset.duplicates import NearDuplicates
from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase, LabelDatabaseError
from webcam_ml.review._app import Place, create_app
from webcam_ml.review._destinations import DatabaseVotes, Destination, database_votes
from webcam_ml.review._frames import DatabaseFrames, Frames, ListedFrames
from webcam_ml.review._journal import Journal, waiting_in_other_journals
from webcam_ml.review._pictures import Pictures
from webcam_ml.review._sitting import Sitting
from webcam_ml.review._votes_file import FileVotes
from webcam_ml.review._wanted import Wanted
from webcam_ml.review._writer import VoteWriter
from webcam_ml.store import ArtifactMissingError, ArtifactStore, cache_from_env

TOKEN_FILE = "token"
TOKEN_BYTES = 24


@dataclass(frozen=True)
class Review:
    """What a curator asked for.

    Attributes:
        curator: Whose votes these are; the `user_session_id` in the database.
        gold: Whether they are gold labels.
        export: A file that gets the votes instead of the database.
        port: Where the page is served; 0 for any that is free.
        journal: Folder of the journals.
    """

    curator: str
    gold: bool
    export: Path | None
    port: int
    journal: Path


def serve(
    wanted: Wanted,
    review: Review,
    *,
    database: LabelDatabase | None,
    store: ArtifactStore,
    say: Callable[[str], None],
) -> None:
    """Serve the page until it is stopped (Ctrl-C), then write what still waits.

    Args:
        wanted: What is to be rated.
        review: Who rates, and where to.
        database: The label database; None where votes go into a file and the list has pictures.
        store: Where it stands what a placeholder is.
        say: Tells the curator a line.

    Raises:
        LabelDatabaseError: The database cannot be read, or the user of its URL may not vote.
        WebcamMLError: The list is of another database, the port or the journal is in use.
    """
    destination, goes_to = _destination(review, database)
    if isinstance(destination, DatabaseVotes):
        _rehearse(destination)
    frames: Frames = (
        ListedFrames(wanted)
        if database is None
        else DatabaseFrames(database, wanted.rule, gold=review.gold)
    )
    answered = destination.voted() if isinstance(destination, FileVotes) else set()
    about = {"curator": review.curator, "goes_to": goes_to}
    name = hashlib.sha256("\n".join(about.values()).encode()).hexdigest()[:12]
    with (
        _journal_folder(review.journal) as token,
        _listening(review.port) as listener,
        Pictures(
            ImageCache(cache_from_env(), remote=store.remote),
            placeholders=_placeholders(store),
        ) as pictures,
    ):
        path = review.journal / f"{name}.jsonl"
        for other, number in waiting_in_other_journals(review.journal, path).items():
            say(
                f"{number:,} votes wait in {other}, whose first line says for whom and what: start this "
                "once more as then, and they are written"
            )
        with closing(Journal(path, about=about)) as journal:
            writer = VoteWriter(journal, destination)
            sitting = Sitting(
                wanted,
                frames=frames,
                pictures=pictures,
                journal=journal,
                writer=writer,
                curator=review.curator,
                why_no_n=destination.why_no_n,
                database=database,
                answered=frozenset(answered),
            )
            place = Place(listener.getsockname()[1], token, sitting=name, goes_to=goes_to)
            left, total = (sitting.status()[name] for name in ("left", "total"))
            say(f"{wanted.what}: {left:,} of {total:,} to rate, as {review.curator}")
            say(f"Votes go to {goes_to}")
            say(f"Open {place.address}")
            writer.start()
            try:
                _run(create_app(sitting, place), listener)
            finally:
                writer.stop()
                if waiting := len(journal.waiting()):
                    say(
                        f"{waiting:,} votes wait in {path} and are written at the next start: "
                        f"{writer.trouble}"
                    )


def _run(app: ASGIApp, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        # A line of that log would hold the token.
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _destination(review: Review, database: LabelDatabase | None) -> tuple[Destination, str]:
    if review.export is not None:
        return FileVotes(
            review.export, curator=review.curator
        ), f"the file {review.export.absolute()}"
    assert database is not None
    votes = database_votes(database, curator=review.curator, gold=review.gold)
    return votes, f"{votes.rows.table.name} of the {database}"


def _rehearse(destination: DatabaseVotes) -> None:
    try:
        destination.rehearse()
    except LabelDatabaseError as error:
        raise LabelDatabaseError(
            f"Votes cannot be written. {error} Or rate into a file, for somebody who may: "
            "--export votes.csv, then webcam-ml import-votes votes.csv"
        ) from error


def _placeholders(store: ArtifactStore) -> list[str]:
    """Give the pictures that image_index found to be cards of a camera that is offline."""
    try:
        stored = store.latest("image_index")
    except ArtifactMissingError:
        return []
    found: list[str] = stored.load(NearDuplicates).placeholders["sha256"].to_list()
    return found


@contextmanager
def _journal_folder(folder: Path) -> Iterator[str]:
    """Hold the folder of the journals, and give the token that stands there.

    It stays the same, so that a page which is open goes on when the server was started again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(folder / ".lock").acquire(timeout=0)
        path = folder / TOKEN_FILE
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(TOKEN_BYTES))
        token = path.read_text().strip()
    except Timeout:
        raise WebcamMLError(
            f"another webcam-ml review uses the journals in {folder}: stop it, or name another folder "
            "with --journal and another --port"
        ) from None
    except OSError as error:
        raise WebcamMLError(
            f"the journals of votes cannot be kept in {folder} ({error}): make it writable, or name "
            "another folder with --journal"
        ) from error
    with lock:
        yield token


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise WebcamMLError(
            f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): another program has it, maybe "
            "a webcam-ml review that still runs. Stop it, or choose another with --port"
        ) from error
    with listener:
        yield listener
