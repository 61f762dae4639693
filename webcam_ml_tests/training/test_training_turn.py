"""One training at a time, between real processes, and freed by the death of its holder."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import ArtifactStore
from webcam_ml.training import training_turn
from webcam_ml_tests.seaweed import BUCKET, S3
from webcam_ml_tests.store.test_bucket import set_environment

SECONDS = 120

# Says when it trains, and goes on until it is told to stop.
TRAINER = """
import logging, sys
from webcam_ml.store import ArtifactStore
from webcam_ml.training import training_turn
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with training_turn(ArtifactStore.at(sys.argv[1]), run_id=sys.argv[2]):
    print("training", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@contextmanager
def trainer(store: Path | str, run_id: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(store), run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stop = threading.Timer(SECONDS, process.kill)
    stop.start()
    try:
        yield process
    finally:
        stop.cancel()
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    """The next line that it says; empty once it is dead."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_in_a_bucket_the_second_waits_on_another_machine(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, s3.settings())
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    monkeypatch.setenv("WEBCAM_ML_MIRROR", str(tmp_path / "one"))
    with trainer(address, "run-a") as first:
        assert line(first) == "training"
        monkeypatch.setenv("WEBCAM_ML_MIRROR", str(tmp_path / "two"))
        with trainer(address, "run-b") as second:
            assert f"waiting for run run-a (process {first.pid} on " in line(second)
            finish(first)
            assert line(first) == "done"
            assert "our turn" in line(second)
            assert line(second) == "training"
            finish(second)
            assert line(second) == "done"


def test_the_second_waits_says_for_whom_and_goes_on_when_the_first_is_done(tmp_path: Path) -> None:
    with trainer(tmp_path, "run-a") as first:
        assert line(first) == "training"
        with trainer(tmp_path, "run-b") as second:
            waiting = line(second)
            assert f"waiting for run run-a (process {first.pid} on " in waiting
            finish(first)
            assert line(first) == "done"
            assert "our turn" in line(second)
            assert line(second) == "training"
            finish(second)
            assert line(second) == "done"


def test_a_killed_holder_frees_the_lock_and_its_note_misleads_nobody(tmp_path: Path) -> None:
    with trainer(tmp_path, "run-a") as first:
        assert line(first) == "training"
        with trainer(tmp_path, "run-b") as second:
            assert "waiting for run run-a" in line(second)
            os.kill(first.pid, signal.SIGKILL)
            assert "our turn" in line(second)
            assert line(second) == "training"
            with trainer(tmp_path, "run-c") as third:
                assert f"waiting for run run-b (process {second.pid} on " in line(third)
                os.kill(second.pid, signal.SIGKILL)
                assert "our turn" in line(third)
                assert line(third) == "training"


def test_the_note_says_who_trains_and_is_gone_afterwards(tmp_path: Path) -> None:
    note = tmp_path / "checkpoint" / "training.json"
    with training_turn(ArtifactStore(tmp_path), run_id="run-a"):
        content = json.loads(note.read_text())
        assert content.pop("since").endswith("+00:00")
        assert content == {"run_id": "run-a", "host": os.uname().nodename, "process": os.getpid()}
    assert not note.exists()


def test_a_training_that_fails_lets_the_next_one_in(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(ZeroDivisionError), training_turn(store, run_id="run-a"):
        _ = 1 / 0
    with training_turn(store, run_id="run-b"):
        pass


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    store = ArtifactStore(tmp_path / "store")
    with (
        pytest.raises(WebcamMLError, match="WEBCAM_ML_ARTIFACTS"),
        training_turn(store, run_id="run-a"),
    ):
        pass
