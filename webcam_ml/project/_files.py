"""The files themselves, which the package carries."""

import shutil
from pathlib import Path

from webcam_ml.errors import WebcamMLError

SOURCE = Path(__file__).parent
CONFIGS = SOURCE / "configs"
NAMES = (
    "README.md",
    "dagster.yaml",
    "env.sh",
    "workspace.yaml",
    *(f"configs/{path.name}" for path in sorted(CONFIGS.glob("*.yaml"))),
)


def lay_out_project(folder: Path) -> list[Path]:
    """Write the files of a project into a folder, which is made if need be.

    Args:
        folder: Where the project is to be; what is in it stays.

    Returns:
        What was written.

    Raises:
        WebcamMLError: One of the files is there already, or the folder cannot be written. If a file
            is there, nothing is written.
    """
    there = [name for name in NAMES if (folder / name).exists()]
    if there:
        raise WebcamMLError(
            f"{folder} has {', '.join(there)} already, and nothing was written. Name another folder, "
            "or move them away"
        )
    written = []
    try:
        for name in NAMES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SOURCE / name, path)
            written.append(path)
    except OSError as error:
        raise WebcamMLError(
            f"{folder} cannot be written ({error}). Make it writable, or name another folder"
        ) from error
    return written
