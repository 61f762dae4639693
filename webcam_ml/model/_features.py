"""Features of pictures, computed once per picture and backbone and kept.

The store is one SQLite file per backbone fingerprint: safe for several runs at once, unharmed by a
kill, and a row whose checksum is wrong is computed again. Values are float32 as onnxruntime gave
them, one picture at a time, so a cold run and an incremental one see identical numbers.
"""

import logging
import sqlite3
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from webcam_ml.model._backbone_graph import BackboneGraph, session_threads
from webcam_ml.progress import track

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

ROWS_BETWEEN_COMMITS = 64
PICTURES_AHEAD = 8
IDS_PER_QUERY = 500


@dataclass(frozen=True)
class Features:
    """Features of a list of pictures, in its order.

    Attributes:
        values: float32 [pictures, features].
        channel_means: float32 [pictures, 3], red, green and blue on the 0–1 scale.
        computed: How many distinct pictures went through the backbone now.
        reused: How many came from the store.
    """

    values: FloatArray
    channel_means: FloatArray
    computed: int
    reused: int


def extract_features(
    graph: BackboneGraph,
    digests: Sequence[str],
    *,
    decode: Callable[[str], ImageArray],
    cache: Path,
) -> Features:
    """Give the features of pictures, computing only those that the store lacks.

    Args:
        graph: The exported backbone.
        digests: SHA-256 of each picture; repeats are computed once.
        decode: Turns a digest into uint8 RGB [height, width, 3]; called in threads.
        cache: Root of the caches.
    """
    path = cache / "features" / f"{graph.fingerprint[:24]}.sqlite"
    known = _read(path, digests)
    missing = [digest for digest in dict.fromkeys(digests) if digest not in known]
    if missing:
        known |= _compute(graph, missing, decode=decode, path=path)
    rows = [known[digest] for digest in digests]
    distinct = len(set(digests))
    logger.info("features: %d pictures computed, %d reused", len(missing), distinct - len(missing))
    return Features(
        values=np.stack([row[:-3] for row in rows]),
        channel_means=np.stack([row[-3:] for row in rows]),
        computed=len(missing),
        reused=distinct - len(missing),
    )


def _compute(
    graph: BackboneGraph,
    digests: Sequence[str],
    *,
    decode: Callable[[str], ImageArray],
    path: Path,
) -> dict[str, FloatArray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = session_threads()
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    computed: dict[str, FloatArray] = {}
    unsaved: list[tuple[str, FloatArray]] = []
    with closing(_connect(path)) as connection:
        pictures = _decoded_ahead(digests, decode)
        for digest, picture in track(
            pictures, total=len(digests), what="features", unit="pictures"
        ):
            features, means = session.run(
                ["features", "channel_means"], {"image": picture[np.newaxis]}
            )
            row = np.concatenate([features[0], means[0]]).astype(np.float32, copy=False)
            computed[digest] = row
            unsaved.append((digest, row))
            if len(unsaved) == ROWS_BETWEEN_COMMITS:
                _save(connection, unsaved)
                unsaved.clear()
        _save(connection, unsaved)
    return computed


def _decoded_ahead(
    digests: Sequence[str], decode: Callable[[str], ImageArray]
) -> Iterator[tuple[str, ImageArray]]:
    """Decode a few pictures ahead in threads, so that the backbone never waits for one."""
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


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open(path)
    except sqlite3.OperationalError:
        raise  # locked, full or unwritable: nothing is wrong with the file
    except sqlite3.DatabaseError as error:
        _set_aside(path, error)
        return _open(path)


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    logger.warning(
        "%s is damaged (%s): moved to %s; features are computed again", path, error, aside
    )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS features"
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
            "INSERT OR REPLACE INTO features VALUES (?, ?, ?)",
            [(digest, row.tobytes(), zlib.crc32(row.tobytes())) for digest, row in rows],
        )


def _read(path: Path, digests: Sequence[str]) -> dict[str, FloatArray]:
    if not path.exists():
        return {}
    wanted = sorted(set(digests))
    known: dict[str, FloatArray] = {}
    try:
        with closing(_connect(path)) as connection:
            for chunk in _batched(wanted, IDS_PER_QUERY):
                marks = ",".join("?" * len(chunk))
                query = f"SELECT image, row, crc32 FROM features WHERE image IN ({marks})"
                for digest, row, checksum in connection.execute(query, chunk):
                    if zlib.crc32(row) == checksum:
                        known[digest] = np.frombuffer(row, dtype=np.float32)
                    else:
                        logger.warning("the kept features of %s are damaged", digest)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        _set_aside(path, error)
        return {}
    return known


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Cut a sequence into pieces (itertools has this from Python 3.12 on)."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
