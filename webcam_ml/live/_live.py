"""Which model is live, and what the asset production_model holds: the one a promotion made live."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from webcam_ml.contracts import Document, TargetType, target_of
from webcam_ml.export import MODEL_FILE
from webcam_ml.judging import ModelFile, WasLive
from webcam_ml.live._layout import production_folder, version_folder
from webcam_ml.live._ledger import Ledger, LedgerEntry
from webcam_ml.live._promotion import Promotion
from webcam_ml.store import ArtifactStore

DOCUMENT = Document("production_model.json", made_by="production_model")


@dataclass(frozen=True)
class LiveModel:
    """The model that is live for its target type.

    Attributes:
        target_type: `binary` or `regression`.
        model_version: Its name.
        digests: SHA-256 of its files and of the test split it was judged on.
    """

    target_type: str
    model_version: str
    digests: Mapping[str, str]

    @classmethod
    def of(cls, promotion: Promotion) -> Self:
        """Take what is live from a promotion, without its time and run."""
        entry = promotion.entry
        return cls(
            target_type=entry.target_type,
            model_version=entry.version,
            digests=dict(sorted(entry.digests.items())),
        )

    def save(self, folder: Path) -> None:
        """Write production_model.json."""
        DOCUMENT.write(folder, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read production_model.json."""
        return DOCUMENT.read_as(folder, lambda content: cls(**content))


def live_version(store: ArtifactStore, target_type: TargetType) -> str | None:
    """Give the model_version that is live for a target type, None if there is none.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    entry = Ledger.read(production_folder(store)).live(target_type)
    return None if entry is None else entry.version


def were_live(store: ArtifactStore, target_type: TargetType) -> tuple[WasLive, ...]:
    """Give the models of a target type whose promotions still hold, the live one last.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    return tuple(
        WasLive(
            file=ModelFile(
                version_folder(store, entry.version) / MODEL_FILE,
                entry.version,
                entry.digests[MODEL_FILE],
            ),
            onnx_model=entry.lineage["onnx_model"].data_version,
            quality=_quality(entry),
        )
        for entry in Ledger.read(production_folder(store)).standing(target_type)
    )


def _quality(entry: LedgerEntry) -> float | None:
    floor = entry.verdicts.get("quality_floor")
    value = None if floor is None else floor.numbers.get("value")
    if not isinstance(value, int | float):
        return None
    return target_of(entry.target_type).quality(value)
