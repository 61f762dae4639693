"""clients/node: its own tests against what Python says, and the package as one installs it.

No Node, or no way to its packages, fails these tests: parity that nobody measured is how the two
runtimes came to disagree before.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import webcam_ml
from webcam_ml.export._meta import OLDEST_RUNTIMES
from webcam_ml.scoring import Scorer
from webcam_ml_tests.integration.node_cases import write_cases
from webcam_ml_tests.integration.node_client import CLIENT, build_client, run
from webcam_ml_tests.scoring.corpus import real_photo
from webcam_ml_tests.scoring.pictures import encoded
from webcam_ml_tests.stores.earlier import V0_1

DOCUMENT = CLIENT.parents[1] / "docs" / "runtime.md"
LIVE = V0_1 / "artifacts" / "production" / "binary" / "model.onnx"


def package(name: str = "package.json") -> dict[str, Any]:
    described: dict[str, Any] = json.loads((CLIENT / name).read_text())
    return described


def test_the_packages_own_tests_pass(tmp_path: Path) -> None:
    build_client()
    write_cases(tmp_path)

    said = run(
        ["node", "--test", "--test-reporter=tap", "build/test/"],
        folder=CLIENT,
        what="tests of clients/node fail",
        variables={"WEBCAM_ML_CASES": str(tmp_path)},
    )

    counts = dict(re.findall(r"^# (\w+) (\d+)$", said, re.M))
    assert int(counts["tests"]) > 200
    assert counts["pass"] == counts["tests"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder into which the packed package was installed, with the oldest that it allows."""
    build_client()
    folder = tmp_path_factory.mktemp("installed")
    (tarball,) = json.loads(
        run(
            ["npm", "pack", "--json", "--ignore-scripts", "--pack-destination", str(folder)],
            folder=CLIENT,
            what="npm pack failed",
        )
    )
    oldest = [
        f"{name}@{wanted.split()[0].removeprefix('>=')}"
        for name, wanted in package()["dependencies"].items()
    ]
    run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund",
         f"./{tarball['filename']}", *oldest],
        folder=folder,
        what="the packed package cannot be installed",
    )  # fmt: skip
    return folder


def test_the_packed_package_scores_with_the_oldest_that_it_allows_as_its_readme_shows(
    installed: Path,
) -> None:
    (lines,) = re.findall(r"^```js\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.M | re.S)
    (installed / "score.mjs").write_text(lines)
    (installed / "picture.jpg").write_bytes(encoded(real_photo(0), quality=90))
    (installed / "other.jpg").write_bytes(b"no picture")

    one, many, skipped = run(
        ["node", "score.mjs"],
        folder=installed,
        what="the lines of clients/node/README.md fail",
        variables={"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": str(LIVE)},
    ).splitlines()

    expected = Scorer.of_model(LIVE).score(installed / "picture.jpg").to_dict()
    score = json.loads(one)
    assert score == json.loads(many)
    assert score.keys() == expected.keys()
    assert score["modelVersion"] == expected["modelVersion"]
    assert score["rawScore"] == pytest.approx(expected["rawScore"], abs=1e-4)
    assert skipped.startswith("skipped: not_an_image")


def test_the_package_is_types_code_and_readme_and_nothing_else(installed: Path) -> None:
    shipped = installed / "node_modules" / package()["name"]
    names = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    modules = {path.stem for path in (CLIENT / "src").glob("*.ts")}

    assert names == {
        "package.json",
        "README.md",
        *(f"build/src/{name}{suffix}" for name in modules for suffix in (".js", ".d.ts")),
    }


def test_versions_are_those_of_the_project_and_of_the_document() -> None:
    described, locked = package(), package("package-lock.json")["packages"]

    assert described["version"] == webcam_ml.__version__
    least = OLDEST_RUNTIMES["onnxruntime-node"]
    assert described["dependencies"]["onnxruntime-node"].startswith(f">={least}.")
    for package_name, oldest in OLDEST_RUNTIMES.items():
        assert f"{package_name} {oldest}" in DOCUMENT.read_text()
    for package_name in described["dependencies"]:
        version = locked[f"node_modules/{package_name}"]["version"]
        assert f"{package_name} {version}" in DOCUMENT.read_text()


def test_the_lock_names_no_host() -> None:
    assert "://" not in re.sub(r'"url": ".*"', "", (CLIENT / "package-lock.json").read_text())
