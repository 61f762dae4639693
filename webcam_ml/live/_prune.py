"""`webcam-ml prune`: free what no live model, no line of the ledger and no next step needs."""

from dataclasses import dataclass
from pathlib import Path

from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import ASSET
from webcam_ml.live._both import composed_before
from webcam_ml.live._layout import PRODUCTION
from webcam_ml.live._ledger import Ledger
from webcam_ml.live._production import Production, change_production, current_ledger
from webcam_ml.live._stored import stored_versions
from webcam_ml.store import BESIDE_ASSETS, ArtifactMissingError, ArtifactStore
from webcam_ml.training import dating_choices


@dataclass(frozen=True)
class Pruned:
    """One version that is not needed, or a damaged one that was moved aside.

    Attributes:
        asset: Name of the asset.
        folder: Where it is, or was; of a store in a bucket, where its mirror has it, or would.
        size: Bytes of its files.
        shown: The folder as a user finds it.
    """

    asset: str
    folder: Path
    size: int
    shown: str


def prune(store: ArtifactStore, *, dry_run: bool = True) -> list[Pruned]:
    """Free old versions; the live models and all that they were made from are never touched.

    Kept are: what the ledger names, which is the whole ancestry of everything that was ever live;
    the latest version of each asset, with its ancestry; of each choice of a backbone that a kept
    checkpoint has, the oldest one, which says how old it is; and all evidence, which is small and says
    how often a test split was used. Damaged folders, moved aside when their version was written
    afresh, go in any case, and so do files with both heads that others have taken the place of, which
    can be made again. Do not materialize meanwhile: a run in progress may hold a
    version that is no longer the latest.

    Args:
        store: The store.
        dry_run: Only say what would be freed.

    Returns:
        What was, or would be, freed.

    Raises:
        LedgerDamagedError: What is needed cannot be told.
        WebcamMLError: A folder cannot be removed; the others are dealt with first.
    """
    if dry_run:
        return _unneeded(store, current_ledger(store))

    def remove(production: Production) -> list[Pruned]:
        unneeded = _unneeded(store, production.ledger)
        failed = [one for one in unneeded if not store.remove(one.folder)]
        if failed:
            raise WebcamMLError(
                f"{len(failed)} of {len(unneeded)} folders could not be removed, the first is "
                f"{failed[0].folder}: look at its permissions"
            )
        return unneeded

    return change_production(store, remove)


def _unneeded(store: ArtifactStore, ledger: Ledger) -> list[Pruned]:
    assets = [name for name in store.assets() if name not in {PRODUCTION, *BESIDE_ASSETS}]
    needed = {
        (asset, record.data_version)
        for entry in ledger.entries
        for asset, record in entry.lineage.items()
    }
    for asset in assets:
        try:
            latest = store.latest(asset)
        except ArtifactMissingError:
            continue
        needed |= {(asset, latest.data_version), *latest.lineage.ancestors.items()}
    checkpoints = {data_version for asset, data_version in needed if asset == "checkpoint"}
    needed |= {("checkpoint", one) for one in dating_choices(store, checkpoints)}
    damaged = [(asset, path) for asset in assets for path in store.damaged(asset)]
    both = [(PRODUCTION, folder) for folder in composed_before(store, ledger)]
    unneeded = [
        (asset, stored.place)
        for asset in assets
        if asset != ASSET
        for stored in stored_versions(store, asset)
        if (asset, stored.data_version) not in needed
    ]
    return [
        *(
            Pruned(asset, folder, store.size_of(folder), store.shown(folder))
            for asset, folder in [*unneeded, *damaged]
        ),
        *(Pruned(asset, folder, store.size_of(folder), str(folder)) for asset, folder in both),
    ]
