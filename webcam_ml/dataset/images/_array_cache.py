"""Small arrays of numbers by picture, kept on disk: fingerprints, features, scores of model files.

One SQLite file per producer: safe for several runs at once, unharmed by a kill, and a row whose
checksum is wrong is computed again.
"""

import logging
import sqlite3
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import available_cores
from webcam_ml.progress import track

logger = logging.getLogger(__name__)

ImageArray = npt.NDArray[np.uint8]
Number = TypeVar("Number", np.float32, np.int8)
Result = TypeVar("Result")

ROWS_BETWEEN_COMMITS = 64
AHEAD_PER_CORE = 4
KEYS_PER_QUERY = 500


class ArrayCache(Generic[Number]):
    """Flat arrays of one kind of number by the SHA-256 of a picture, in one file.

    Args:
        path: The file; whatever gives other numbers for equal pictures needs another one.
        dtype: The kind of number.
    """

    def __init__(self, path: Path, dtype: type[Number]) -> None:
        self.path = path
        self._dtype: type[Number] = dtype

    def compute_missing(
        self,
        digests: Sequence[str],
        compute: Callable[[ImageArray], npt.NDArray[Number]],
        *,
        decode: Callable[[str], ImageArray],
        what: str,
        anew: Collection[str] = (),
    ) -> tuple[dict[str, npt.NDArray[Number]], int]:
        """Give the array of each picture, computing and keeping those that are not there.

        Args:
            digests: SHA-256 of each picture; repeats are computed once.
            compute: From uint8 RGB [height, width, 3] to a flat array; called in threads, as many
                at once as there are cores, so it should itself keep to one.
            decode: Turns a digest into such a picture; called in the same threads.
            what: The work in a word, for the progress display.
            anew: Pictures whose arrays are computed whatever is kept of them.

        Returns:
            The arrays by digest, and how many were computed.

        Raises:
            WebcamMLError: The file can be neither read nor written.
        """
        with self._explaining_os_errors():
            return self._compute_missing(digests, compute, decode=decode, what=what, anew=anew)

    def read(self, digests: Sequence[str]) -> dict[str, npt.NDArray[Number]]:
        """Give the arrays that are there and whole.

        Raises:
            WebcamMLError: The file can be neither read nor written.
        """
        with self._explaining_os_errors():
            return self._read(digests)

    @contextmanager
    def _explaining_os_errors(self) -> Iterator[None]:
        """Say what to do about a disk that is full, read-only or slow; the file itself is whole."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> WebcamMLError:
        return WebcamMLError(
            f"{self.path} cannot be used: {error}. What was kept before is whole. Free some space or "
            "make the folder writable (WEBCAM_ML_CACHE names it), then run it again: the work goes on "
            "where it stopped"
        )

    def _compute_missing(
        self,
        digests: Sequence[str],
        compute: Callable[[ImageArray], npt.NDArray[Number]],
        *,
        decode: Callable[[str], ImageArray],
        what: str,
        anew: Collection[str],
    ) -> tuple[dict[str, npt.NDArray[Number]], int]:
        kept = self._read(digests)
        known = {digest: row for digest, row in kept.items() if digest not in anew}
        missing = [digest for digest in dict.fromkeys(digests) if digest not in known]
        if missing:
            with closing(self._connect()) as connection:
                unsaved: list[tuple[str, npt.NDArray[Number]]] = []
                computed = work_ahead(missing, lambda digest: compute(decode(digest)))
                for digest, row in track(computed, total=len(missing), what=what, unit="pictures"):
                    known[digest] = row.astype(self._dtype, copy=False)
                    if digest in kept and not np.array_equal(kept[digest], known[digest]):
                        logger.warning(
                            "what %s kept of %s is not what the picture gives: somebody wrote it, or "
                            "it was computed by another version of a library",
                            self.path,
                            digest,
                        )
                    unsaved.append((digest, known[digest]))
                    if len(unsaved) == ROWS_BETWEEN_COMMITS:
                        _save(connection, unsaved)
                        unsaved.clear()
                _save(connection, unsaved)
        logger.info(
            "%s: %d pictures computed, %d reused", what, len(missing), len(known) - len(missing)
        )
        return known, len(missing)

    def _read(self, digests: Sequence[str]) -> dict[str, npt.NDArray[Number]]:
        if not self.path.exists():
            return {}
        wanted = sorted(set(digests))
        known: dict[str, npt.NDArray[Number]] = {}
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(wanted), KEYS_PER_QUERY):
                    keys = wanted[start : start + KEYS_PER_QUERY]
                    marks = ",".join("?" * len(keys))
                    query = f"SELECT image, row, crc32 FROM arrays WHERE image IN ({marks})"
                    for digest, row, checksum in connection.execute(query, keys):
                        if zlib.crc32(row) == checksum:
                            known[digest] = np.frombuffer(row, dtype=self._dtype)
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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
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


def _save(connection: sqlite3.Connection, rows: Sequence[tuple[str, npt.NDArray[Any]]]) -> None:
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)",
            [(digest, row.tobytes(), zlib.crc32(row.tobytes())) for digest, row in rows],
        )


def work_ahead(
    digests: Sequence[str], work: Callable[[str], Result]
) -> Iterator[tuple[str, Result]]:
    """Work on as many pictures at once as there are cores, each on one thread, in their order.

    No core waits for another, as it does where all of them share one picture's layers, and the
    caller does not wait for a picture to be decoded. Only a few results are computed ahead.

    Args:
        digests: SHA-256 of each picture.
        work: What is made of one, called in threads.
    """
    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        ahead: deque[tuple[str, Future[Result]]] = deque()
        try:
            for digest in digests:
                ahead.append((digest, pool.submit(work, digest)))
                if len(ahead) > AHEAD_PER_CORE * cores:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            for _, future in ahead:
                future.cancel()
