"""Rows of numbers in the bucket of the store, so that a machine without them need not compute them.

Below ``rows/<producer>/<kind of machine>-<libraries>/`` each key is the SHA-256 of its bytes: up to 1,000
rows, the digests of their pictures, and what they are. Nothing there is replaced. The file of an
`ArrayCache` remembers which of its rows are in which shard; what the bucket does not list counts as not
shared, so a bucket that was emptied, or another one, gets all rows that are used. Rows that were in the
file when libraries changed are used there, as before, but never brought.
"""

import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from webcam_ml.progress import track
from webcam_ml.store import ROWS, Bucket

logger = logging.getLogger(__name__)

SHARD_ROWS = 1_000
SHARDS_AT_ONCE = 8
KEYS_PER_QUERY = 500
DIGEST_BYTES = hashlib.sha256().digest_size
# Where rows of other libraries are, as far as the file knows: in a shard that is none.
OF_OTHER_LIBRARIES = 0


@dataclass(frozen=True)
class Shards:
    """The shards of one producer on one kind of machine with one set of libraries, in a bucket.

    Attributes:
        bucket: Where they are.
        producer: What computes the rows: equal names give equal rows, on one kind of machine.
        machine: The kind of machine; empty where the rows do not depend on it.
        libraries: The versions of what computes them, the decoder among it.
        dtype: The kind of number, as numpy writes it.
    """

    bucket: Bucket
    producer: str
    machine: str
    libraries: Mapping[str, str]
    dtype: str

    @property
    def folder(self) -> str:
        """What their keys begin with."""
        kind = hashlib.sha256(self.machine.encode()).hexdigest()[:8] if self.machine else "any"
        return f"{ROWS}/{self.producer}/{kind}-{self.libraries_digest[:8]}"

    @property
    def libraries_digest(self) -> str:
        """Equal for equal versions."""
        return hashlib.sha256(json.dumps(dict(self.libraries), sort_keys=True).encode()).hexdigest()

    def names(self) -> set[str]:
        """List those that are there."""
        return {key.removeprefix(f"{self.folder}/") for key in self.bucket.keys(self.folder)}

    def put(self, rows: Mapping[str, bytes]) -> str:
        """Write rows by the digests of their pictures, all equally long, and name the shard."""
        images = sorted(rows)
        head = json.dumps(self._head(len(rows[images[0]])), sort_keys=True).encode()
        keys = b"".join(map(bytes.fromhex, images))
        data = head + b"\n" + keys + b"".join(rows[image] for image in images)
        name = hashlib.sha256(data).hexdigest()
        self.bucket.put(f"{self.folder}/{name}", data)
        return name

    def get(self, name: str) -> dict[str, bytes] | None:
        """Read a shard; None if it is gone, is not what its name says, or has other rows than these."""
        found = self.bucket.get(f"{self.folder}/{name}")
        if found is None or hashlib.sha256(found.data).hexdigest() != name:
            return None
        line, _, body = found.data.partition(b"\n")
        try:
            head = json.loads(line)
            size = head["bytes"]
        except (ValueError, KeyError, TypeError):
            return None
        if type(size) is not int or size <= 0 or head != self._head(size):
            return None
        count, rest = divmod(len(body), DIGEST_BYTES + size)
        if rest:
            return None
        rows = memoryview(body)[count * DIGEST_BYTES :]
        return {
            body[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES].hex(): bytes(
                rows[i * size : (i + 1) * size]
            )
            for i in range(count)
        }

    def _head(self, size: int) -> dict[str, object]:
        return {
            "bytes": size,
            "dtype": self.dtype,
            "libraries": dict(self.libraries),
            "machine": self.machine,
            "producer": self.producer,
        }


class SharedRows:
    """What the file of an `ArrayCache` and the shards in the bucket have of each other.

    Args:
        connect: Opens the file.
        shards: The shards of the producer whose rows the file has.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], shards: Shards) -> None:
        self._connect = connect
        self._shards = shards
        self._unsent: list[tuple[str, bytes]] = []
        there = shards.names()
        with closing(connect()) as connection:
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
                )
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS sharded"
                    " (image TEXT PRIMARY KEY, shard INTEGER NOT NULL) WITHOUT ROWID"
                )
                _note_libraries(connection, shards.libraries_digest)
            known = dict(connection.execute("SELECT name, id FROM shards"))
        self._there = {known[name] for name in there & known.keys()} | {OF_OTHER_LIBRARIES}
        self._untaken = sorted(there - known.keys())

    def unshared(self, images: Sequence[str]) -> list[str]:
        """Give those pictures whose rows are in no shard of which the file knows."""
        found: list[str] = []
        with closing(self._connect()) as connection:
            for start in range(0, len(images), KEYS_PER_QUERY):
                some = images[start : start + KEYS_PER_QUERY]
                marks = ",".join("?" * len(some))
                query = f"SELECT image, shard FROM sharded WHERE image IN ({marks})"
                shared = {
                    image
                    for image, shard in connection.execute(query, some)
                    if shard in self._there
                }
                found += [image for image in some if image not in shared]
        return found

    def take(self, wanted: Iterable[str], *, what: str) -> bool:
        """Bring shards that the file has not seen into it, a few at a time, until no picture is wanting.

        Rows that are in the file stay as they are. A shard that is gone, damaged, or of something
        else is left out with a warning.

        Args:
            wanted: The pictures.
            what: The rows in a word, for the progress display.

        Returns:
            Whether any came.
        """
        wanting, came = set(wanted), False
        left_out: list[str] = []
        size = self._row_size()
        total = len(self._untaken)
        with ThreadPoolExecutor(SHARDS_AT_ONCE, thread_name_prefix="shards") as pool:
            found = self._fetched(wanting, pool)
            for name, rows in track(
                found, total=total, what=f"{what} from the bucket", unit="shards"
            ):
                lengths = set(map(len, rows.values())) if rows else set()
                if not rows or (size is not None and lengths != {size}):
                    left_out.append(name)
                    continue
                (size,) = lengths
                self._note(name, rows)
                wanting -= rows.keys()
                came = True
        if left_out:
            logger.warning(
                "%d shards of %s in %s/%s are gone or damaged, or hold something else (%s is one): left "
                "out, and their rows are computed again. What is there of them may be deleted",
                len(left_out),
                what,
                self._shards.bucket.address,
                self._shards.folder,
                left_out[0],
            )
        return came

    def _fetched(
        self, wanting: Set[str], pool: Executor
    ) -> Iterator[tuple[str, dict[str, bytes] | None]]:
        """Read shards while something is wanting, so many at once that these are in memory."""
        while wanting and self._untaken:
            names = self._untaken[:SHARDS_AT_ONCE]
            del self._untaken[:SHARDS_AT_ONCE]
            yield from zip(names, pool.map(self._shards.get, names), strict=True)

    def add(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Write rows that are in the file, and in no shard, into the bucket as soon as they fill one."""
        given = dict(rows)
        self._unsent += [(image, given[image]) for image in self.unshared(list(given))]
        while len(self._unsent) >= SHARD_ROWS:
            self._send()

    def finish(self) -> None:
        """Write what is left."""
        while self._unsent:
            self._send()

    def _send(self) -> None:
        rows = dict(self._unsent[:SHARD_ROWS])
        self._note(self._shards.put(rows), rows)
        del self._unsent[:SHARD_ROWS]

    def _note(self, name: str, rows: Mapping[str, bytes]) -> None:
        """Keep the rows of a shard that the file lacks, and that it is there."""
        with closing(self._connect()) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO shards (name) VALUES (?)", (name,))
            ((shard,),) = connection.execute("SELECT id FROM shards WHERE name = ?", (name,))
            connection.executemany(
                "INSERT OR IGNORE INTO arrays VALUES (?, ?, ?)",
                [(image, row, zlib.crc32(row)) for image, row in rows.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO sharded VALUES (?, ?)", [(image, shard) for image in rows]
            )
        self._there.add(shard)

    def _row_size(self) -> int | None:
        with closing(self._connect()) as connection:
            found = connection.execute("SELECT length(row) FROM arrays LIMIT 1").fetchone()
        return None if found is None else int(found[0])


def _note_libraries(connection: sqlite3.Connection, digest: str) -> None:
    """Mark all rows of a file as those of other libraries if it was last shared by other ones."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS libraries (id INTEGER PRIMARY KEY CHECK (id = 1), digest TEXT)"
    )
    connection.execute("INSERT OR IGNORE INTO libraries VALUES (1, ?)", (digest,))
    query = "UPDATE libraries SET digest = ? WHERE digest <> ?"
    if connection.execute(query, (digest, digest)).rowcount:
        connection.execute(
            "INSERT OR REPLACE INTO sharded SELECT image, ? FROM arrays", (OF_OTHER_LIBRARIES,)
        )
