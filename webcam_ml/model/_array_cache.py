"""Small arrays of numbers by picture, kept on disk: features, and scores of model files.

One SQLite file per producer: safe for several runs at once, unharmed by a kill, and a row whose
checksum is wrong is computed again.
"""

import logging
import sqlite3
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from webcam_ml.model._backbone_graph import session_threads
from webcam_ml.progress import track

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

ROWS_BETWEEN_COMMITS = 64
PICTURES_AHEAD = 8
KEYS_PER_QUERY = 500


class ArrayCache:
    """float32 arrays by the SHA-256 of a picture, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def compute_missing(
        self,
        digests: Sequence[str],
        compute: Callable[[ImageArray], FloatArray],
        *,
        decode: Callable[[str], ImageArray],
        what: str,
    ) -> tuple[dict[str, FloatArray], int]:
        """Give the array of each picture, computing and keeping those that are not there.

        Args:
            digests: SHA-256 of each picture; repeats are computed once.
            compute: From uint8 RGB [height, width, 3] to a flat array; called one at a time.
            decode: Turns a digest into such a picture; called in threads, some pictures ahead.
            what: The work in a word, for the progress display.

        Returns:
            The arrays by digest, and how many were computed.
        """
        known = self.read(digests)
        missing = [digest for digest in dict.fromkeys(digests) if digest not in known]
        if missing:
            with closing(self._connect()) as connection:
                unsaved: list[tuple[str, FloatArray]] = []
                pictures = _decoded_ahead(missing, decode)
                for digest, picture in track(
                    pictures, total=len(missing), what=what, unit="pictures"
                ):
                    known[digest] = compute(picture).astype(np.float32, copy=False)
                    unsaved.append((digest, known[digest]))
                    if len(unsaved) == ROWS_BETWEEN_COMMITS:
                        _save(connection, unsaved)
                        unsaved.clear()
                _save(connection, unsaved)
        logger.info(
            "%s: %d pictures computed, %d reused", what, len(missing), len(known) - len(missing)
        )
        return known, len(missing)

    def read(self, digests: Sequence[str]) -> dict[str, FloatArray]:
        """Give the arrays that are there and whole."""
        if not self.path.exists():
            return {}
        wanted = sorted(set(digests))
        known: dict[str, FloatArray] = {}
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(wanted), KEYS_PER_QUERY):
                    keys = wanted[start : start + KEYS_PER_QUERY]
                    marks = ",".join("?" * len(keys))
                    query = f"SELECT image, row, crc32 FROM arrays WHERE image IN ({marks})"
                    for digest, row, checksum in connection.execute(query, keys):
                        if zlib.crc32(row) == checksum:
                            known[digest] = np.frombuffer(row, dtype=np.float32)
                        else:
                            logger.warning(
                                "what %s keeps of %s is damaged: computed again", self.path, digest
                            )
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            return {}
        return known

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(self.path)
        except sqlite3.OperationalError:
            raise  # locked, full or unwritable: nothing is wrong with the file
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            return _open(self.path)

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{uuid.uuid4().hex[:8]}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        logger.warning(
            "%s is damaged (%s): moved to %s; its content is computed again",
            self.path,
            error,
            aside,
        )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS arrays"
            " (image TEXT PRIMARY KEY, row BLOB NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID"
        )
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _save(connection: sqlite3.Connection, rows: Sequence[tuple[str, FloatArray]]) -> None:
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)",
            [(digest, row.tobytes(), zlib.crc32(row.tobytes())) for digest, row in rows],
        )


def _decoded_ahead(
    digests: Sequence[str], decode: Callable[[str], ImageArray]
) -> Iterator[tuple[str, ImageArray]]:
    """Decode a few pictures ahead in threads, so that the network never waits for one."""
    with ThreadPoolExecutor(max_workers=session_threads()) as pool:
        ahead: deque[tuple[str, Future[ImageArray]]] = deque()
        try:
            for digest in digests:
                ahead.append((digest, pool.submit(decode, digest)))
                if len(ahead) > PICTURES_AHEAD:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            for _, future in ahead:
                future.cancel()
