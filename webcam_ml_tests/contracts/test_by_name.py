import subprocess
import sys
from pathlib import Path

import pytest

from webcam_ml.contracts import by_name
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BACKBONES
from webcam_ml.judging import _gates
from webcam_ml.labels import LABEL_SOURCES
from webcam_ml_tests.integration.project import REPOSITORY


@pytest.mark.parametrize("entries", [BACKBONES, LABEL_SOURCES], ids=["backbones", "label sources"])
def test_an_entry_that_is_named_like_another_is_refused(entries: dict[str, object]) -> None:
    assert by_name("entries", entries.values()) == entries
    name, entry = next(iter(entries.items()))
    with pytest.raises(WebcamMLError, match=f"two entries are named '{name}': .* another name"):
        by_name("entries", (*entries.values(), entry))


def test_a_gate_that_is_named_like_another_is_refused_by_lint(tmp_path: Path) -> None:
    code = Path(_gates.__file__).read_text(encoding="utf-8")
    last = '    "no_weak_slice": no_weak_slice,\n'
    assert last in code
    copy = tmp_path / "_gates.py"
    copy.write_text(code.replace(last, f'{last}    "matches_torch": no_weak_slice,\n'))
    lint = [sys.executable, "-m", "ruff", "check", "--config", REPOSITORY / "pyproject.toml", copy]
    result = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert 'Dictionary key literal `"matches_torch"` repeated' in result.stdout
