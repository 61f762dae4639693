"""The production folder: how a model goes live in steps that each leave the old one or the new.

The order of a promotion:

1. The version's folder is written beside its place and renamed into it. Nothing refers to it yet.
2. A link to it is made under another name: the last step that needs room on the disk, except 3.
3. The ledger with its new line replaces the old one by a rename. *This is the decision.*
4. The prepared link replaces the live one by a rename: readers see the old model or the new.
5. ``ledger.head`` is replaced: the promotion is complete.
6. If both target types have a live model, `_both` lets the file with both heads follow.

Files of lines beside the ledger grow first, and then the head names their new end.

Of a store in a bucket the folder is the mirror's, brought up to date first. There is no lock between
machines: 3 swaps the ledger only as it was read, before the mirror changes. Whoever was overtaken reads
anew and decides anew. The version's files are in the bucket before; links are made in each mirror.

After a crash before 3 nothing has happened, and leftovers are removed by the next command. After a
crash after it the ledger is ahead of the link or of the head, and the next promotion or roll-back
completes what was decided before it does anything else. Recording first means that no model is ever
live without a line that says why.
"""

import hashlib
import logging
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from webcam_ml.contracts import TARGETS, TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import ExportedModel
from webcam_ml.judging import Judged
from webcam_ml.live._both import follow
from webcam_ml.live._chain import End, LedgerDamagedError, read_lines
from webcam_ml.live._layout import (
    BESIDE_LEDGER,
    ENVIRONMENT_FILE,
    HEAD_FILE,
    LEDGER_FILE,
    VERSION_FILES,
    VERSIONS,
    environment_file,
    link_target,
    live_link,
    production_folder,
    version_folder,
)
from webcam_ml.live._ledger import (
    LEDGER_SCHEMA,
    Action,
    AncestorRecord,
    Ledger,
    LedgerEntry,
)
from webcam_ml.live._shared import SharedHistory
from webcam_ml.store import (
    LOCK_FILE,
    ArtifactStore,
    StoredArtifact,
    flush_folder,
    share_file,
    write_atomically,
)

logger = logging.getLogger(__name__)


class OvertakenError(Exception):
    """Another machine changed the history since it was read: whoever meets it decides anew."""


class Production:
    """The production folder while this process alone may change it; see `change_production`."""

    def __init__(self, store: ArtifactStore, *, is_copy: bool = False) -> None:
        self.store = store
        # Links that are behind a promotion of elsewhere are no fault.
        self._level = logging.INFO if is_copy or store.remote is not None else logging.WARNING
        self.folder = production_folder(store)
        self._shared = None if store.remote is None else SharedHistory(store.remote, self.folder)
        if self._shared is not None:
            self._shared.refresh()
        self.ledger = Ledger.read(self.folder)

    def recover(self, links: Collection[TargetType]) -> None:
        """Complete what an interrupted promotion decided, and remove what one left behind."""
        self.lead_links(links)
        self._complete_head()
        if set(links) == set(TARGETS):
            follow(self.store, self.ledger, compared=False)

    def lead_links(self, links: Iterable[TargetType]) -> None:
        """Let links and scorer.env be those of what is live, and remove what was left behind."""
        for leftover in (
            *self.folder.glob(".*.tmp"),
            *self.folder.glob(f"{VERSIONS}/*/.*.tmp"),
            *self.folder.glob(f"{VERSIONS}/.unfinished-*"),
        ):
            logger.info("removing %s, left by a promotion that was interrupted", leftover)
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        for target_type in links:
            live, link = self.ledger.live(target_type), live_link(self.store, target_type)
            if live is None:
                if link.is_symlink():
                    raise LedgerDamagedError(
                        self.folder / LEDGER_FILE,
                        f"knows of no live {target_type} model, and {link} leads to one",
                    )
                continue
            self.fetch_version(live.version)
            if not (link.is_symlink() and str(link.readlink()) == link_target(live.version)):
                logger.log(
                    self._level,
                    "%s does not lead to %s, which the ledger says is live: it does now",
                    link,
                    live.version,
                )
                self._require_link_or_nothing(link)
                self._prepare_link(live).replace(link)
        for version, entry in self.ledger.first_entries().items():
            self._write_environment(version, entry.target_type)

    def fetch_version(self, version: str) -> None:
        """Bring the files of a version that is or was live into the mirror, where it lacks them."""
        if self._shared is not None:
            self._shared.fetch(version)

    def append(self, name: str, lines: Sequence[bytes]) -> None:
        """Write a file beside the ledger with the line that was added last, and name its end.

        Raises:
            OvertakenError: Another machine was faster; decide anew.
        """
        before = self.ledger.lines
        if self._write_lines(name, lines):
            self._write_head(self.ledger, {name: End.of(lines)})
        else:
            self._complete_head()
        if self.ledger.lines != before:
            raise OvertakenError

    def _write_lines(self, name: str, lines: Sequence[bytes]) -> bool:
        """Write them; false if they were there, and others have gone on from them and are read."""
        data = b"".join(line + b"\n" for line in lines)
        if self._shared is not None and not self._shared.write(name, data):
            self._shared.refresh()
            # The answer to the first try may have been lost.
            if lines[-1] not in read_lines(self.folder / name):
                raise OvertakenError
            self.ledger = Ledger.read(self.folder)
            return False
        write_atomically(self.folder / name, data)
        return True

    def _ends_that_grew(self) -> dict[str, End]:
        """Give the ends that the head does not name yet; of a file that lost lines it keeps the old."""
        ends: dict[str, End] = {}
        for name in BESIDE_LEDGER:
            lines = read_lines(self.folder / name)
            known = self.ledger.beside.get(name)
            if lines and End.of(lines) != known and (known is None or not known.fault_of(lines)):
                ends[name] = End.of(lines)
        return ends

    def _write_head(self, ledger: Ledger, ends: Mapping[str, End]) -> None:
        self.ledger = replace(ledger, beside={**ledger.beside, **ends})
        data = self.ledger.head_bytes()
        if self._shared is not None and not self._shared.write(HEAD_FILE, data):
            # Another machine was faster, and may have named these ends, too.
            self._shared.refresh()
            self.ledger = Ledger.read(self.folder)
            self._complete_head()
            return
        write_atomically(self.folder / HEAD_FILE, data)

    def _complete_head(self) -> None:
        grown = self._ends_that_grew()
        if self.ledger.interrupted or grown:
            self._write_head(replace(self.ledger, interrupted=False), grown)

    def add_version(self, stored: StoredArtifact) -> None:
        """Lay out the folder of a version that was never live: its stored files under a second name."""
        meta = stored.load(ExportedModel).meta
        version = meta.model_version
        final = version_folder(self.store, version)
        if final.exists():
            # Left by a promotion that was interrupted before it was recorded.
            shutil.rmtree(final)
        unfinished = final.with_name(f".unfinished-{uuid.uuid4().hex}")
        unfinished.mkdir(parents=True)
        files = stored.folder
        for name in VERSION_FILES:
            share_file(files / name, unfinished / name)
        environment = environment_file(self.store, meta.target_type, version)
        write_atomically(unfinished / ENVIRONMENT_FILE, environment)
        unfinished.rename(final)
        flush_folder(final.parent)
        if self._shared is not None:
            self._shared.add(version)

    def restore_version(self, entry: LedgerEntry) -> None:
        """Write damaged files of a version that was live again, from the store.

        Raises:
            WebcamMLError: The store does not have the files that were live.
        """
        folder = version_folder(self.store, entry.version)
        self.fetch_version(entry.version)
        damaged = [
            name
            for name in VERSION_FILES
            if not (folder / name).is_file() or sha256_of(folder / name) != entry.digests[name]
        ]
        if not damaged:
            self._restore_shared(entry)
            return
        stored = self.store.find("onnx_model", entry.lineage["onnx_model"].data_version)
        folder.mkdir(parents=True, exist_ok=True)
        files = stored.folder
        for name in damaged:
            copy = files / name
            if not copy.is_file() or sha256_of(copy) != entry.digests[name]:
                raise WebcamMLError(
                    f"{folder / name} is damaged, and {copy} is not what was live either, for the "
                    "two are one file under two names unless somebody copied one. Bring it back "
                    "from a backup, or let another version be live "
                    "(`webcam-ml rollback --to VERSION`)"
                )
            logger.warning("%s was damaged: written again from the store", folder / name)
            share_file(copy, folder / name)
        self._write_environment(entry.version, entry.target_type)
        self._restore_shared(entry)

    def _restore_shared(self, entry: LedgerEntry) -> None:
        if self._shared is not None:
            self._shared.restore(entry.version, entry.digests)

    def commit(
        self,
        action: Action,
        target_type: TargetType,
        version: str,
        *,
        digests: Mapping[str, str],
        lineage: Mapping[str, AncestorRecord],
        verdicts: Mapping[str, Judged],
        candidates_judged: int | None,
        reason: str | None,
        run_id: str | None,
        relaxed: str | None = None,
        lost: Sequence[str] = (),
    ) -> LedgerEntry:
        """Record a decision and make the version live; its folder must be there.

        Raises:
            OvertakenError: Another machine was faster; decide anew.
        """
        live = self.ledger.live(target_type)
        entry = LedgerEntry(
            sequence=len(self.ledger.entries) + 1,
            previous=self.ledger.last_digest,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            action=action,
            target_type=target_type,
            version=version,
            replaces=None if live is None else live.version,
            digests=dict(digests),
            lineage=dict(lineage),
            verdicts=dict(verdicts),
            candidates_judged_on_test_split=candidates_judged,
            reason=reason,
            run_id=run_id,
            schema_version=LEDGER_SCHEMA,
            relaxed=relaxed,
            lost=tuple(lost),
        )
        link = live_link(self.store, target_type)
        self._require_link_or_nothing(link)
        prepared = self._prepare_link(entry)
        ledger = self.ledger.with_entry(entry)
        if not self._write_lines(LEDGER_FILE, ledger.lines):
            self.recover(TARGETS)
            return entry
        self.ledger = ledger
        prepared.replace(link)
        # Writing the head flushes the folder too, and with it the link.
        self._write_head(ledger, {})
        self.follow_both()
        return entry

    def follow_both(self) -> None:
        """Let the file with both heads have those that are live now, and be as it should."""
        follow(self.store, self.ledger, compared=True)

    def _prepare_link(self, entry: LedgerEntry) -> Path:
        prepared = self.folder / f".{entry.target_type}.{uuid.uuid4().hex}.tmp"
        prepared.symlink_to(link_target(entry.version))
        return prepared

    def _require_link_or_nothing(self, link: Path) -> None:
        if link.exists() and not link.is_symlink():
            raise WebcamMLError(
                f"{link} should be a symbolic link into {VERSIONS}/, and is a file or folder that "
                "somebody put there. Move it away"
            )

    def _write_environment(self, version: str, target_type: TargetType) -> None:
        """Let scorer.env name where the store is now: it may have been moved."""
        path = version_folder(self.store, version) / ENVIRONMENT_FILE
        content = environment_file(self.store, target_type, version)
        if path.parent.is_dir() and not (path.is_file() and path.read_bytes() == content):
            write_atomically(path, content)


Result = TypeVar("Result")


def change_production(store: ArtifactStore, change: Callable[[Production], Result]) -> Result:
    """Decide and change with the production folder locked; again, if another machine was faster.

    Args:
        store: The store.
        change: What to do. It may be called more than once, each time with what is there then.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
        WebcamMLError: The folder, or the bucket, cannot be written.
    """
    while True:
        with changing_production(store) as production:
            try:
                return change(production)
            except OvertakenError:
                logger.info("another machine was faster: what it did is read, and all judged again")


@contextmanager
def changing_production(
    store: ArtifactStore,
    *,
    links: Collection[TargetType] = tuple(TARGETS),
    is_copy: bool = False,
) -> Iterator[Production]:
    """Lock the production folder of a store, and first complete what was interrupted.

    Args:
        store: The store.
        links: The target types whose links should lead to what is live; if these are all, that to the
            file with both heads should, too.
        is_copy: What is live was decided in another store.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
        WebcamMLError: The folder cannot be written.
    """
    store.require_conditions()
    with _locked(store, is_copy=is_copy) as production:
        production.recover(links)
        yield production


def current_ledger(store: ArtifactStore) -> Ledger:
    """Read the history; of a store in a bucket, let its mirror have what is live, and links to it.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
        WebcamMLError: The bucket cannot be read, or its mirror not be written.
    """
    if store.remote is None:
        return Ledger.read(production_folder(store))
    with _locked(store) as production:
        production.lead_links(TARGETS)
        follow(store, production.ledger, compared=False)
        return production.ledger


def fetch_version(store: ArtifactStore, entry: LedgerEntry) -> None:
    """Bring the files of a version that is or was live into the mirror of a bucket."""
    if store.remote is not None:
        folder = production_folder(store)
        # Whoever has the lock removes what looks left behind.
        with FileLock(folder / LOCK_FILE):
            SharedHistory(store.remote, folder).fetch(entry.version, entry.digests)


@contextmanager
def _locked(store: ArtifactStore, *, is_copy: bool = False) -> Iterator[Production]:
    folder = production_folder(store)
    try:
        (folder / VERSIONS).mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_FILE):
            yield Production(store, is_copy=is_copy)
    except OSError as error:
        raise WebcamMLError(
            f"{folder} cannot be written: {error}. What is live is the old model or the new one, "
            "whole (`webcam-ml history` says which). Free some space or make the folder writable "
            f"({store.folder_variable} names the store), and do the same again"
        ) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
