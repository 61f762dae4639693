"""`webcam-ml lineage`: what each live model was made from, as a tree that can be read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from webcam_ml.contracts import TARGETS
from webcam_ml.dataset import TargetConfig
from webcam_ml.judging import from_demo
from webcam_ml.labels import LabelQuery
from webcam_ml.live._ledger import LedgerEntry
from webcam_ml.live._production import current_ledger
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact

TOPS = ("onnx_model", "champion_comparison")
# The settings that tell one version from another, of those that lineage.json has.
SETTINGS_SHOWN = (
    *LabelQuery.model_fields, *TargetConfig.model_fields,
    "seed", "model_name", "weights", "strategy", "image_size", "feature_stages",
    "store_weights",
)  # fmt: skip


def lineage_tree(store: ArtifactStore) -> str:
    """Draw the ancestry of each live model down to the labels.

    What was drawn once is named again without its own ancestors.

    Args:
        store: Where the live models and their ancestors are.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    ledger = current_ledger(store)
    lines: list[str] = []
    for target_type in TARGETS:
        live = ledger.live(target_type)
        if live is not None:
            lines += _Tree(store, live).lines()
    return "\n".join(lines) if lines else "No model is live."


@dataclass
class _Tree:
    """One live model's ancestry while it is drawn; `drawn` are the assets that need no repeat."""

    store: ArtifactStore
    live: LedgerEntry
    drawn: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[str]:
        live = self.live
        yield f"{live.target_type}: {live.version}"
        run = f", run {live.run_id}" if live.run_id else ""
        yield f"│  live by {live.action} at {live.time[:19]}Z{run}"
        yield from self._branches([name for name in TOPS if name in live.lineage], "")

    def _branches(self, assets: Sequence[str], indent: str) -> Iterator[str]:
        for number, asset in enumerate(assets, start=1):
            corner, beyond = ("└─ ", "   ") if number == len(assets) else ("├─ ", "│  ")
            record = self.live.lineage[asset]
            head = f"{indent}{corner}{asset} {record.version}"
            if asset in self.drawn:
                yield f"{head} (see above)"
                continue
            self.drawn.add(asset)
            try:
                stored = self.store.find(asset, record.data_version)
            except ArtifactMissingError:
                yield f"{head}: gone from the store"
                continue
            facts = ", ".join(_facts(stored))
            yield f"{head}: {facts}" if facts else head
            inputs = [name for name in stored.lineage.inputs if name in self.live.lineage]
            yield from self._branches(inputs, indent + beyond)


def _facts(stored: StoredArtifact) -> Iterator[str]:
    for name in SETTINGS_SHOWN:
        value = stored.lineage.config.get(name)
        if value not in (None, [], ""):
            yield f"{name} {value}"
    if not stored.lineage.inputs:
        database = stored.lineage.database or {}
        host = f" at {database['host']}" if database.get("host") else ""
        yield f"from {database.get('name', 'an unknown database')}{host}"
        if from_demo(stored):
            yield "the demo"
    commit = stored.lineage.code_version.get("commit")
    if commit and stored.asset in TOPS:
        dirty = " with changes" if stored.lineage.code_version.get("dirty") else ""
        yield f"code {str(commit)[:9]}{dirty}"
