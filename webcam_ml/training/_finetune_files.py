"""The files of one training: their names, and how tensors get into them and out.

All are written whole or not at all, and none can hold code. `_finetune` says what they are for.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webcam_ml.store import write_atomically

PICTURES_FILE = "pictures.npy"
STATE_FILE = "state.pt"
OUTCOME_FILE = "outcome.json"
BEST_FILES = "best-*.pt"


def best_file(folder: Path, epoch: int) -> Path:
    """Where the network of the best epoch is."""
    return folder / BEST_FILES.replace("*", str(epoch))


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, without running any code that the file may contain.

    Raises:
        pickle.UnpicklingError: The file holds more than tensors and plain values.
    """
    import torch

    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
