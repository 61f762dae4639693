"""`webcam-ml verify`: everything that is live, proved again from what is stored. Needs no network."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import W_OK, access
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from webcam_ml.contracts import TARGETS, DocumentError
from webcam_ml.judging import (
    ASSET,
    GATES_OF_SCHEMA,
    Comparison,
    EvidenceError,
    Judged,
    as_judged,
    judge,
)
from webcam_ml.live._both import environment_of, folder_name, wanted
from webcam_ml.live._chain import LedgerDamagedError, read_lines
from webcam_ml.live._judged import read_refusals, wrong_counts
from webcam_ml.live._layout import (
    BOTH,
    ENVIRONMENT_FILE,
    HEAD_FILE,
    LEDGER_FILE,
    VERSION_FILES,
    environment_file,
    link_target,
    live_link,
    production_folder,
    version_folder,
)
from webcam_ml.live._ledger import Head, Ledger, LedgerEntry
from webcam_ml.live._production import current_ledger, fetch_version, sha256_of
from webcam_ml.live._stored import models_that_were_live
from webcam_ml.store import (
    LINEAGE_FILE,
    LOCK_FILE,
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    BucketStore,
    Lineage,
    StoredArtifact,
)


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was recorded.

    Attributes:
        path: The file or folder; of a store in a bucket, where a mirror would have it.
        what: What was expected and what was found.
        shown: The address in the bucket; None of a folder.
    """

    path: Path
    what: str
    shown: str | None = None

    def __str__(self) -> str:
        return f"{self.shown or self.path}: {self.what}"


def verify(store: ArtifactStore, *, head: Path | None = None) -> list[Problem]:
    """Check ledger, links, model files, all they were made from down to the labels, and verdicts.

    Reads only; of a store in a bucket everything is read anew from there, whatever the mirror has.
    Pictures are not part of the chain but their digests in image_index are.

    Args:
        store: Where the live models are.
        head: A copy of ledger.head that was kept elsewhere: the ledger must be that one, or have
            grown from it.

    Returns:
        What is wrong, in the order of the ledger; empty if all is well.
    """
    if store.remote is None:
        return _verify(store, head)
    with TemporaryDirectory(prefix="webcam-ml-verify-") as mirror:
        fresh = BucketStore(store.remote, Path(mirror))
        try:
            ledger = current_ledger(fresh)
        except LedgerDamagedError as error:
            problems = [Problem(fresh.root / path, error.what) for path in error.paths]
        else:
            for entry in ledger.first_entries().values():
                fetch_version(fresh, entry)
            problems = _verify(fresh, head)
        return [
            replace(one, what=one.what.replace(mirror, fresh.address), shown=fresh.shown(one.path))
            if one.path.is_relative_to(mirror)
            else one
            for one in problems
        ]


def _verify(store: ArtifactStore, head: Path | None) -> list[Problem]:
    folder = production_folder(store)
    if not folder.exists():
        problems = list(_was_live(store, Ledger()))
        return problems + ([] if head is None else list(_kept_head(folder, Ledger(), head)))
    # No lock where the folder cannot be written: nobody can promote there meanwhile.
    with FileLock(folder / LOCK_FILE) if access(folder, W_OK) else nullcontext():
        try:
            ledger = Ledger.read(folder)
            problems = [] if head is None else list(_kept_head(folder, ledger, head))
            problems += _problems(store, ledger)
            problems += (Problem(*one) for one in wrong_counts(folder, store))
            read_refusals(folder)
        except LedgerDamagedError as error:
            return [Problem(path, f"{error.paths[0].name} {error.what}") for path in error.paths]
        return list(dict.fromkeys(problems))


def _kept_head(folder: Path, ledger: Ledger, head: Path) -> Iterator[Problem]:
    """Compare with a copy of the head, kept where whoever changes the folder cannot write."""
    try:
        kept = Head.read(head)
    except (OSError, ValueError, DocumentError) as error:
        yield Problem(head, f"cannot be read as a copy of {HEAD_FILE} ({error})")
        return
    fault = kept.ledger.fault_of(ledger.lines)
    if fault is not None:
        yield Problem(folder / LEDGER_FILE, f"{fault} when {head} was copied")
    for path, what in _shortened(folder, kept):
        yield Problem(path, f"{what} when {head} was copied")


def _shortened(folder: Path, head: Head) -> Iterator[tuple[Path, str]]:
    """Yield each file beside the ledger that does not have the end which a head names, and why."""
    for name, end in head.beside.items():
        fault = end.fault_of(read_lines(folder / name))
        if fault is not None:
            yield folder / name, fault


def _was_live(store: ArtifactStore, ledger: Ledger) -> Iterator[Problem]:
    """Compare with what production_model recorded: a model that was live is in the ledger."""
    known = ledger.known_versions()
    for path, version in models_that_were_live(store):
        if version is None:
            yield Problem(path, "cannot be read, and would say which model was live")
        elif version not in known:
            yield Problem(
                path,
                f"says that {version} was live, and {production_folder(store) / LEDGER_FILE} does "
                "not: the history is gone, or was begun anew",
            )


def _problems(store: ArtifactStore, ledger: Ledger) -> Iterator[Problem]:
    folder = production_folder(store)
    if ledger.interrupted:
        yield Problem(
            folder / HEAD_FILE,
            f"the last promotion, of {ledger.entries[-1].version}, was interrupted; the next "
            "promotion or roll-back completes it (materialize production_model)",
        )
    for path, what in _shortened(folder, Head(beside=ledger.beside)):
        # Which of the two was changed cannot be told.
        yield Problem(path, f"{what} by {HEAD_FILE}")
        yield Problem(folder / HEAD_FILE, f"names another end of {path.name}: that {what}")
    yield from _was_live(store, ledger)
    yield from _links(store, ledger)
    yield from _both_heads(store, ledger)
    introduced = ledger.first_entries()
    for version, entry in introduced.items():
        yield from _version_files(store, version, entry)
    schema = 1
    asked: frozenset[str] = frozenset()
    for entry in ledger.entries:
        if entry.schema_version < schema:
            yield Problem(
                folder / LEDGER_FILE,
                f"line {entry.sequence} claims to be of an older version of the program than the "
                "line before it",
            )
        schema = max(schema, entry.schema_version)
        yield from _ancestry(store, entry)
        asked |= GATES_OF_SCHEMA[schema]
        unasked = sorted(asked - entry.verdicts.keys())
        if entry.action == "promote":
            if unasked:
                yield Problem(
                    folder / LEDGER_FILE,
                    f"line {entry.sequence} promotes {entry.version} without a verdict of "
                    f"{', '.join(unasked)}",
                )
            asked |= entry.verdicts.keys()
        yield from _verdicts(store, entry)


def _links(store: ArtifactStore, ledger: Ledger) -> Iterator[Problem]:
    for target_type in TARGETS:
        link, live = live_link(store, target_type), ledger.live(target_type)
        if live is None:
            if link.is_symlink() or link.exists():
                yield Problem(link, "is there, and the ledger knows of no such live model")
            continue
        found = str(link.readlink()) if link.is_symlink() else "no link"
        if found != link_target(live.version):
            yield Problem(link, f"leads to {found}; by the ledger {live.version} is live")


def _both_heads(store: ArtifactStore, ledger: Ledger) -> Iterator[Problem]:
    """Compare the file with both heads with what it is when it is made of theirs."""
    link, found = live_link(store, BOTH), wanted(store, ledger)
    if found is None or found.versions is None:
        if link.is_symlink() or link.exists():
            yield Problem(link, "is there, and the ledger knows no two models that it may have")
        return
    if not (link.is_symlink() or link.exists()):
        return  # of a store from before there was such a file; the next promotion makes it
    target = link_target(folder_name(found.versions))
    leads_to = str(link.readlink()) if link.is_symlink() else "no link"
    if leads_to != target:
        yield Problem(
            link,
            f"leads to {leads_to}; by the ledger it has the heads of "
            f"{' and '.join(found.versions.values())} (materialize production_model)",
        )
        return
    if found.files is None:
        return  # the file of a head is damaged, which is reported
    environment = {ENVIRONMENT_FILE: environment_of(store, found.versions)}
    for name, content in (found.files.contents() | environment).items():
        path = link / name
        if not (path.is_file() and path.read_bytes() == content):
            yield Problem(
                path,
                "is not what follows from the files of its heads; materialize production_model, which "
                "writes it again",
            )


def _version_files(store: ArtifactStore, version: str, entry: LedgerEntry) -> Iterator[Problem]:
    folder = version_folder(store, version)
    for name in VERSION_FILES:
        yield from _digest(folder / name, entry.digests[name])
    if store.remote is not None:
        return  # each mirror makes a scorer.env of its own
    environment = folder / ENVIRONMENT_FILE
    expected = environment_file(store, entry.target_type, version)
    if not environment.is_file():
        yield Problem(environment, "is gone")
    elif environment.read_bytes() != expected:
        yield Problem(
            environment,
            "was changed, or the store was moved; the next promotion or roll-back writes it again",
        )


def _digest(path: Path, expected: str) -> Iterator[Problem]:
    try:
        found = sha256_of(path)
    except OSError as error:
        yield Problem(path, f"cannot be read ({error.strerror})")
        return
    if found != expected:
        yield Problem(path, f"has sha256 {found[:12]}…, recorded is {expected[:12]}…")


def _ancestry(store: ArtifactStore, entry: LedgerEntry) -> Iterator[Problem]:
    """Follow the inputs from the model and its evidence down to the labels."""
    for asset, record in entry.lineage.items():
        folder = store.folder_of(asset, record.version)
        lineage_file = folder / LINEAGE_FILE
        if lineage_file.is_file():
            changed = list(_digest(lineage_file, record.lineage_sha256))
            if changed:
                yield from changed
                continue
            try:
                lineage = Lineage.load(folder)
            except (ValueError, DocumentError) as error:
                yield Problem(lineage_file, str(error))
                continue
            stored = StoredArtifact(asset, record.version, folder, lineage)
        else:
            try:
                # Deleted or damaged and then made again: the same data_version is the same content.
                stored = store.find(asset, record.data_version)
            except ArtifactMissingError:
                yield Problem(folder, "is gone, and a live model was made from it")
                continue
            except ArtifactDamagedError as error:
                yield Problem(lineage_file, str(error))
                continue
        if stored.data_version != record.data_version:
            yield Problem(lineage_file, f"is of another version than {record.data_version[:12]}…")
        for name, version in stored.lineage.inputs.items():
            if name not in entry.lineage or entry.lineage[name].data_version != version:
                yield Problem(
                    stored.folder / LINEAGE_FILE,
                    f"names a {name} that the ledger does not name beside it",
                )
        for name, file in stored.lineage.files.items():
            yield from _digest(stored.folder / name, file.sha256)
        if not stored.lineage.has_consistent_version():
            yield Problem(
                stored.folder / LINEAGE_FILE, "its data_version does not follow from its content"
            )


def _verdicts(store: ArtifactStore, entry: LedgerEntry) -> Iterator[Problem]:
    """Judge again what the ledger says was judged."""
    record = entry.lineage.get(ASSET)
    if record is None:
        if entry.action == "promote":
            yield Problem(
                production_folder(store) / LEDGER_FILE,
                f"line {entry.sequence} promotes {entry.version} without evidence",
            )
        return
    try:
        stored = store.find(ASSET, record.data_version)
        comparison = stored.load(Comparison)
    except (ArtifactMissingError, ArtifactDamagedError):
        return  # reported by `_ancestry`, file by file
    except EvidenceError as error:
        yield Problem(stored.folder, f"cannot be judged again: {error}")
        return
    path = stored.folder / "champion_comparison.json"
    found = comparison.evidence
    if found.candidate.model_sha256 != entry.digests["model.onnx"]:
        yield Problem(path, f"is evidence for another model than {entry.version}")
    verdicts = as_judged(judge(comparison))
    if entry.action == "promote" and found.schema_version < entry.schema_version:
        yield Problem(path, f"is of an older version than the decision on {entry.version}")
    for name, verdict in verdicts.items():
        if name not in entry.verdicts:
            continue  # a gate that was added after this decision
        recorded = entry.verdicts[name]
        if entry.action == "promote" and not verdict.passed:
            yield Problem(path, f"{entry.version} went live, and {name} says no: {verdict.reason}")
        elif recorded.passed != verdict.passed:
            yield Problem(
                path, f"{name} now says otherwise than line {entry.sequence} of the ledger"
            )
        for number, (then, now) in _other_numbers(recorded, verdict).items():
            yield Problem(
                production_folder(store) / LEDGER_FILE,
                f"line {entry.sequence} says {number} {then} for {name} of {entry.version}, and "
                f"from the evidence follows {now}",
            )


def _other_numbers(
    recorded: Judged, found: Judged
) -> Mapping[str, tuple[float | int | str | None, float | int | str | None]]:
    """Give the numbers that differ; one that only one of the two has proves nothing."""
    return {
        name: (value, found.numbers[name])
        for name, value in recorded.numbers.items()
        if name in found.numbers and found.numbers[name] != value
    }
