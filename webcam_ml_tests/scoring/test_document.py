"""What docs/runtime.md shows in Python runs as it stands there; Node has its own test."""

import re
from pathlib import Path
from typing import Any

import pytest

from webcam_ml.scoring import Scorer
from webcam_ml_tests.scoring.models import VERSION, tiny_model, write_both, write_model
from webcam_ml_tests.scoring.pictures import HTML, encoded, photograph

DOCUMENT = Path(__file__).parents[2] / "docs" / "runtime.md"


def test_the_python_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both, lines = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    (tmp_path / "picture.jpg").write_bytes(encoded(photograph()))
    write_model(tmp_path, tiny_model())
    write_both(tmp_path / "artifacts" / "production" / "both")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"Scorer": Scorer}
    exec(both, names)
    assert names["result"].score == names["result"].heads["binary"]
    assert set(names["result"].heads) == {"binary", "regression"}
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", "model.onnx")
    monkeypatch.delenv("AI_MODEL_VERSION", raising=False)

    exec(lines, {"files": ["picture.jpg", HTML]})

    one, many, skipped = capsys.readouterr().out.splitlines()
    assert VERSION in one
    assert one.endswith("onnx None")
    assert VERSION in many
    assert skipped.startswith("skipped: not_an_image")
