"""The production folder of a store in a bucket, of which every machine has a mirror."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from webcam_ml.errors import WebcamMLError
from webcam_ml.live._history import ORDER, History, key_of
from webcam_ml.live._layout import LEDGER_FILE, VERSION_FILES, VERSIONS
from webcam_ml.store import MIRROR_VARIABLE, Bucket, Found, mirror


class SharedHistory:
    """The history as it was last read of a bucket, and the mirror that has a copy of it.

    Args:
        bucket: The bucket.
        folder: The production folder of the mirror.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self._bucket = bucket
        self._folder = folder
        self._found: dict[str, Found] = {}

    def refresh(self) -> None:
        """Read the history, and let the mirror have it; what is live only moves forward.

        Raises:
            LedgerDamagedError: It is not what was written; the mirror stays as it was.
            WebcamMLError: It is no longer, or other than, what the mirror has seen of it; or the bucket
                cannot be read.
        """
        history = History.of(self._bucket)
        self._require_onward(history.files.get(LEDGER_FILE, b""))
        self._found = dict(history.found)
        # The head last: a mirror that is ended in between is behind, and not damaged.
        for name in reversed(ORDER):
            path, found = self._folder / name, self._found.get(name)
            if found is None:
                path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != found.data:
                mirror(path, found.data)

    def write(self, name: str, data: bytes) -> bool:
        """Replace a file of the history as it was last read; false if it is another by now."""
        known = self._found.get(name)
        if known is None:
            written = self._bucket.create(key_of(name), data)
        else:
            written = self._bucket.swap(key_of(name), data, known.tag)
        if written:
            found = self._bucket.get(key_of(name))
            if found is not None and found.data == data:
                self._found[name] = found
        return written

    def add(self, version: str) -> None:
        """Bring the files of a version that was never live into the bucket.

        Raises:
            WebcamMLError: It has other files of that name.
        """
        for name in VERSION_FILES:
            key = _key_of(version, name)
            if not self._bucket.create(
                key, (self._folder / VERSIONS / version / name).read_bytes()
            ):
                raise WebcamMLError(
                    f"{self._bucket.address}/{key} is there with other bytes, of a promotion that goes on "
                    "now or was interrupted: the libraries that write the file have changed between. One "
                    "name must not stand for two files: train again, or remove the key if no run promotes"
                )

    def fetch(self, version: str, digests: Mapping[str, str] | None = None) -> None:
        """Bring the files of a version into the mirror, where it lacks them, or has others.

        Args:
            version: Its name.
            digests: SHA-256 by file; without them a file that is there is taken as it is.
        """
        for name in VERSION_FILES:
            path = self._folder / VERSIONS / version / name
            if path.is_file() and (digests is None or _sha256(path.read_bytes()) == digests[name]):
                continue
            found = self._bucket.get(_key_of(version, name))
            if found is not None:
                mirror(path, found.data)

    def restore(self, version: str, digests: Mapping[str, str]) -> None:
        """Write damaged files of a version in the bucket from the mirror, where they are whole."""
        for name in VERSION_FILES:
            key = _key_of(version, name)
            found = self._bucket.get(key)
            if found is None or _sha256(found.data) != digests[name]:
                self._bucket.put(key, (self._folder / VERSIONS / version / name).read_bytes())

    def _require_onward(self, lines: bytes) -> None:
        path = self._folder / LEDGER_FILE
        there = path.read_bytes() if path.is_file() else b""
        if not lines.startswith(there):
            raise WebcamMLError(
                f"{key_of(LEDGER_FILE)} in {self._bucket.address} does not go on from what this machine has "
                f"seen of it: {path} has {_count(there)} lines, and they are not the first of the "
                f"{_count(lines)} there. What is live only moves forward: bring the bucket's backup up "
                f"to date. If an older state, or another bucket, is meant, remove {self._folder} on every "
                f"machine ({MIRROR_VARIABLE} names where mirrors are)"
            )


def _key_of(version: str, name: str) -> str:
    return key_of(f"{VERSIONS}/{version}/{name}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _count(lines: bytes) -> int:
    return lines.count(b"\n")
