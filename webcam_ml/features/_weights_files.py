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
        path: What torch.save wrote, or safetensors.

    Raises:
        WebcamMLError: The file cannot be read, is not a state dict, or holds more than plain numbers.
    """
    try:
        state = _read_safetensors(path) if _is_safetensors(path) else _read_saved(path)
    except OSError as error:
        raise WebcamMLError(f"weights: {path} cannot be read ({first_line(error)})") from error
    if not state:
        raise WebcamMLError(
            f"weights: {path} is an empty state dict. Save that of a whole network: "
            "torch.save(model.state_dict(), path)"
        )
    for name, tensor in state.items():
        fault = _fault_of(tensor)
        if fault is not None:
            raise WebcamMLError(
                f"weights: {path} cannot be used, since its tensor {name} {fault}. Save the state dict of "
                "the trained network as plain numbers again, or fetch the file again"
            )
    return state


def _is_safetensors(path: Path) -> bool:
    # What a hub keeps has no suffix: after the length of its header such a file goes on with JSON.
    with path.open("rb") as file:
        return path.suffix.lower() == ".safetensors" or file.read(9)[8:] == b"{"


def _fault_of(tensor: "torch.Tensor") -> str | None:
    import torch

    if (
        tensor.layout != torch.strided
        or tensor.is_meta
        or tensor.is_quantized
        or tensor.is_complex()
    ):
        return f"is no plain one of real numbers ({tensor.layout}, {tensor.dtype}, {tensor.device})"
    if not torch.isfinite(tensor).all():
        return "has numbers that are not finite"
    return None


def _read_saved(path: Path) -> dict[str, "torch.Tensor"]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WebcamMLError(
            f"weights: {path} holds more than plain tensors, and loading it could run code: "
            "refused. Save the state dict alone: torch.save(model.state_dict(), path)"
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
