"""Limits that the runtime and the pipeline share; importing this module loads no library."""

import os

MAX_PIXELS = 7680 * 4320
"""One frame of 8K video, 33 megapixels: four times 4K, and 100 MB as an array."""

MAX_BYTES = 32 * 2**20
"""No picture file of a webcam is nearly as large; a 4K JPEG of the best quality has some 8 MB."""


def available_cores() -> int:
    """Number of processor cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
