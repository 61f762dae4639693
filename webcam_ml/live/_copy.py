"""`webcam-ml copy-store` and `webcam-ml pull`: from one folder or bucket to another, verified.

A copy only grows. A version of an asset counts from its lineage.json on, which is written when every
file of the version was read back as it should be; a live model counts from its line in the ledger
on. So a copy that was cut off is completed by the next one, and never holds half of anything. A
destination whose history is no beginning of the source's is refused before anything is written.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from webcam_ml.contracts import TARGETS, TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.live._chain import LedgerDamagedError, chain_of
from webcam_ml.live._history import History, follows, key_of
from webcam_ml.live._judged import JudgedCandidate, Refusal
from webcam_ml.live._layout import (
    BOTH,
    HEAD_FILE,
    JUDGED_FILE,
    LEDGER_FILE,
    REFUSALS_FILE,
    VERSION_FILES,
    VERSIONS,
)
from webcam_ml.live._ledger import Head, LedgerEntry
from webcam_ml.live._production import changing_production
from webcam_ml.progress import track
from webcam_ml.store import (
    BESIDE_ASSETS,
    LATEST_FILE,
    LINEAGE_FILE,
    PICTURES,
    STORE_VARIABLE,
    VERSION,
    ArtifactDamagedError,
    ArtifactStore,
    Bucket,
    FolderBucket,
    Lineage,
    advance,
)

logger = logging.getLogger(__name__)

DIGEST = re.compile("[0-9a-f]{64}")
PICTURES_AT_ONCE = 8


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        versions: Versions of assets that were not there.
        files: Files, of these and of models that were ever live.
        size: Their bytes.
        left_out: Versions of which a file is not what was stored, and which.
    """

    versions: int
    files: int
    size: int
    left_out: tuple[str, ...]


def copy_store(source: Bucket, destination: Bucket) -> Copied:
    """Copy every version, what is live and its history; what is there already is not copied again.

    The pictures that a bucket has come along, for hosts forget theirs. Links to what is live, and
    scorer.env, which names a path, are made where the destination is a folder. Caches, locks and what
    was found damaged and moved aside stay behind.

    Raises:
        WebcamMLError: The source is no store, or its history or a model that was live is damaged;
            the destination has another history, or cannot be written.
    """
    _require_two_places(source, destination)
    history = _whole_history(source)
    known = _known_models(destination, history)
    destination.require_conditions()
    # What the pointers name is older than the list of versions, and so in it.
    keys = _keys_of_assets(source)
    pointers = {
        key: _read(source, str(key))
        for key in keys
        if len(key.parts) == 2 and key.name == LATEST_FILE
    }
    keys = _keys_of_assets(source)
    versions = sorted((key.parent for key in keys if _is_lineage(key)), key=lambda one: one.name)
    if not versions and not history.ledger.entries:
        raise WebcamMLError(f"there is no store at {source.address}, so nothing to copy")
    work = _Work(source, destination)
    work.copy_pictures()
    for version in track(versions, total=len(versions), what="copying", unit="versions"):
        work.copy_version(version)
    for key, data in pointers.items():
        if key.parent not in {version.parent for version in work.left_out}:
            advance(destination, str(key), data, lambda _: True)
    for model, entry in history.ledger.first_entries().items():
        if model not in known:
            work.copy_model(entry)
    _copy_history(history, destination, (JUDGED_FILE, REFUSALS_FILE, LEDGER_FILE))
    if history.ledger.entries and isinstance(destination, FolderBucket):
        with changing_production(ArtifactStore(destination.root), is_copy=True):
            pass  # it makes the links and scorer.env
    return Copied(work.versions, work.files, work.size, tuple(work.left_out.values()))


def pull(
    source: Bucket, folder: Path, *, target_types: Iterable[TargetType] = ()
) -> dict[str, Path]:
    """Bring what is live into a folder, where its links then lead to it; what is there is verified.

    The folder gets `production/` as in a store: the versions that are live, links, scorer.env, and
    the ledger, by which the next pull knows that what is live only moves forward.

    Args:
        source: A store.
        folder: Where the application reads; of its own, not the store's.
        target_types: Which of the live models; by default all.

    Returns:
        The link to each live model by its target type, and as `both` that to the file with both heads,
        which is made here where both were brought and there is one.

    Raises:
        WebcamMLError: No such model is live, its files are damaged, the history is not what the
            folder has seen of it, or the folder cannot be written.
    """
    destination = FolderBucket(folder.absolute())
    _require_two_places(source, destination)
    history = _whole_history(source)
    ledger = history.ledger
    found = {name: ledger.live(name) for name in tuple(target_types) or TARGETS}
    live = {name: entry for name, entry in found.items() if entry is not None}
    missing = [] if live and not target_types else [name for name in found if name not in live]
    if missing:
        raise WebcamMLError(
            f"no {' or '.join(missing)} model is live in {source.address}: let a run promote one "
            f"(production_model), or correct {STORE_VARIABLE}"
        )
    _known_models(destination, history)
    destination.require_conditions()
    work = _Work(source, destination)
    for entry in live.values():
        work.copy_model(ledger.first_entries()[entry.version])
    _copy_history(history, destination, [LEDGER_FILE])
    here = ArtifactStore(destination.root)
    with changing_production(here, links=tuple(live), is_copy=True) as production:
        links = {name: production.folder / name for name in (*live, BOTH)}
        return {name: link for name, link in links.items() if name in live or link.is_symlink()}


def _whole_history(source: Bucket) -> History:
    history = History.of(source)
    for name, kind in ((JUDGED_FILE, JudgedCandidate), (REFUSALS_FILE, Refusal)):
        try:
            chain_of(history.files.get(name), Path(key_of(name)), kind)
        except LedgerDamagedError as error:
            raise error.in_(source.address) from error
    return history


def _require_two_places(source: Bucket, destination: Bucket) -> None:
    if source.address == destination.address:
        raise WebcamMLError(
            f"{source.address} would be copied onto itself: name another place, or let "
            f"{STORE_VARIABLE} name the store"
        )


@dataclass
class _Work:
    """Files on their way, and what became of them."""

    source: Bucket
    destination: Bucket
    versions: int = 0
    files: int = 0
    size: int = 0
    left_out: dict[PurePosixPath, str] = field(default_factory=dict)

    def copy_pictures(self) -> None:
        """Copy the pictures, and then the notes of what their sources held; no damaged picture."""
        there = set(self.destination.keys(PICTURES))
        missing = [key for key in self.source.keys(PICTURES) if key not in there]
        pictures = [key for key in missing if _digest_in(key) is not None]
        notes = [key for key in missing if _digest_in(key) is None]
        for keys in (pictures, notes):
            with ThreadPoolExecutor(PICTURES_AT_ONCE, thread_name_prefix="copy") as pool:
                sizes = pool.map(self._transfer_picture, keys)
                for key, size in zip(
                    keys, track(sizes, total=len(keys), what="copying", unit="files"), strict=True
                ):
                    if isinstance(size, ArtifactDamagedError):
                        logger.warning("%s is left out: %s", key, size)
                        self.left_out[PurePosixPath(key)] = str(size)
                    else:
                        self._count(size)

    def _transfer_picture(self, key: str) -> int | ArtifactDamagedError:
        try:
            return self._transfer(key, _digest_in(key) or _sha256(_read(self.source, key)))
        except ArtifactDamagedError as error:
            return error

    def copy_version(self, version: PurePosixPath) -> None:
        """Copy a version of an asset, its lineage.json last; a damaged one is left out."""
        key = f"{version}/{LINEAGE_FILE}"
        record = _read(self.source, key)
        there = self.destination.get(key)
        if there is not None:
            self._require_same(key, there.data == record)
            return
        try:
            for name, file in _lineage_of(record, key).files.items():
                self._copy_file(f"{version}/{name}", file.sha256)
        except ArtifactDamagedError as error:
            logger.warning("%s is left out: %s", version, error)
            self.left_out[version] = str(error)
            return
        self._require_same(key, self.destination.create(key, record))
        self.versions += 1

    def _require_same(self, key: str, is_same: bool) -> None:
        if not is_same:
            raise WebcamMLError(
                f"{self.destination.address} has another {key} than {self.source.address}: it is no "
                "copy of this store. Name another destination"
            )

    def copy_model(self, entry: LedgerEntry) -> None:
        """Copy the files of a model that is or was live, where they are not as they should be."""
        for name in VERSION_FILES:
            key = key_of(f"{VERSIONS}/{entry.version}/{name}")
            there = self.destination.get(key)
            if there is None or _sha256(there.data) != entry.digests[name]:
                self._copy_file(key, entry.digests[name])

    def _copy_file(self, key: str, sha256: str) -> None:
        self._count(self._transfer(key, sha256))

    def _count(self, size: int) -> None:
        self.files += 1
        self.size += size

    def _transfer(self, key: str, sha256: str) -> int:
        """Bring a file over and read it back; give its bytes."""
        found = self.source.get(key)
        if found is None or _sha256(found.data) != sha256:
            what = "is gone" if found is None else f"has sha256 {_sha256(found.data)[:12]}…"
            raise ArtifactDamagedError(
                f"{key} in {self.source.address} is not what was stored: recorded is sha256 "
                f"{sha256[:12]}…, it {what}. Nothing was made of it. Materialize the asset again, or "
                "bring the file back from a backup"
            )
        self.destination.put(key, found.data)
        arrived = self.destination.get(key)
        if arrived is None or _sha256(arrived.data) != sha256:
            raise WebcamMLError(
                f"{key} did not arrive in {self.destination.address} as it was sent: try again, and "
                "look at the disk or the server"
            )
        return len(found.data)


def _lineage_of(record: bytes, key: str) -> Lineage:
    try:
        lineage = Lineage.from_json(record, source=key)
    except ValueError as error:
        raise ArtifactDamagedError(f"{key} cannot be read ({error})") from error
    if not lineage.has_consistent_version():
        raise ArtifactDamagedError(f"{key}: its data_version does not follow from its content")
    return lineage


def _known_models(destination: Bucket, history: History) -> frozenset[str]:
    """Name the models in the history of a destination, which must be a beginning of the source's."""
    found = {name: destination.get(key_of(name)) for name in history.files}
    there = {name: one.data for name, one in found.items() if one is not None}
    for name, data in there.items():
        follows(destination.address, key_of(name), history.files[name], data)
    lines = there.get(LEDGER_FILE, b"").count(b"\n")
    return frozenset(entry.version for entry in history.ledger.entries[:lines])


def _copy_history(history: History, destination: Bucket, names: Iterable[str]) -> None:
    """Let files of lines grow, and then the head, which names their ends."""
    for name in names:
        if name in history.files:
            key, data = key_of(name), history.files[name]
            advance(destination, key, data, partial(follows, destination.address, key, data))
    if history.ledger.entries:
        head = replace(history.ledger, interrupted=False).head_bytes()
        key = key_of(HEAD_FILE)
        advance(destination, key, head, partial(_names_no_later_end, Path(key), head))


def _names_no_later_end(path: Path, head: bytes, there: bytes) -> bool:
    """Whether a head is of a ledger that is no longer; one that cannot be read is replaced."""
    try:
        return Head.of(there, path).ledger.entries <= Head.of(head, path).ledger.entries
    except ValueError:
        return True


def _read(bucket: Bucket, key: str) -> bytes:
    found = bucket.get(key)
    if found is None:
        raise WebcamMLError(
            f"{key} has just gone from {bucket.address}: do not prune a store while it is copied. Copy "
            "it again"
        )
    return found.data


def _keys_of_assets(source: Bucket) -> list[PurePosixPath]:
    """List all but what lies beside the assets, which may be much."""
    folders = (name for name in source.folders() if name not in BESIDE_ASSETS)
    return [PurePosixPath(key) for name in folders for key in source.keys(name)]


def _is_lineage(key: PurePosixPath) -> bool:
    return (
        len(key.parts) == 3
        and key.name == LINEAGE_FILE
        and VERSION.fullmatch(key.parent.name) is not None
    )


def _digest_in(key: str) -> str | None:
    """Give the SHA-256 that a picture is named by; None of a note."""
    name = key.rpartition("/")[2]
    return name if DIGEST.fullmatch(name) else None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
