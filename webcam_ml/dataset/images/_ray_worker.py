"""What runs in a worker of a Ray cluster."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import webcam_ml
from webcam_ml.dataset.images._engine import PictureWork, decode_any_size
from webcam_ml.dataset.images._machine import Provider, libraries, machine_kind

if TYPE_CHECKING:
    import ray

# The work that this process did last, and how: a session is started once for all shards.
_started: dict[str, Callable[..., Any]] = {}


@cache
def installed() -> dict[str, str]:
    """Name what is installed here, the package by a digest of its modules."""
    code = hashlib.sha256()
    root = Path(webcam_ml.__file__).parent
    for path in sorted(root.rglob("*.py")):
        code.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return {
        "webcam_ml": f"{webcam_ml.__version__}, code {code.hexdigest()[:8]}",
        **libraries(),
    }


@cache
def kind_of_worker(provider: Provider) -> str:
    """Name the kind of this worker's machine."""
    return machine_kind(provider)


def describe(provider: Provider) -> tuple[str, dict[str, str]]:
    """Say what kind of machine this worker is on, and what is installed there."""
    return kind_of_worker(provider), installed()


def compute_shard(
    name: str,
    held: "Sequence[ray.ObjectRef[PictureWork[Any]]]",
    files: Sequence[bytes],
    provider: Provider,
) -> tuple[str, list[Any]]:
    """Do a work on some pictures.

    Args:
        name: Of the work; a process that did it last has it still.
        held: The work, in a list, so that it is fetched where it is needed only.
        files: The pictures as files.
        provider: What onnxruntime computes on.

    Returns:
        The kind of machine, and a result for each picture.
    """
    if name not in _started:
        import ray

        _started.clear()
        _started[name] = ray.get(held[0]).start()
    compute = _started[name]
    return kind_of_worker(provider), [compute(decode_any_size(file)) for file in files]
