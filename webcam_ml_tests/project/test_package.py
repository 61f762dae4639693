"""The package as it is installed where there is no clone."""

import ast
import os
import shutil
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import webcam_ml
from webcam_ml.errors import WebcamMLError
from webcam_ml.project import lay_out_project
from webcam_ml_tests.integration.project import REPOSITORY

BUILT_FROM = ("webcam_ml", "webcam_ml_tests", "pyproject.toml", "README.md")


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    names = ("HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, "PATH": os.defpath, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "v0_1")
            shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, source)
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--wheel-dir", out, source, cwd=source,
    )  # fmt: skip
    (found,) = out.glob("webcam_ml-*.whl")
    return found


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it depends on, and no trace of this clone."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Installing 6 GB again would prove nothing more: the libraries are borrowed, without the .pth
    # file by which this clone is installed for development.
    borrowed = site.getsitepackages()[0]
    (packages / "borrowed.pth").write_text(f"{borrowed}\n")
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet",
        "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=folder,
    )  # fmt: skip
    return folder / "bin"


def test_the_wheel_has_the_configs_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "webcam_ml_tests" in name]
    configs = {path.name for path in (REPOSITORY / "configs").glob("*.yaml")}
    assert {
        name.rsplit("/", 1)[1] for name in names if name.startswith("webcam_ml/project/configs/")
    } == configs
    assert f"webcam_ml-{webcam_ml.__version__}-" in wheel.name


def test_the_package_depends_on_what_it_imports_and_on_nothing_else() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = {
        name.partition(".")[0]
        for file in (REPOSITORY / "webcam_ml").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    of_module = packages_distributions()
    used = {
        canonicalize_name(of_module[name][0])
        for name in imported
        if name in of_module and name != "webcam_ml"
    }
    declared = {canonicalize_name(Requirement(one).name) for one in project["dependencies"]}
    # The page, a server's database (deploy/postgres/dagster.yaml), and what torch.onnx exports with.
    not_imported = {"dagster-webserver", "dagster-postgres", "onnxscript"}
    assert declared - used == not_imported
    extras = {
        canonicalize_name(Requirement(one).name)
        for name, listed in project["optional-dependencies"].items()
        if name != "dev"
        for one in listed
    }
    # pydantic-core is the half of pydantic that raises its errors.
    assert used - declared - extras == {"pydantic-core"}


@pytest.mark.deployed
def test_from_the_wheel_to_a_live_model(bin_folder: Path, tmp_path: Path) -> None:
    """What the README of a project says, in the order in which it says it."""
    project = tmp_path / "project"
    said = run(bin_folder / "webcam-ml", "init", project, cwd=tmp_path)
    assert f"cd {project}" in said
    where = run(
        bin_folder / "python", "-c", "import webcam_ml; print(webcam_ml.__file__)", cwd=project
    )
    assert where.startswith(str(bin_folder.parent))
    version = run(bin_folder / "webcam-ml", "--version", cwd=project)
    assert version == f"webcam-ml {webcam_ml.__version__}\n"
    run(
        bin_folder / "webcam-ml",
        "demo-data",
        "--folder",
        "demo",
        "--image-width",
        "160",
        cwd=project,
    )
    # A quarter of the pixels, which drawn webcams can be told apart by as well.
    config = project / "configs" / "demo.yaml"
    config.write_text(config.read_text() + "      image_size: 112\n")
    sourced = run("sh", "-c", '. ./env.sh && echo "$DAGSTER_HOME $PYTHONWARNINGS"', cwd=project)
    home, warnings = sourced.split()
    assert home == str(project)
    variables = {
        "DAGSTER_HOME": home,
        "PYTHONWARNINGS": warnings,
        "DATABASE_URL": f"sqlite:///{project}/demo/labels.sqlite",
    }
    run(
        bin_folder / "python", "-m", "dagster", "asset", "materialize", "-m",
        "webcam_ml.definitions", "--select", "*", "-c", "configs/demo.yaml",
        cwd=project, **variables,
    )  # fmt: skip
    live = project / "artifacts" / "production" / "binary"
    said = run(
        bin_folder / "webcam-ml", "score", "demo/images/000001.jpg", cwd=project,
        AI_SCORING_MODE="onnx", AI_ONNX_MODEL_PATH=str(live / "model.onnx"),
    )  # fmt: skip
    assert '"modelVersion": "binary-resnet18-' in said


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    mine = tmp_path / "configs" / "demo.yaml"
    mine.write_text("mine")
    with pytest.raises(WebcamMLError, match=r"has configs/demo\.yaml already, and nothing was"):
        lay_out_project(tmp_path)
    assert mine.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]
