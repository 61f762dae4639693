"""What the bits of a network's output depend on beside the network: library, provider, instruction set.

onnxruntime adds in another order where vectors are wider, and on a GPU in yet another one. The results
differ in their last digits, so what is kept of them is kept for each kind of machine by itself.
"""

import platform
from importlib import metadata
from pathlib import Path
from typing import Literal

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider"]

# Widest first; onnxruntime has kernels of their own for each.
VECTORS = ("avx512f", "avx2", "avx")

# What pixels and features depend on beside the package itself and onnxruntime.
LIBRARIES = ("numpy", "pillow", "simplejpeg", "scipy")


def machine_kind(provider: Provider) -> str:
    """Name this machine's kind: equal names mean equal bits of what onnxruntime computes here."""
    if provider == "CUDAExecutionProvider":
        import torch

        return f"{provider}, {torch.cuda.get_device_name(0)}"
    return f"{provider}, {platform.machine()} {_vectors()}".rstrip()


def onnxruntime_version() -> str:
    """Give the version of onnxruntime, which has two packages: onnxruntime-gpu is installed in its place."""
    import onnxruntime

    version: str = onnxruntime.__version__
    return version


def libraries() -> dict[str, str]:
    """Name the versions, here, of the libraries on which pixels and features depend."""
    return {
        "onnxruntime": onnxruntime_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def _vectors() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""  # no Linux: the architecture says what there is to say
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return next((name for name in VECTORS if name in flags), "")
