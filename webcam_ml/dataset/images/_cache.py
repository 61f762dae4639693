"""Images on disk, named by what they contain, and which source held which of them.

Below ``<root>/images``:

* ``<first two hex digits>/<sha256>`` is an image file as it was fetched. Every read checks it
  against its name, so a damaged file is never taken for the image; it is fetched again.
* ``sources/<first two hex digits>/<sha256 of the source>.json`` says what a source held: digest,
  size, width, height, format, and the version of the decoder that read it. It is written after its
  image and only for images that decode, so what succeeded is neither fetched nor decoded again and
  what failed is tried again; what an earlier decoder read is decoded once more. A local file is read
  each time, and its note holds as long as the digest is that of the file.

One small file for each source, rather than one database for all: no run waits for a lock, and
damage costs one image, not the cache. Every file is written beside its place and moved there in
one step, so readers see it whole or not at all, also when two runs write it at once and when one of
them is killed; what a killed run left half-written is removed an hour later.
"""

import hashlib
import json
import re
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from webcam_ml.dataset.images._engine import (
    Engine,
    LocalEngine,
    PictureWork,
    Result,
    decode_any_size,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.progress import track
from webcam_ml.scoring import DECODER_VERSION
from webcam_ml.store import PICTURES, Bucket, write_atomically

PUTS_AT_ONCE = 8
_LEFTOVER_AFTER_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class DamagedImageError(WebcamMLError):
    """A cached image is missing or is not what its name says."""


@dataclass(frozen=True)
class ImageRecord:
    """What a source held: an image that was fetched and decoded once.

    Attributes:
        sha256: Digest of the file; its name in the cache.
        bytes: Size of the file.
        width: Columns, in pixels, after the EXIF orientation was applied.
        height: Rows, likewise.
        format: As in `webcam_ml.scoring.ImageInfo`.
        decoder: The `DECODER_VERSION` that read it.
    """

    sha256: str
    bytes: int
    width: int
    height: int
    format: str
    decoder: int = DECODER_VERSION


class ImageCache:
    """Content-addressed images below one folder; any number of runs may share it.

    Args:
        root: The folder; made when something is stored. Images lie in ``root/images``.
        engine: Who computes what is made of them; by default threads of this process.
        remote: The bucket of the store, if it is one: what the folder lacks is fetched from there, and
            so are numbers that were made of pictures.
    """

    def __init__(
        self, root: Path, engine: Engine | None = None, *, remote: Bucket | None = None
    ) -> None:
        self._root = root / PICTURES
        self.engine = engine or LocalEngine()
        self.remote = remote

    def read(self, sha256: str) -> bytes:
        """Return the file with this digest, checked; from the bucket if the folder lacks it.

        Raises:
            DamagedImageError: The file is missing, unreadable, or has another digest.
            WebcamMLError: The bucket cannot be read, or the cache not be written.
        """
        try:
            return self._read_here(sha256)
        except DamagedImageError:
            content = self._fetch(self._path_of(sha256))
            if content is None or hashlib.sha256(content).hexdigest() != sha256:
                raise
        self._write(self._path_of(sha256), content)
        return content

    def _read_here(self, sha256: str) -> bytes:
        path = self._path_of(sha256)
        advice = "materialize image_index again: it fetches what is missing"
        try:
            content = path.read_bytes()
        except OSError as fault:
            raise DamagedImageError(
                f"the cached image {path} cannot be read ({fault.strerror}); {advice}"
            ) from fault
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedImageError(
                f"the cached image {path} is damaged: its content ({len(content):,} bytes) does not "
                f"have the digest that it is named for; {advice}"
            )
        return content

    def decode(self, sha256: str) -> NDArray[np.uint8]:
        """Return the pixels of the image with this digest: [height, width, 3], uint8, RGB.

        Raises:
            DamagedImageError: As `read` does.
            ImageError: The file is no usable image; those that an index lists as ok are.
        """
        return decode_any_size(self.read(sha256))

    def each(
        self, work: PictureWork[Result], digests: Sequence[str]
    ) -> Generator[tuple[str, Result], None, None]:
        """Let the engine do a work on each image; the caller closes it.

        Args:
            work: What is made of an image.
            digests: SHA-256 of each, none of them twice.

        Yields:
            Digest and result, in any order.

        Raises:
            DamagedImageError: As `read` does.
            ImageError: As `decode` does.
        """
        return self.engine.each(work, digests, read=self.read)

    def store(self, content: bytes) -> str:
        """Keep a file, unless it is there already and intact, and return its digest.

        Raises:
            WebcamMLError: The cache cannot be written.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._read_here(sha256)
        except DamagedImageError:
            self._write(self._path_of(sha256), content)
        return sha256

    def remember(self, source: str, record: ImageRecord) -> None:
        """Note what a source held; its image must be stored before.

        Raises:
            WebcamMLError: The cache cannot be written.
        """
        note = {"source": source, **asdict(record)}
        text = json.dumps(note, indent=2, sort_keys=False, allow_nan=False) + "\n"
        self._write(self._note_of(source), text.encode())

    def recall(self, source: str) -> ImageRecord | None:
        """Return what a source held, None if that is unknown or the note is damaged."""
        path = self._note_of(source)
        try:
            text = path.read_bytes()
        except OSError:
            fetched = self._fetch(path)
            if fetched is None:
                return None
            text = fetched
            self._write(path, text)
        return _parse_note(text, source)

    def share(self, sources: Mapping[str, str]) -> None:
        """Bring pictures, and the notes of what their sources held, into the bucket that lacks them.

        Args:
            sources: Which source held which picture, by its digest; all are in the folder.

        Raises:
            WebcamMLError: The bucket cannot be written.
        """
        if self.remote is None:
            return
        remote, there = self.remote, set(self.remote.keys(PICTURES))
        # A note comes after its picture, here as there.
        for paths in (map(self._path_of, set(sources.values())), map(self._note_of, sources)):
            missing = [path for path in paths if self._key_of(path) not in there and path.is_file()]
            with ThreadPoolExecutor(PUTS_AT_ONCE, thread_name_prefix="share") as pool:
                written = pool.map(
                    lambda path: remote.create(self._key_of(path), path.read_bytes()), missing
                )
                for _ in track(written, total=len(missing), what="sharing", unit="files"):
                    pass

    def _fetch(self, path: Path) -> bytes | None:
        found = None if self.remote is None else self.remote.get(self._key_of(path))
        return None if found is None else found.data

    def _key_of(self, path: Path) -> str:
        return f"{PICTURES}/{path.relative_to(self._root).as_posix()}"

    def remove_leftovers(self) -> None:
        """Remove what runs that were killed left half-written.

        Raises:
            WebcamMLError: Such a file cannot be removed.
        """
        oldest = time.time() - _LEFTOVER_AFTER_SECONDS
        for pattern in ("*/.*.tmp", "sources/*/.*.tmp"):
            for path in self._root.glob(pattern):
                try:
                    # A younger one may be the work of a run that is alive.
                    if path.stat().st_mtime < oldest:
                        path.unlink()
                except FileNotFoundError:
                    continue  # another run was faster
                except OSError as fault:
                    raise self._unwritable(fault) from fault

    def _path_of(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _note_of(self, source: str) -> Path:
        name = hashlib.sha256(source.encode()).hexdigest()
        return self._root / "sources" / name[:2] / f"{name}.json"

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def _unwritable(self, fault: OSError) -> WebcamMLError:
        return WebcamMLError(
            f"the image cache {self._root} cannot be written ({fault.strerror}); free space there, "
            "or choose another folder for the cache"
        )


def _parse_note(text: bytes, source: str) -> ImageRecord | None:
    """Read a note; None for whatever is not one, because fetching again mends it."""
    try:
        note = json.loads(text)
        record = ImageRecord(
            sha256=note["sha256"],
            bytes=note["bytes"],
            width=note["width"],
            height=note["height"],
            format=note["format"],
            decoder=note.get("decoder", 1),  # the first one left no number
        )
        whole = (
            note["source"] == source
            and _DIGEST.fullmatch(record.sha256) is not None
            and all(
                type(n) is int for n in (record.bytes, record.width, record.height, record.decoder)
            )
            and type(record.format) is str
        )
    except (ValueError, KeyError, TypeError):
        return None
    return record if whole else None
