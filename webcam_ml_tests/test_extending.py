"""The recipes of docs/extending.md, followed as they stand in a copy of the code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from webcam_ml_tests.integration.project import REPOSITORY

pytestmark = pytest.mark.deployed

# Title → how many modules it takes, beside one test file.
RECIPES = {
    "Add a backbone": 1,
    "Add a label source": 1,
    "Add a label source that weighs ratings": 3,
    "Add a column": 1,
    "Add a gate": 1,
}
COPIED = ("webcam_ml", "webcam_ml_tests", "configs", "pyproject.toml")


@dataclass(frozen=True)
class Recipe:
    patches: list[str]
    new_files: dict[str, str]
    commands: list[str]

    @property
    def touched(self) -> list[str]:
        patched = [
            name for patch in self.patches for name in re.findall(r"^\+\+\+ b/(.*)$", patch, re.M)
        ]
        return [*patched, *self.new_files]


def recipe(title: str) -> Recipe:
    text = (REPOSITORY / "docs" / "extending.md").read_text()
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)
    new_files = {}
    for language, block in blocks:
        if language == "python":
            first, _, rest = block.partition("\n")
            new_files[first.removeprefix("# ")] = rest
    return Recipe(
        patches=[block for language, block in blocks if language == "diff"],
        new_files=new_files,
        commands=[
            line for language, block in blocks if language == "sh" for line in block.splitlines()
        ],
    )


def run(folder: Path, *command: str, text: str | None = None) -> str:
    result = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "GIT_CEILING_DIRECTORIES": str(folder.parent),
        },
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


def copied(folder: Path) -> Path:
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "v0_1")
            )
        else:
            shutil.copy(source, folder)
    return folder


def is_followed(patch: str, folder: Path) -> bool:
    """Whether the code has what the patch adds: where somebody followed the recipe, tests go on."""
    undo = subprocess.run(
        ["git", "apply", "--reverse", "--check", "-"],
        cwd=folder,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
        input=patch,
        capture_output=True,
        text=True,
        check=False,
    )
    return undo.returncode == 0


def follow(title: str, folder: Path) -> Recipe:
    """Do what a recipe says, as far as it is not done."""
    found = recipe(title)
    for patch in found.patches:
        if not is_followed(patch, folder):
            run(folder, "git", "apply", "-", text=patch)
    for name, content in found.new_files.items():
        (folder / name).write_text(content)
    return found


def bytes_of(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def test_recipes_can_be_followed_one_after_the_other_and_again(tmp_path: Path) -> None:
    """A patch that is in the code already must not stop the tests of whoever followed it."""
    copied(tmp_path)
    touched = [name for title in RECIPES for name in follow(title, tmp_path).touched]
    once = bytes_of(tmp_path, touched)
    for title in RECIPES:
        follow(title, tmp_path)
    assert bytes_of(tmp_path, touched) == once
    run(tmp_path, sys.executable, "-m", "ruff", "check", *touched)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_takes_few_modules_and_one_test_file(title: str) -> None:
    touched = recipe(title).touched
    modules = [name for name in touched if not name.startswith("webcam_ml_tests/")]
    assert all(name.startswith("webcam_ml/") for name in modules)
    assert (len(modules), len(touched)) == (RECIPES[title], RECIPES[title] + 1)


def test_the_recipes_are_those_of_the_document() -> None:
    titles = re.findall(r"^## (.*)$", (REPOSITORY / "docs" / "extending.md").read_text(), re.M)
    assert titles == [*RECIPES]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_can_be_followed_and_its_tests_pass(title: str, tmp_path: Path) -> None:
    found = follow(title, copied(tmp_path))
    run(tmp_path, sys.executable, "-m", "ruff", "check", *found.touched)
    run(tmp_path, sys.executable, "-m", "ruff", "format", "--check", *found.touched)
    for command in found.commands:
        program, *arguments = shlex.split(command)
        assert program == "pytest"
        if title == "Add a gate":
            # What promotes a model trains three of them: a minute, in the slow test below.
            arguments = [
                argument.replace("enough_pictures_served or ", "") for argument in arguments
            ]
        run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_what_a_recipe_leaves_is_well_typed_and_passes_its_whole_test(
    title: str, tmp_path: Path
) -> None:
    found = follow(title, copied(tmp_path))
    run(tmp_path, sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "types"))
    for command in found.commands:
        _, *arguments = shlex.split(command)
        run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
