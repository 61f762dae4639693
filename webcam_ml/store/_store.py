"""Folders of files under one root, each written once and verified whenever it is read."""

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Protocol, Self, TypeVar

from filelock import FileLock

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._atomic import flush_file, flush_folder, write_atomically
from webcam_ml.store._bucket import STORE_VARIABLE, Bucket, open_bucket, require_plain_address
from webcam_ml.store._lineage import LINEAGE_FILE, FileRecord, Lineage, Provenance, data_version
from webcam_ml.store._locks import LOCK_FILE

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "WEBCAM_ML_CACHE"
MIRROR_VARIABLE = "WEBCAM_ML_MIRROR"
LATEST_FILE = "latest.json"
DAMAGED = ".damaged-"
VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


class Artifact(Protocol):
    """A value that can be kept: it writes its files into an empty folder and reads them back."""

    def save(self, folder: Path) -> None:
        """Write the files into an existing, empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the value back from such a folder."""
        ...


ArtifactT = TypeVar("ArtifactT", bound=Artifact)


class ArtifactMissingError(WebcamMLError):
    """The store has no such artifact."""


class ArtifactDamagedError(WebcamMLError):
    """A stored file is not what was written."""


@dataclass(frozen=True)
class StoredArtifact:
    """One version of one asset in the store.

    Attributes:
        asset: Name of the asset.
        version: Name of the version.
        place: Its folder; of a store in a bucket, that in the mirror, which may lack files.
        lineage: What it was made from.
        remote: The bucket that has what the mirror lacks; None if the store is a folder.
    """

    asset: str
    version: str
    place: Path
    lineage: Lineage
    remote: Bucket | None = field(default=None, compare=False, repr=False)

    @property
    def data_version(self) -> str:
        """The SHA-256 that names content and ancestry."""
        return self.lineage.data_version

    @property
    def address(self) -> str:
        """Where it is, as a user names it."""
        if self.remote is None:
            return str(self.place)
        return f"{self.remote.address}/{self.asset}/{self.version}"

    @property
    def folder(self) -> Path:
        """The folder with all of its files, brought from the bucket if need be; not yet verified."""
        return self.folder_with(*self.lineage.files)

    def folder_with(self, *names: str) -> Path:
        """Give the folder with at least these of its files, where they are only to be read.

        Raises:
            WebcamMLError: The bucket cannot be read. A file that it lacks is missing here, too.
        """
        for name in names:
            if self.remote is not None and not (self.place / name).is_file():
                self._fetch(name, self.remote)
        return self.place

    def _fetch(self, name: str, remote: Bucket) -> None:
        found = remote.get(f"{self.asset}/{self.version}/{name}")
        if found is not None:
            mirror(self.place / name, found.data)

    def verify(self) -> None:
        """Compare every file with the digest taken when it was written.

        Raises:
            ArtifactDamagedError: A file is missing or differs, or lineage.json was changed.
        """
        if not self.lineage.has_consistent_version():
            raise self._damaged(LINEAGE_FILE, "its data_version does not follow from its content")
        folder = self.folder
        for name, record in self.lineage.files.items():
            path = folder / name
            found = _digest(path)
            if found != record.sha256 and self.remote is not None:
                self._fetch(name, self.remote)
                found = _digest(path)
            if found is None:
                raise self._damaged(name, "the file is gone")
            if found != record.sha256:
                raise self._damaged(
                    name,
                    f"expected sha256 {record.sha256[:12]}… ({record.size} bytes), "
                    f"found {found[:12]}… ({path.stat().st_size} bytes)",
                )

    def load(self, artifact_type: type[ArtifactT]) -> ArtifactT:
        """Verify the files and read the value.

        Raises:
            ArtifactDamagedError: A stored file is not what was written.
        """
        self.verify()
        return artifact_type.load(self.folder)

    def _damaged(self, name: str, what: str) -> ArtifactDamagedError:
        return ArtifactDamagedError(
            f"{self.address}/{name} is not what was stored: {what}. Nothing was loaded. Materialize "
            f"{self.asset} again: the same inputs give the same version, written afresh"
        )


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def mirror(path: Path, data: bytes) -> None:
    """Write a file of the mirror of a bucket, unless it is there as it should be.

    Raises:
        WebcamMLError: The mirror cannot be written.
    """
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise WebcamMLError(
            f"{path} cannot be written: {error}. It is a copy of what a bucket has, so nothing is lost: "
            f"free some space, or let {MIRROR_VARIABLE} name another folder"
        ) from error


def cache_from_env() -> Path:
    """Give the root of the project's caches: what WEBCAM_ML_CACHE names, else `cache`."""
    return Path(os.environ.get(CACHE_VARIABLE) or "cache").absolute()


class ArtifactStore:
    """Immutable versions of assets under one folder; safe for several processes at once.

    Attributes:
        root: The folder; of a store in a bucket, its mirror on this machine.
        remote: The bucket; None if the store is a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remote: Bucket | None = None

    @staticmethod
    def at(address: str) -> "ArtifactStore":
        """Give the store that an address names.

        Args:
            address: A folder, or `s3://bucket/prefix` (`gs://…`, `az://…`); a bucket has a mirror on
                this machine, in the folder that WEBCAM_ML_MIRROR names, else in the cache.

        Raises:
            WebcamMLError: It is neither, or names credentials; or the extra `s3` is not installed.
        """
        require_plain_address(address)
        if "://" not in address:
            return ArtifactStore(Path(address).absolute())
        from webcam_ml.store._bucket_store import BucketStore

        mirrors = os.environ.get(MIRROR_VARIABLE) or cache_from_env() / "mirror"
        bucket = open_bucket(address)
        return BucketStore(bucket, Path(mirrors).absolute() / bucket.address.replace("://", "/"))

    @staticmethod
    def from_env() -> "ArtifactStore":
        """Give the project's store: what WEBCAM_ML_ARTIFACTS names, else the folder `artifacts`.

        Raises:
            WebcamMLError: As `at`.
        """
        return ArtifactStore.at(os.environ.get(STORE_VARIABLE) or "artifacts")

    @property
    def address(self) -> str:
        """Where the store is, as a user names it."""
        return str(self.root)

    @property
    def folder_variable(self) -> str:
        """The variable that names the folder of this machine."""
        return STORE_VARIABLE

    def shown(self, path: Path) -> str:
        """Name a file or folder below the root as a user finds it."""
        return str(path)

    def exists(self) -> bool:
        """Whether anything was ever stored there."""
        return self.root.is_dir()

    def require_conditions(self) -> None:
        """Refuse a bucket that cannot hold a store; a folder says so when it is written.

        Raises:
            WebcamMLError: It cannot be written, or has no conditional writes.
        """

    def write(
        self,
        asset: str,
        artifact: Artifact,
        *,
        inputs: Mapping[str, StoredArtifact],
        provenance: Provenance,
    ) -> tuple[StoredArtifact, bool]:
        """Store a value as a new version, or find that this version is there already.

        Everything is written to a folder beside the final one and appears by a rename. Writers of
        the same asset take turns, so a killed process left any unfinished folder that is found.

        Args:
            asset: Name of the asset; its folder under the root.
            artifact: The value.
            inputs: What it was made from, by asset name.
            provenance: Facts for lineage.json that do not enter the version.

        Returns:
            The stored version and whether it is new.

        Raises:
            WebcamMLError: The store cannot be written.
        """
        folder = self.root / asset
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / LOCK_FILE):
                self._remove_unfinished(folder)
                unfinished = folder / f".unfinished-{uuid.uuid4().hex}"
                unfinished.mkdir()
                try:
                    stored, is_new = self._write_into(
                        unfinished, asset, artifact, inputs, provenance
                    )
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
                self._point_latest(stored)
        except OSError as error:
            raise WebcamMLError(
                f"could not store {asset} in {folder}: {error}. Nothing that was stored before is "
                "touched. Free some space or make the folder writable "
                f"({self.folder_variable} names it)"
            ) from error
        return stored, is_new

    def find(self, asset: str, data_version: str) -> StoredArtifact:
        """Look up the version of an asset with this data_version.

        Raises:
            ArtifactMissingError: It is not in the store.
        """
        stored = self._look_up(asset, data_version)
        if stored is not None:
            return stored
        raise ArtifactMissingError(
            f"{self.address}/{asset} has no version {data_version[:12]}…, which the history names: the "
            f"folder was deleted, or {STORE_VARIABLE} points elsewhere. Materialize {asset} again"
        )

    def has(self, asset: str, data_version: str | None) -> bool:
        """Whether the version of an asset with this data_version is in the store."""
        return data_version is not None and self._look_up(asset, data_version) is not None

    def _look_up(self, asset: str, data_version: str) -> StoredArtifact | None:
        for stored in self._versions(asset, suffix=data_version[:12]):
            if stored.data_version == data_version:
                return stored
        return None

    def latest(self, asset: str) -> StoredArtifact:
        """Look up what latest.json of an asset points to.

        Raises:
            ArtifactMissingError: The asset was never stored.
            ArtifactDamagedError: latest.json cannot be read.
        """
        data = self._pointer(asset)
        if data is None:
            raise ArtifactMissingError(
                f"{self.address} has no {asset} yet: materialize it first "
                f"(dagster asset materialize -m webcam_ml.definitions --select '*{asset}')"
            )
        try:
            pointer = json.loads(data)
            return self.find(asset, str(pointer["data_version"]))
        except (ValueError, KeyError, TypeError) as error:
            path = f"{self.address}/{asset}/{LATEST_FILE}"
            raise ArtifactDamagedError(
                f"{path} cannot be read ({error}). Materialize {asset} again to write it afresh"
            ) from error

    def assets(self) -> list[str]:
        """Name every folder that the store has beside hidden ones."""
        return sorted(
            path.name
            for path in self.root.glob("*")
            if path.is_dir() and not path.name.startswith(".")
        )

    def versions(self, asset: str) -> list[str]:
        """List the names of an asset's versions, the newest first."""
        folders = (self.root / asset).glob("*/" + LINEAGE_FILE)
        names = (path.parent.name for path in folders)
        return sorted((name for name in names if VERSION.fullmatch(name)), reverse=True)

    def named(self, asset: str, version: str) -> StoredArtifact:
        """Look up a version of an asset by its name.

        Raises:
            ArtifactMissingError: There is none of that name.
            ArtifactDamagedError: Its lineage.json cannot be read.
        """
        versions = self.versions(asset)
        if version in versions:
            return self.read_version(asset, version)
        older = f" and {len(versions) - 5} older" if len(versions) > 5 else ""
        raise ArtifactMissingError(
            f"{self.address}/{asset} has no version {version}. There are "
            + (f"{', '.join(versions[:5])}{older}" if versions else "none: materialize it first")
        )

    def read_version(self, asset: str, version: str) -> StoredArtifact:
        """Read the lineage of a version that `versions` lists.

        Raises:
            ArtifactDamagedError: Its lineage.json cannot be read.
        """
        return _read_version(asset, self.root / asset / version)

    def folder_of(self, asset: str, version: str) -> Path:
        """Give the folder of a version with all that it has; nothing of it is verified."""
        return self.root / asset / version

    def files_of(self, asset: str, name: str) -> Iterator[Path]:
        """Yield where a file is, of every version that has it: nothing of it is verified."""
        for path in sorted((self.root / asset).glob(f"*/{name}")):
            if not path.parent.name.startswith(".") and DAMAGED not in path.parent.name:
                yield path

    def damaged(self, asset: str) -> list[Path]:
        """List the folders of an asset that were found damaged and moved aside."""
        return sorted((self.root / asset).glob(f"*{DAMAGED}*"))

    def size_of(self, folder: Path) -> int:
        """Give the bytes of a version's files, or of a damaged one's."""
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def remove(self, folder: Path) -> bool:
        """Remove a version, or a damaged one: hidden by a rename first, so never half of it is there.

        Returns:
            False if the permissions do not let it.
        """
        with FileLock(folder.parent / LOCK_FILE):
            hidden = folder.parent / f".unfinished-{uuid.uuid4().hex}"
            try:
                folder.rename(hidden)
                shutil.rmtree(hidden)
            except PermissionError:
                return False
        return not folder.exists()

    def _pointer(self, asset: str) -> bytes | None:
        """Read latest.json of an asset; None if there is none."""
        try:
            return (self.root / asset / LATEST_FILE).read_bytes()
        except FileNotFoundError:
            return None

    def _versions(self, asset: str, *, suffix: str) -> Iterator[StoredArtifact]:
        folder = self.root / asset
        for path in sorted(folder.glob(f"*-{suffix}"), reverse=True):
            yield _read_version(asset, path)

    def _write_into(
        self,
        unfinished: Path,
        asset: str,
        artifact: Artifact,
        inputs: Mapping[str, StoredArtifact],
        provenance: Provenance,
    ) -> tuple[StoredArtifact, bool]:
        artifact.save(unfinished)
        files = {path.name: _record(path) for path in sorted(unfinished.iterdir())}
        input_versions = {name: inputs[name].data_version for name in sorted(inputs)}
        version_digest = data_version(files, input_versions)
        existing = self._intact(asset, version_digest, unfinished)
        if existing is not None:
            return existing, False
        now = datetime.now(UTC)
        lineage = Lineage(
            asset=asset,
            data_version=version_digest,
            files=files,
            inputs=input_versions,
            ancestors=_ancestors(inputs),
            run_id=provenance.run_id,
            config=provenance.config,
            code_version=provenance.code_version,
            libraries=provenance.libraries,
            created_at=now.isoformat(timespec="microseconds"),
            database=provenance.database,
            measurements=provenance.measurements,
        )
        (unfinished / LINEAGE_FILE).write_bytes(lineage.to_json())
        for path in unfinished.iterdir():
            flush_file(path)
        flush_folder(unfinished)
        version = f"{now:%Y%m%dT%H%M%SZ}-{version_digest[:12]}"
        return self._publish(unfinished, version, lineage)

    def _publish(
        self, unfinished: Path, version: str, lineage: Lineage
    ) -> tuple[StoredArtifact, bool]:
        """Let a version that is written appear; false if another writer's is there."""
        final = unfinished.with_name(version)
        unfinished.rename(final)
        flush_folder(final.parent)
        return StoredArtifact(lineage.asset, version, final, lineage), True

    def _intact(self, asset: str, version_digest: str, unfinished: Path) -> StoredArtifact | None:
        """Find an undamaged version; a damaged one is moved aside, never removed.

        Args:
            asset: Name of the asset.
            version_digest: Its data_version.
            unfinished: A folder with the files that it should have.
        """
        try:
            stored = self.find(asset, version_digest)
            stored.verify()
        except ArtifactMissingError:
            return None
        except ArtifactDamagedError as error:
            for path in sorted((self.root / asset).glob(f"*-{version_digest[:12]}")):
                aside = path.with_name(f"{path.name}{DAMAGED}{uuid.uuid4().hex[:8]}")
                path.rename(aside)
                logger.warning("%s Moved to %s.", error, aside)
            return None
        return stored

    def _point_latest(self, stored: StoredArtifact) -> None:
        write_atomically(self.root / stored.asset / LATEST_FILE, pointer_to(stored))

    def _remove_unfinished(self, folder: Path) -> None:
        for leftover in folder.glob(".unfinished-*"):
            logger.info("removing %s, left by a run that was killed while writing", leftover)
            shutil.rmtree(leftover, ignore_errors=True)


def pointer_to(stored: StoredArtifact) -> bytes:
    """Give what latest.json says of a version."""
    pointer = {
        "version": stored.version,
        "data_version": stored.data_version,
        "created_at": stored.lineage.created_at,
    }
    return (json.dumps(pointer, indent=2) + "\n").encode()


def _read_version(asset: str, folder: Path) -> StoredArtifact:
    try:
        lineage = Lineage.load(folder)
    except (OSError, ValueError) as error:
        raise ArtifactDamagedError(
            f"{folder / LINEAGE_FILE} cannot be read ({error}). Move {folder} away and "
            f"materialize {asset} again"
        ) from error
    return StoredArtifact(asset, folder.name, folder, lineage)


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _ancestors(inputs: Mapping[str, StoredArtifact]) -> dict[str, str]:
    ancestors: dict[str, str] = {}
    for stored in inputs.values():
        ancestors.update(stored.lineage.ancestors)
        ancestors[stored.asset] = stored.data_version
    return dict(sorted(ancestors.items()))
