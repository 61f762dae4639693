"""Loading the definitions stays cheap: every process that Dagster starts pays for it."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import webcam_ml
from webcam_ml.orchestration import values

HEAVY = {
    "torch", "torchvision", "onnx", "onnxruntime", "sklearn", "scipy", "matplotlib", "pandas",
    "polars", "numpy", "PIL", "sqlalchemy", "psycopg2", "httpx", "httpcore", "fsspec", "jinja2", "tqdm",
}  # fmt: skip


def heavy_libraries_after(statement: str) -> set[str]:
    script = f"""
import json, sys
{statement}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return HEAVY.intersection(json.loads(ran.stdout))


def test_loading_the_definitions_loads_no_heavy_library_that_dagster_does_not() -> None:
    loaded = heavy_libraries_after("import webcam_ml.definitions")

    assert loaded <= heavy_libraries_after("import dagster")


def test_scoring_on_the_command_line_loads_the_runtime_and_no_database_nor_frames() -> None:
    loaded = heavy_libraries_after("import webcam_ml.cli")

    assert loaded <= {"numpy", "PIL", "onnxruntime"}


@pytest.mark.parametrize(
    "package",
    [
        str(stub.parent.relative_to(Path(webcam_ml.__file__).parents[1])).replace("/", ".")
        for stub in Path(webcam_ml.__file__).parent.rglob("__init__.pyi")
    ],
)
def test_every_name_that_a_package_promises_can_be_had(package: str) -> None:
    module = import_module(package)

    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("name", sorted(set(values.__all__) - {"value_type"}))
def test_the_stand_in_that_dagster_sees_names_the_class_that_a_type_checker_sees(name: str) -> None:
    stand_in = getattr(values, name)
    resolved = values.value_type(stand_in)

    assert resolved.__name__ == name == stand_in.__name__
    assert isinstance(object.__new__(resolved), stand_in)
    assert not isinstance(object(), stand_in)
