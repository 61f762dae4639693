"""`production/both`: one file with the heads of both live models, composed of their two files.

Nothing is decided here. Each head went live, or was rolled back, by its own evidence and its own line
of the ledger; which two a file may have follows from the ledger, and its bytes follow from theirs. So it
needs no line of its own, can be made again at any time, and `webcam-ml verify` compares it with what it
would be.
"""

import hashlib
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from webcam_ml.contracts import TARGETS, TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import MODEL_FILE, ModelFiles, join_heads
from webcam_ml.live._layout import (
    BOTH,
    ENVIRONMENT_FILE,
    VERSION_FILES,
    VERSIONS,
    environment_file,
    link_target,
    live_link,
    production_folder,
    version_folder,
)
from webcam_ml.live._ledger import Ledger
from webcam_ml.live._shared import SharedHistory
from webcam_ml.scoring import OnnxModel
from webcam_ml.store import ArtifactStore, flush_folder, write_atomically

logger = logging.getLogger(__name__)

Versions = Mapping[TargetType, str]

# Of the pictures on which the file has to give the very scores of its heads' own files.
PROOF_PICTURES, PROOF_SIZES = 8, ((90, 160), (37, 41))


@dataclass(frozen=True)
class BothHeads:
    """The file that should have both heads, and why it does not have those that are live.

    Attributes:
        versions: The model of each head; None if there is no such file.
        files: The two files as they should be; None if they are there already and were not compared.
        because: Why these are not the models that are live; None if they are.
    """

    versions: Versions | None
    files: ModelFiles | None
    because: str | None


def folder_name(versions: Versions) -> str:
    """Name the folder of a file with these heads."""
    return "+".join(versions[target_type] for target_type in TARGETS)


def wanted(store: ArtifactStore, ledger: Ledger, *, compared: bool = True) -> BothHeads | None:
    """Find out which two models a file with both heads should have.

    These are the models that are live, if they share a backbone. If not, the last two that were live
    together and do, none of which was rolled back: while only one of two new models is live, an
    application goes on with the old pair.

    Args:
        store: Where the live models are.
        ledger: What is live.
        compared: Make the files also if the link leads to such a pair already.

    Returns:
        None while a target type has no live model.
    """
    because = None
    rolled_back = {name: ledger.withdrawn(name) for name in TARGETS}
    for versions in _pairs(ledger):
        if any(version in rolled_back[name] for name, version in versions.items()):
            continue
        linked = _link_leads_to(store, versions)
        if linked and not compared:
            return BothHeads(versions, None, because)
        try:
            return BothHeads(versions, _joined(store, ledger, versions), because)
        except (OSError, WebcamMLError) as error:
            because = because or str(error)
            if linked:  # it is whole, whatever became of the files that it was made of
                return BothHeads(versions, None, because)
    return None if because is None else BothHeads(None, None, because)


def _pairs(ledger: Ledger) -> Iterator[Versions]:
    """Give the pairs that were live together, the newest first."""
    seen: list[Versions] = []
    for count in range(len(ledger.entries), 0, -1):
        then = replace(ledger, entries=ledger.entries[:count])
        live = {target_type: then.live(target_type) for target_type in TARGETS}
        pair = {name: entry.version for name, entry in live.items() if entry is not None}
        if len(pair) == len(TARGETS) and pair not in seen:
            seen.append(pair)
            yield pair


def _joined(store: ArtifactStore, ledger: Ledger, versions: Versions) -> ModelFiles:
    introduced = ledger.first_entries()
    models = []
    for version in versions.values():
        folder = version_folder(store, version)
        if store.remote is not None:
            shared = SharedHistory(store.remote, production_folder(store))
            shared.fetch(version, introduced[version].digests)
        for name in VERSION_FILES:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            if found != introduced[version].digests[name]:
                raise WebcamMLError(f"{folder / name} is not what went live (webcam-ml verify)")
        models.append(ModelFiles.load(folder))
    return join_heads(models)


def _link_leads_to(store: ArtifactStore, versions: Versions) -> bool:
    link = live_link(store, BOTH)
    return (
        link.is_symlink()
        and str(link.readlink()) == link_target(folder_name(versions))
        and all((link / name).is_file() for name in VERSION_FILES)
    )


def follow(store: ArtifactStore, ledger: Ledger, *, compared: bool) -> None:
    """Let production/both lead to what `wanted` says; whoever calls has the lock of the folder.

    Raises:
        OSError: The folder cannot be written.
        WebcamMLError: Something else is where the link should be.
    """
    link = live_link(store, BOTH)
    found = wanted(store, ledger, compared=compared)
    if found is None or found.versions is None:
        if link.is_symlink():
            logger.warning("%s is removed, because a head was rolled back", link)
            link.unlink()
        return
    if link.exists() and not link.is_symlink():
        raise WebcamMLError(
            f"{link} should be a symbolic link into {VERSIONS}/, and is a file or folder that "
            "somebody put there. Move it away"
        )
    if found.files is not None and not _install(store, found.versions, found.files):
        return
    _write_environment(store, found.versions)
    if not _link_leads_to(store, found.versions):
        prepared = link.with_name(f".{BOTH}.{uuid.uuid4().hex}.tmp")
        prepared.symlink_to(link_target(folder_name(found.versions)))
        prepared.replace(link)
        flush_folder(link.parent)
        logger.info("%s has %s", link, " and ".join(found.versions.values()))


def _install(store: ArtifactStore, versions: Versions, files: ModelFiles) -> bool:
    """Write the two files, if they are not there; False if the runtime does not score by them."""
    final = version_folder(store, folder_name(versions))
    contents = files.contents()
    damaged = [name for name, content in contents.items() if not _holds(final / name, content)]
    if not damaged:
        return True
    unfinished = final.with_name(f".unfinished-{uuid.uuid4().hex}")
    unfinished.mkdir()
    try:
        for name, content in contents.items():
            write_atomically(unfinished / name, content)
        other = _other_scores(store, versions, unfinished)
        if other is not None:
            logger.error("%s stays as it was: %s", live_link(store, BOTH), other)
            return False
        if final.is_dir():
            for name in damaged:
                (unfinished / name).replace(final / name)
        else:
            unfinished.rename(final)
        flush_folder(final.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return True


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _other_scores(store: ArtifactStore, versions: Versions, folder: Path) -> str | None:
    """Let the runtime score pictures by the file and by those of its heads; say what differs."""
    batches = [_proof_pictures(*size) for size in PROOF_SIZES]
    try:
        both = OnnxModel.load(folder / MODEL_FILE, threads=1)
        said = [both.score_heads(batch) for batch in batches]
        for target_type, version in versions.items():
            alone = OnnxModel.load(version_folder(store, version) / MODEL_FILE, threads=1)
            for batch, scores in zip(batches, said, strict=True):
                if not np.array_equal(alone.score_array(batch), scores[target_type]):
                    return f"the file with both heads does not give the scores of {version}"
    except WebcamMLError as error:
        return str(error)
    return None


def _proof_pictures(height: int, width: int) -> NDArray[np.uint8]:
    """Draw skies: from one colour to another, with some noise, so that not all scores are at an end."""
    random = np.random.default_rng(height)
    top, bottom = random.uniform(0, 255, (2, PROOF_PICTURES, 1, 1, 3))
    down = np.linspace(0, 1, height)[:, np.newaxis, np.newaxis]
    noise = random.normal(0, 8, (PROOF_PICTURES, height, width, 3))
    pictures: NDArray[np.uint8] = np.clip(top + (bottom - top) * down + noise, 0, 255).astype(
        np.uint8
    )
    return pictures


def _write_environment(store: ArtifactStore, versions: Versions) -> None:
    """Let scorer.env name where the store is now: it may have been moved."""
    path = version_folder(store, folder_name(versions)) / ENVIRONMENT_FILE
    content = environment_of(store, versions)
    if not _holds(path, content):
        write_atomically(path, content)


def environment_of(store: ArtifactStore, versions: Versions) -> bytes:
    """Give the content of scorer.env beside the file with both heads, which speaks as its first one."""
    return environment_file(store, BOTH, versions[next(iter(TARGETS))])


def composed_before(store: ArtifactStore, ledger: Ledger) -> list[Path]:
    """Give the folders of files with both heads that production/both does not lead to any more."""
    link = live_link(store, BOTH)
    pairs = list(_pairs(ledger))
    folders = [version_folder(store, folder_name(pair)) for pair in pairs]
    return [folder for folder in folders if folder.is_dir() and link.resolve() != folder.resolve()]


def both_heads(store: ArtifactStore) -> str | None:
    """Say in a sentence which models the file with both heads has; None while one is missing.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    found = wanted(store, Ledger.read(production_folder(store)), compared=False)
    if found is None:
        return None
    path = live_link(store, BOTH) / MODEL_FILE
    if found.versions is None:
        return f"There is no {path} with both heads: {found.because}."
    heads = " and ".join(found.versions.values())
    if not _link_leads_to(store, found.versions):
        return f"{path} does not have the heads of {heads} yet: the next promotion or roll-back completes it."
    if found.because is None:
        return f"{path} has the heads of both, {heads}."
    return f"{path} has the heads of {heads}, not of what is live: {found.because}."
