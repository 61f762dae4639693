"""Small arrays of numbers by picture, kept on disk: fingerprints, features, scores of model files.

One SQLite file per producer: safe for several runs at once, unharmed by a kill, and a row whose
checksum is wrong is computed again. Rows are read in blocks, so that what uses them one block at a
time needs no memory for all. Where the store is a bucket, rows are shared through it; see `_shards`.
"""

import hashlib
import logging
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images._cache import ImageCache
from webcam_ml.dataset.images._engine import PictureWork
from webcam_ml.dataset.images._machine import libraries
from webcam_ml.dataset.images._shards import KEYS_PER_QUERY, SHARD_ROWS, Shards, SharedRows
from webcam_ml.errors import WebcamMLError
from webcam_ml.progress import track
from webcam_ml.scoring import DECODER_VERSION

logger = logging.getLogger(__name__)

Number = TypeVar("Number", np.float32, np.int8)

ROWS_BETWEEN_COMMITS = 64
# 34 MB of 512 features. A multiple of what linear algebra takes at once, so that a row gives the same bits
# in blocks as it does among all.
ROWS_PER_BLOCK = 16_384


class _SetAsideError(Exception):
    """The file was damaged, and was moved out of the way."""


class ArrayCache(Generic[Number]):
    """Flat arrays of one kind of number by the SHA-256 of a picture, in one file.

    Args:
        path: The file; whatever gives other numbers for equal pictures needs another one.
        dtype: The kind of number.
        machine: The kind of machine that computes, where the numbers depend on that. The file is of the
            kind that used it first; for another kind there is one beside it.
    """

    def __init__(self, path: Path, dtype: type[Number], *, machine: str = "") -> None:
        self.path = path
        self._dtype: type[Number] = dtype
        self._machine = machine
        # What the rows are in a bucket; `path` and `_machine` change where the file is of another kind.
        self._producer, self._kind = f"{path.parent.name}/{path.stem}", machine

    def compute_missing(
        self,
        digests: Sequence[str],
        work: PictureWork[npt.NDArray[Number]],
        *,
        images: ImageCache,
        what: str,
        anew: Collection[str] = (),
    ) -> int:
        """Compute and keep the arrays of those pictures whose array is not there or not whole.

        Where the store is a bucket, what it has is taken from there first, and what it lacks is brought.
        What was computed before an error is kept, and brought.

        Args:
            digests: SHA-256 of each picture; repeats are computed once.
            work: From a picture to a flat array.
            images: Where the pictures are, who does the work, and the bucket of the store.
            what: The work in a word, for the progress display.
            anew: Pictures whose arrays are computed whatever is kept of them.

        Returns:
            How many were computed.

        Raises:
            WebcamMLError: The file can be neither read nor written, or was damaged, or the bucket
                can be neither read nor written.
        """
        with self._explaining_errors():
            return self._compute_missing(digests, work, images=images, what=what, anew=anew)

    def rows(self, digests: Sequence[str]) -> npt.NDArray[Number]:
        """Give the arrays of pictures, [pictures, numbers], in their order.

        Raises:
            WebcamMLError: One is missing or damaged, or the file cannot be read.
        """
        filled = np.empty((0, 0), self._dtype)
        place = 0
        for block in self.blocks(digests):
            if not place:
                filled = np.empty((len(digests), block.shape[1]), self._dtype)
            filled[place : place + len(block)] = block
            place += len(block)
        return filled

    def blocks(
        self, digests: Sequence[str], *, size: int = ROWS_PER_BLOCK
    ) -> Iterator[npt.NDArray[Number]]:
        """Give the arrays of pictures in their order, a block of `size` pictures at a time.

        Raises:
            WebcamMLError: One is missing or damaged, or the file cannot be read.
        """
        for start in range(0, len(digests), size):
            wanted = digests[start : start + size]
            with self._explaining_errors():
                known = self._read(wanted)
            gone = [digest for digest in wanted if digest not in known]
            if gone:
                raise WebcamMLError(
                    f"{self.path} lost what it kept of {len(set(gone))} pictures while it was used, "
                    f"{gone[0]} among them. Run it again: they are computed again"
                )
            yield np.stack([known[digest] for digest in wanted])

    def read(self, digests: Sequence[str]) -> dict[str, npt.NDArray[Number]]:
        """Give the arrays that are there and whole.

        Raises:
            WebcamMLError: The file can be neither read nor written.
        """
        with self._explaining_errors():
            return self._read(digests)

    def keep(self, rows: Mapping[str, npt.NDArray[Number]]) -> None:
        """Write arrays by picture, over those that are there.

        Raises:
            WebcamMLError: The file can be neither read nor written.
        """
        with self._explaining_errors():
            for _ in self._kept(rows.items()):
                pass

    @contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        """Say what to do about a disk that is full, read-only or slow, and move a damaged file aside."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._unusable(error) from error  # the file itself is whole
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            raise WebcamMLError(
                f"{self.path} was damaged ({error}) and is moved aside: run it again"
            ) from error

    def _unusable(self, error: Exception) -> WebcamMLError:
        return WebcamMLError(
            f"{self.path} cannot be used: {error}. What was kept before is whole. Free some space or "
            "make the folder writable (WEBCAM_ML_CACHE names it), then run it again: the work goes on "
            "where it stopped"
        )

    def _compute_missing(
        self,
        digests: Sequence[str],
        work: PictureWork[npt.NDArray[Number]],
        *,
        images: ImageCache,
        what: str,
        anew: Collection[str],
    ) -> int:
        distinct = list(dict.fromkeys(digests))
        whole = self._which_are_whole(distinct)
        shared, came = None, set[str]()
        if images.remote is not None:
            kind = np.dtype(self._dtype).str
            versions = {**libraries(), "decoder": str(DECODER_VERSION)}
            shards = Shards(images.remote, self._producer, self._kind, versions, kind)
            shared = SharedRows(self._connect, shards)
            lacking = [digest for digest in distinct if digest not in whole]
            here = [digest for digest in distinct if digest in whole and digest not in anew]
            came = self._exchange(shared, lacking, here, what=what)
            whole |= came
        missing = [digest for digest in distinct if digest in anew or digest not in whole]
        with nullcontext() if shared is None else _at_the_end(shared.finish):
            if missing:
                self._compute(missing, whole, work, shared, images=images, what=what)
        logger.info(
            "%s: %d pictures computed%s, %d reused%s",
            what,
            len(missing),
            f" by {images.engine}" if missing else "",
            len(distinct) - len(missing),
            "" if shared is None else f", {len(came.difference(anew))} of them from the bucket",
        )
        return len(missing)

    def _compute(
        self,
        missing: list[str],
        whole: set[str],
        work: PictureWork[npt.NDArray[Number]],
        shared: SharedRows | None,
        *,
        images: ImageCache,
        what: str,
    ) -> None:
        kept = self._read([digest for digest in missing if digest in whole])
        with (
            closing(images.each(work, missing)) as rows,
            closing(self._kept(rows, shared)) as computed,
        ):
            for digest, row in track(computed, total=len(missing), what=what, unit="pictures"):
                if digest in kept and not np.array_equal(kept[digest], row):
                    logger.warning(
                        "what %s kept of %s is not what the picture gives: somebody wrote it, or "
                        "it was computed by another version of a library",
                        self.path,
                        digest,
                    )

    def _exchange(
        self, shared: SharedRows, lacking: list[str], here: list[str], *, what: str
    ) -> set[str]:
        """Take from the bucket what is lacking, bring of what is here what it lacks, and give what came."""
        # Another machine may have brought them, in shards that this one has not seen.
        some_came = shared.take([*lacking, *shared.unshared(here)], what=what)
        unshared = shared.unshared(here)
        for start in range(0, len(unshared), SHARD_ROWS):
            rows = self._read(unshared[start : start + SHARD_ROWS])
            shared.add((digest, row.tobytes()) for digest, row in rows.items())
        return self._which_are_whole(lacking) if some_came else set()

    def _which_are_whole(self, digests: Sequence[str]) -> set[str]:
        try:
            return {digest for digest, _ in self._whole(digests)}
        except _SetAsideError:
            return set()

    def _kept(
        self, rows: Iterable[tuple[str, npt.NDArray[Number]]], shared: SharedRows | None = None
    ) -> Generator[tuple[str, npt.NDArray[Number]], None, None]:
        """Pass rows on, and write them as they come: into the file, then into the bucket."""
        unsaved: list[tuple[str, npt.NDArray[Number]]] = []
        with (
            closing(self._connect()) as connection,
            _at_the_end(lambda: _save(connection, unsaved, shared)),
        ):
            for digest, row in rows:
                unsaved.append((digest, row.astype(self._dtype, copy=False)))
                yield unsaved[-1]
                if len(unsaved) == ROWS_BETWEEN_COMMITS:
                    _save(connection, unsaved, shared)

    def _read(self, digests: Sequence[str]) -> dict[str, npt.NDArray[Number]]:
        try:
            return dict(self._whole(digests))
        except _SetAsideError:
            return {}

    def _whole(self, digests: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[Number]]]:
        """Give what is there and whole, in any order.

        Raises:
            _SetAsideError: The file turned out to be damaged; nothing of it is there any more.
        """
        if not self.path.exists():
            return
        wanted = sorted(set(digests))
        try:
            with closing(self._connect()) as connection:
                for start in range(0, len(wanted), KEYS_PER_QUERY):
                    keys = wanted[start : start + KEYS_PER_QUERY]
                    marks = ",".join("?" * len(keys))
                    query = f"SELECT image, row, crc32 FROM arrays WHERE image IN ({marks})"
                    for digest, row, checksum in connection.execute(query, keys):
                        if zlib.crc32(row) == checksum:
                            yield digest, np.frombuffer(row, dtype=self._dtype)
                        else:
                            logger.warning(
                                "what %s keeps of %s is damaged: computed again", self.path, digest
                            )
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            raise _SetAsideError from error

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        connection = self._open_whole()
        if self._machine and _machine_of(connection, self._machine) != self._machine:
            connection.close()
            other = hashlib.sha256(self._machine.encode()).hexdigest()[:8]
            self.path = self.path.with_name(f"{self.path.stem}-{other}{self.path.suffix}")
            self._machine = ""
            connection = self._open_whole()
        return connection

    def _open_whole(self) -> sqlite3.Connection:
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


def _machine_of(connection: sqlite3.Connection, machine: str) -> str:
    """Name the kind of machine that a file is of; the given one, from now on, if it is of none."""
    with connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS machine (id INTEGER PRIMARY KEY CHECK (id = 1), kind TEXT)"
        )
        connection.execute("INSERT OR IGNORE INTO machine VALUES (1, ?)", (machine,))
    (kind,) = connection.execute("SELECT kind FROM machine").fetchone()
    return str(kind)


@contextmanager
def _at_the_end(save: Callable[[], None]) -> Iterator[None]:
    """Save what is left at the end, also after an error, which then is the one that counts."""
    try:
        yield
    except BaseException:
        try:
            save()
        except (WebcamMLError, sqlite3.Error) as error:
            logger.warning("what was computed before an error could not be kept: %s", error)
        raise
    save()


def _save(
    connection: sqlite3.Connection,
    unsaved: list[tuple[str, npt.NDArray[Any]]],
    shared: SharedRows | None,
) -> None:
    kept = [(digest, row.tobytes()) for digest, row in unsaved]
    with connection:
        connection.executemany(
            "INSERT OR REPLACE INTO arrays VALUES (?, ?, ?)",
            [(digest, row, zlib.crc32(row)) for digest, row in kept],
        )
    unsaved.clear()
    if shared is not None:
        shared.add(kept)
