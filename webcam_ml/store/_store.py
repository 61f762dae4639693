"""Folders of files under one root, each written once and verified whenever it is read."""

import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Protocol, Self, TypeVar

from filelock import FileLock

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._atomic import flush_file, flush_folder, write_atomically
from webcam_ml.store._bucket import STORE_VARIABLE, require_no_credentials
from webcam_ml.store._lineage import LINEAGE_FILE, FileRecord, Lineage, Provenance, data_version
from webcam_ml.store._locks import LOCK_FILE

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "WEBCAM_ML_CACHE"
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
    """One version of one asset in the store."""

    asset: str
    version: str
    folder: Path
    lineage: Lineage

    @property
    def data_version(self) -> str:
        """The SHA-256 that names content and ancestry."""
        return self.lineage.data_version

    def verify(self) -> None:
        """Compare every file with the digest taken when it was written.

        Raises:
            ArtifactDamagedError: A file is missing or differs, or lineage.json was changed.
        """
        if not self.lineage.has_consistent_version():
            raise self._damaged(LINEAGE_FILE, "its data_version does not follow from its content")
        for name, record in self.lineage.files.items():
            path = self.folder / name
            try:
                with path.open("rb") as file:
                    found = file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                raise self._damaged(name, "the file is gone") from None
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
            f"{self.folder / name} is not what was stored: {what}. Nothing was loaded. Materialize "
            f"{self.asset} again: the same inputs give the same version, written afresh"
        )


def cache_from_env() -> Path:
    """Give the root of the project's caches: what WEBCAM_ML_CACHE names, else `cache`."""
    return Path(os.environ.get(CACHE_VARIABLE) or "cache").absolute()


class ArtifactStore:
    """Immutable versions of assets under one folder; safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_env(cls) -> Self:
        """Give the project's store: the folder that WEBCAM_ML_ARTIFACTS names, else `artifacts`.

        Raises:
            WebcamMLError: It names an object store.
        """
        address = os.environ.get(STORE_VARIABLE) or "artifacts"
        require_no_credentials(address)
        if "://" in address:
            raise WebcamMLError(
                f"{STORE_VARIABLE} is {address}. `webcam-ml copy-store` and `webcam-ml pull` read and "
                "write object stores; everything else needs a folder: webcam-ml copy-store FOLDER makes "
                "one of it"
            )
        return cls(Path(address).absolute())

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
                f"({STORE_VARIABLE} names it)"
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
            f"{self.root / asset} has no version {data_version[:12]}…, which the history names: the "
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
        path = self.root / asset / LATEST_FILE
        try:
            pointer = json.loads(path.read_bytes())
            return self.find(asset, str(pointer["data_version"]))
        except FileNotFoundError:
            raise ArtifactMissingError(
                f"{self.root} has no {asset} yet: materialize it first "
                f"(dagster asset materialize -m webcam_ml.definitions --select '*{asset}')"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactDamagedError(
                f"{path} cannot be read ({error}). Materialize {asset} again to write it afresh"
            ) from error

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
            return _read_version(asset, self.root / asset / version)
        older = f" and {len(versions) - 5} older" if len(versions) > 5 else ""
        raise ArtifactMissingError(
            f"{self.root / asset} has no version {version}. There are "
            + (f"{', '.join(versions[:5])}{older}" if versions else "none: materialize it first")
        )

    def damaged(self, asset: str) -> list[Path]:
        """List the folders of an asset that were found damaged and moved aside."""
        return sorted((self.root / asset).glob(f"*{DAMAGED}*"))

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
        existing = self._intact(asset, version_digest)
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
        final = unfinished.with_name(version)
        unfinished.rename(final)
        flush_folder(final.parent)
        return StoredArtifact(asset=asset, version=version, folder=final, lineage=lineage), True

    def _intact(self, asset: str, version_digest: str) -> StoredArtifact | None:
        """Find an undamaged folder of this version; a damaged one is moved aside, never removed."""
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
        pointer = {
            "version": stored.version,
            "data_version": stored.data_version,
            "created_at": stored.lineage.created_at,
        }
        write_atomically(
            self.root / stored.asset / LATEST_FILE, (json.dumps(pointer, indent=2) + "\n").encode()
        )

    def _remove_unfinished(self, folder: Path) -> None:
        for leftover in folder.glob(".unfinished-*"):
            logger.info("removing %s, left by a run that was killed while writing", leftover)
            shutil.rmtree(leftover, ignore_errors=True)


def _read_version(asset: str, folder: Path) -> StoredArtifact:
    try:
        lineage = Lineage.load(folder)
    except (OSError, ValueError) as error:
        raise ArtifactDamagedError(
            f"{folder / LINEAGE_FILE} cannot be read ({error}). Move {folder} away and "
            f"materialize {asset} again"
        ) from error
    return StoredArtifact(asset=asset, version=folder.name, folder=folder, lineage=lineage)


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _ancestors(inputs: Mapping[str, StoredArtifact]) -> dict[str, str]:
    ancestors: dict[str, str] = {}
    for stored in inputs.values():
        ancestors.update(stored.lineage.ancestors)
        ancestors[stored.asset] = stored.data_version
    return dict(sorted(ancestors.items()))
