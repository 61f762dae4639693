"""A store in a bucket: its versions are there, and a mirror on this machine has what was used of them.

A version is in the store from its lineage.json on, which is created last and only if there is none.
Who writes a version first agrees with all others on its name, by a key that is created once: so what
several machines make at once is one version. The mirror is a cache: what it lacks is fetched, what is
not as it should be is fetched again, and it may be deleted while nothing runs.
"""

import hashlib
import logging
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from webcam_ml.store._bucket import Bucket, advance
from webcam_ml.store._lineage import LINEAGE_FILE, Lineage
from webcam_ml.store._store import (
    DAMAGED,
    LATEST_FILE,
    MIRROR_VARIABLE,
    VERSION,
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    StoredArtifact,
    mirror,
    pointer_to,
)

logger = logging.getLogger(__name__)

# Below an asset: data_version → the name that its version has, or is to have.
NAMES = "names"


class BucketStore(ArtifactStore):
    """Immutable versions of assets in a bucket; safe for several machines at once.

    Args:
        remote: The bucket.
        root: Its mirror; processes of one machine may share it.
    """

    def __init__(self, remote: Bucket, root: Path) -> None:
        super().__init__(root)
        self.remote: Bucket = remote
        self._is_usable = False

    @property
    def address(self) -> str:
        """Where the store is, as a user names it."""
        return self.remote.address

    @property
    def folder_variable(self) -> str:
        """The variable that names the folder of this machine."""
        return MIRROR_VARIABLE

    def shown(self, path: Path) -> str:
        """Name what the mirror has, or could have, as it is in the bucket."""
        return f"{self.address}/{path.relative_to(self.root).as_posix()}"

    def exists(self) -> bool:
        """Whether anything was ever stored there."""
        return self.remote.folders() != []

    def require_conditions(self) -> None:
        """Refuse a bucket that cannot hold a store, once.

        Raises:
            WebcamMLError: It cannot be written, or has no conditional writes.
        """
        if not self._is_usable:
            self.remote.require_conditions()
            self._is_usable = True

    def assets(self) -> list[str]:
        """Name every folder that the bucket has."""
        return self.remote.folders()

    def versions(self, asset: str) -> list[str]:
        """List the names of an asset's versions, the newest first."""
        return sorted(
            filter(VERSION.fullmatch, self._folders_with(asset, LINEAGE_FILE)), reverse=True
        )

    def read_version(self, asset: str, version: str) -> StoredArtifact:
        """Read the lineage of a version that `versions` lists.

        Raises:
            ArtifactDamagedError: Its lineage.json cannot be read.
        """
        if not (self.root / asset / version / LINEAGE_FILE).is_file():
            self._fetch(asset, version, LINEAGE_FILE)
        try:
            stored = super().read_version(asset, version)
        except ArtifactDamagedError:
            self._fetch(asset, version, LINEAGE_FILE)
            stored = super().read_version(asset, version)
        return replace(stored, remote=self.remote)

    def folder_of(self, asset: str, version: str) -> Path:
        """Give the folder of a version with all that it has; nothing of it is verified."""
        for key in self.remote.keys(f"{asset}/{version}"):
            self._fetch(asset, version, key.rpartition("/")[2])
        return self.root / asset / version

    def files_of(self, asset: str, name: str) -> Iterator[Path]:
        """Yield where a file is, of every version that has it: nothing of it is verified."""
        for version in sorted(self._folders_with(asset, name)):
            path = self.root / asset / version / name
            if VERSION.fullmatch(version) and (
                path.is_file() or self._fetch(asset, version, name) is not None
            ):
                yield path

    def damaged(self, asset: str) -> list[Path]:
        """List what was moved aside, and what a writer left unfinished, as if it were in the mirror."""
        parts = [key.split("/") for key in self.remote.keys(asset)]
        found = {part[1] for part in parts if len(part) == 3}
        whole = {part[1] for part in parts if part[2:] == [LINEAGE_FILE]}
        return sorted(
            self.root / asset / name
            for name in found
            if DAMAGED in name or (VERSION.fullmatch(name) and name not in whole)
        )

    def size_of(self, folder: Path) -> int:
        """Give the bytes of a version's files, by its lineage; 0 of one that has none to read."""
        if not self._is_of_bucket(folder):
            return super().size_of(folder)
        try:
            lineage = self.read_version(folder.parent.name, folder.name).lineage
        except ArtifactDamagedError:
            return 0
        files = sum(record.size for record in lineage.files.values())
        return files + (folder / LINEAGE_FILE).stat().st_size

    def remove(self, folder: Path) -> bool:
        """Remove a version, or a damaged one; from its first step on it is not listed."""
        if not self._is_of_bucket(folder):
            return super().remove(folder)
        asset, version = folder.parent.name, folder.name
        self.remote.delete(f"{asset}/{version}/{LINEAGE_FILE}")
        for key in self.remote.keys(f"{asset}/{version}"):
            self.remote.delete(key)
        for key in self.remote.keys(f"{asset}/{NAMES}"):
            if version.endswith(f"-{key.rpartition('/')[2][:12]}"):
                self.remote.delete(key)
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def _is_of_bucket(self, folder: Path) -> bool:
        """Whether a folder is an asset's; one with both heads each mirror makes by itself."""
        return folder.parent.parent == self.root

    def _folders_with(self, asset: str, name: str) -> set[str]:
        parts = (key.split("/") for key in self.remote.keys(asset))
        return {part[1] for part in parts if len(part) == 3 and part[2] == name}

    def _fetch(self, asset: str, version: str, name: str) -> bytes | None:
        """Bring a file into the mirror; None if the bucket lacks it."""
        found = self.remote.get(f"{asset}/{version}/{name}")
        if found is None:
            return None
        mirror(self.root / asset / version / name, found.data)
        return found.data

    def _look_up(self, asset: str, data_version: str) -> StoredArtifact | None:
        ending = f"-{data_version[:12]}"
        mirrored = [path.name for path in (self.root / asset).glob(f"*{ending}")]
        # One key tells whether the bucket still has what the mirror has; else it has to be listed.
        there = [
            name
            for name in mirrored
            if VERSION.fullmatch(name) and self._fetch(asset, name, LINEAGE_FILE) is not None
        ]
        for version in there or self.versions(asset):
            if version.endswith(ending):
                stored = self.read_version(asset, version)
                if stored.data_version == data_version:
                    return stored
        return None

    def _pointer(self, asset: str) -> bytes | None:
        found = self.remote.get(f"{asset}/{LATEST_FILE}")
        return None if found is None else found.data

    def _point_latest(self, stored: StoredArtifact) -> None:
        advance(self.remote, f"{stored.asset}/{LATEST_FILE}", pointer_to(stored), lambda _: True)

    def _intact(self, asset: str, version_digest: str, unfinished: Path) -> StoredArtifact | None:
        self.require_conditions()
        try:
            stored = self.find(asset, version_digest)
            if not stored.lineage.has_consistent_version():
                raise ArtifactDamagedError(
                    f"{stored.address}/{LINEAGE_FILE}: its data_version does not follow from its content."
                )
        except ArtifactMissingError:
            return None
        except ArtifactDamagedError as error:
            for version in self.versions(asset):
                if version.endswith(f"-{version_digest[:12]}"):
                    logger.warning("%s Moved to %s.", error, self._set_aside(asset, version))
            return None
        for name, record in stored.lineage.files.items():
            key = f"{asset}/{stored.version}/{name}"
            found = self.remote.get(key)
            if found is None or hashlib.sha256(found.data).hexdigest() != record.sha256:
                logger.warning("%s/%s is not what was stored: written afresh", self.address, key)
                self.remote.put(key, (unfinished / name).read_bytes())
        return stored

    def _set_aside(self, asset: str, version: str) -> str:
        """Keep a lineage.json that cannot be read under another name; its version is none any more."""
        key = f"{asset}/{version}/{LINEAGE_FILE}"
        aside = f"{asset}/{version}{DAMAGED}{uuid.uuid4().hex[:8]}"
        found = self.remote.get(key)
        if found is not None:
            self.remote.put(f"{aside}/{LINEAGE_FILE}", found.data)
            self.remote.delete(key)
        shutil.rmtree(self.root / asset / version, ignore_errors=True)
        return f"{self.address}/{aside}"

    def _publish(
        self, unfinished: Path, version: str, lineage: Lineage
    ) -> tuple[StoredArtifact, bool]:
        asset = lineage.asset
        name = f"{asset}/{NAMES}/{lineage.data_version}"
        if not self.remote.create(name, version.encode()):
            agreed = self.remote.get(name)
            if agreed is not None and VERSION.fullmatch(agreed.data.decode(errors="replace")):
                version = agreed.data.decode()
        for file in lineage.files:
            self.remote.put(f"{asset}/{version}/{file}", (unfinished / file).read_bytes())
        is_new = self.remote.create(f"{asset}/{version}/{LINEAGE_FILE}", lineage.to_json())
        final = unfinished.with_name(version)
        # In the mirror a version may be there that was removed from the bucket.
        shutil.rmtree(final, ignore_errors=True)
        unfinished.rename(final)
        if not is_new:
            self._fetch(asset, version, LINEAGE_FILE)
        return self.read_version(asset, version), is_new
