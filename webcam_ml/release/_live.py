"""Which model is live, and what the asset production_model holds: the one a promotion made live."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from webcam_ml.artifacts import ArtifactStore
from webcam_ml.dataset import TargetType
from webcam_ml.release._layout import production_folder
from webcam_ml.release._ledger import Ledger
from webcam_ml.release._promotion import Promotion

LIVE_FILE = "production_model.json"


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
        (folder / LIVE_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read production_model.json."""
        return cls(**json.loads((folder / LIVE_FILE).read_text()))


def live_version(store: ArtifactStore, target_type: TargetType) -> str | None:
    """Give the model_version that is live for a target type, None if there is none.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    entry = Ledger.read(production_folder(store)).live(target_type)
    return None if entry is None else entry.version
