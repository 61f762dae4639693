"""The process that scores what is compared: it answers in time or is ended."""

import hashlib
from pathlib import Path

import pytest

from webcam_ml.judging._runtime import ModelFile, RuntimeFailedError, RuntimeProcess
from webcam_ml_tests.scoring.models import VERSION, write_model
from webcam_ml_tests.scoring.pictures import encoded, photograph
from webcam_ml_tests.scoring.test_model import endless_model


def test_a_model_that_never_answers_is_ended_with_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webcam_ml.judging._runtime.ANSWER_SECONDS", 5.0)
    path = write_model(tmp_path / "live", endless_model())
    model = ModelFile(path, VERSION, hashlib.sha256(path.read_bytes()).hexdigest())

    with RuntimeProcess(model) as runtime:
        for _ in range(2):  # the second is not asked
            with pytest.raises(RuntimeFailedError, match="gave up: no answer after 5 seconds"):
                runtime.raw_scores([encoded(photograph())])
