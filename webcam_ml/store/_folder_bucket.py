"""A folder as a bucket: a hard link refuses to overwrite, and a lock stands around a swap."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._atomic import flush_folder, write_atomically
from webcam_ml.store._bucket import Found
from webcam_ml.store._locks import LOCK_FILE

INCOMING = ".incoming"
SECONDS_UNTIL_LEFT_BEHIND = 24 * 60 * 60


@dataclass(frozen=True)
class FolderBucket:
    """A bucket in a folder of a file system with hard links and file locks."""

    root: Path

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def require_conditions(self) -> None:
        """Refuse a folder that cannot be written, or whose file system has no hard links."""
        for leftover in (self.root / INCOMING).glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > SECONDS_UNTIL_LEFT_BEHIND:
                    leftover.unlink()
        probe = f"probe-{uuid.uuid4().hex}"
        self.create(probe, b"")
        self.delete(probe)

    def get(self, key: str) -> Found | None:
        """Read a key; None if there is none."""
        path = self._path(key)
        with self._explaining(f"{path} cannot be read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        return Found(data, hashlib.sha256(data).hexdigest())

    def create(self, key: str, data: bytes) -> bool:
        """Write a key that is not there; false if it has other bytes, which stay."""
        path = self._path(key)
        with self._explaining(f"{path} cannot be written"), self._incoming(path, data) as written:
            try:
                path.hardlink_to(written)
            except FileExistsError:
                return path.read_bytes() == data
        return True

    def swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace what had this tag when it was read; false if that is other bytes by now."""
        path = self._path(key)
        with self._explaining(f"{path} cannot be written"), FileLock(path.parent / LOCK_FILE):
            found = self.get(key)
            if found is None or found.tag != tag:
                return found is not None and found.data == data
            write_atomically(path, data)
        return True

    def put(self, key: str, data: bytes) -> None:
        """Write a key whatever it has; only for keys that can have no other bytes."""
        path = self._path(key)
        with self._explaining(f"{path} cannot be written"), self._incoming(path, data) as written:
            written.replace(path)

    def keys(self, folder: str = "") -> Iterator[str]:
        """List the keys below a folder, in order; links and hidden files are none."""
        with self._explaining(f"{self.root / folder} cannot be listed"):
            yield from sorted(
                found.relative_to(self.root).as_posix() for found in _files(self.root / folder)
            )

    def folders(self) -> list[str]:
        """Name the folders that keys begin with, in order."""
        with self._explaining(f"{self.root} cannot be listed"):
            return sorted(
                path.name
                for path in self.root.glob("*")
                if path.is_dir() and not path.name.startswith(".") and not path.is_symlink()
            )

    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""
        path = self._path(key)
        with self._explaining(f"{path} cannot be removed"):
            path.unlink(missing_ok=True)

    @contextmanager
    def _incoming(self, path: Path, data: bytes) -> Iterator[Path]:
        """Write bytes aside, where nobody cleans up that does not know of this writer."""
        written = self.root / INCOMING / uuid.uuid4().hex
        for folder in (written.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with written.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield written
            flush_folder(path.parent)
        finally:
            written.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or any(part.startswith((".", "/")) for part in parts):
            raise ValueError(f"{key!r} is no key")
        return self.root.joinpath(*parts)

    @contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WebcamMLError(
                f"{what}: {error}. Nothing that was stored before is touched. Free some space, make "
                f"{self.root} readable and writable, on a file system that has hard links and file "
                "locks, or name another folder"
            ) from error


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and not path.is_symlink():
                yield path
