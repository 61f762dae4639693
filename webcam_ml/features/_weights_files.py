"""Files of weights: read without running code, and held against the network that they are for."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.errors import WebcamMLError

if TYPE_CHECKING:
    import torch

StateDict = Mapping[str, "torch.Tensor"]

# What torch.load raises for bytes that torch.save did not write: it does not check its input.
UNREADABLE = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def read_state_dict(path: Path) -> dict[str, "torch.Tensor"]:
    """Read a state dict without running any code that it may contain.

    Args:
        path: What torch.save wrote, or safetensors if its name ends so.

    Raises:
        WebcamMLError: The file is not a state dict, or holds more than tensors.
    """
    import torch

    if path.suffix == ".safetensors":
        return _read_safetensors(path)

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WebcamMLError(
            f"weights: {path} holds more than plain tensors, and loading it could run code: "
            f"refused. Save the state dict alone: torch.save(model.state_dict(), path). "
            f"({first_line(error)})"
        ) from error
    except UNREADABLE as error:
        raise WebcamMLError(
            f"weights: {path} is not a file that torch.save wrote, or it is damaged "
            f"({first_line(error)})"
        ) from error
    # Training scripts often save {"state_dict": ...}: that is unwrapped, other wrappings are not.
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise WebcamMLError(
            f"weights: {path} is not a state dict (names → tensors) but {type(state).__name__}. "
            "Save the state dict alone: torch.save(model.state_dict(), path)"
        )
    return state


def _read_safetensors(path: Path) -> dict[str, "torch.Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WebcamMLError(
            f"weights: {path} is no safetensors file, or it is cut short or damaged "
            f"({first_line(error)}). Copy or fetch it again, and compare its size with the original's"
        ) from error


def require_same_architecture(
    name: str, network: "torch.nn.Module", state: StateDict, weights: str
) -> None:
    """Check that a state dict has the tensors of a network.

    Raises:
        WebcamMLError: Some are missing, unknown or of another shape.
    """
    expected = network.state_dict()
    # Counters of batches matter to training alone, and older files lack them.
    missing = sorted(
        name for name in expected.keys() - state.keys() if not name.endswith("num_batches_tracked")
    )
    unknown = sorted(state.keys() - expected.keys())
    misshapen = sorted(
        name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape
    )
    if missing or unknown or misshapen:
        parts = [
            f"{len(names)} {what} (such as {names[0]})"
            for names, what in (
                (missing, "missing"),
                (unknown, "unknown"),
                (misshapen, "of another shape"),
            )
            if names
        ]
        raise WebcamMLError(
            f"weights: {weights} is not a {name}: of its {len(expected)} tensors "
            f"{', '.join(parts)}. Set model_name to the network that the file was saved from"
        )


def first_line(error: BaseException) -> str:
    """Give what fits into a sentence of an error of a library."""
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
