"""Which engine: what the run config says, else what the environment says, else this process."""

import os

from webcam_ml.dataset.images._engine import Engine, LocalEngine
from webcam_ml.errors import WebcamMLError

ENGINE_VARIABLE = "WEBCAM_ML_ENGINE"
ADDRESS_VARIABLE = "WEBCAM_ML_RAY_ADDRESS"


def engine_name(name: str = "") -> str:
    """Say which engine: the one that is named, else as WEBCAM_ML_ENGINE says, else `local`."""
    return name or os.environ.get(ENGINE_VARIABLE) or "local"


def open_engine(name: str = "", *, address: str = "", num_gpus: float = 0.0) -> Engine:
    """Give an engine; a cluster is looked for when it is first needed.

    Args:
        name: `local` or `ray`, see `engine_name`.
        address: Of a Ray cluster, see `RayEngine`; empty: as WEBCAM_ML_RAY_ADDRESS says.
        num_gpus: The part of a GPU that each task of Ray gets.

    Raises:
        WebcamMLError: There is no such engine, it takes no address and no GPUs, or Ray is not installed.
    """
    name = engine_name(name)
    if name == "ray":
        from webcam_ml.dataset.images._ray_engine import RayEngine

        return RayEngine(address or os.environ.get(ADDRESS_VARIABLE) or "", num_gpus=num_gpus)
    if name != "local":
        raise WebcamMLError(
            f"engine {name!r} is unknown: choose local or ray (run config, or {ENGINE_VARIABLE})"
        )
    if address or num_gpus:
        raise WebcamMLError("ray_address and ray_num_gpus are for engine: ray, and engine is local")
    return LocalEngine()
