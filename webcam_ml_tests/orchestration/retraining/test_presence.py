"""A mark of presence lasts exactly as long as the process that holds it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.retraining.presence import Presence, at_work, presence
from webcam_ml.store import ArtifactStore

HOLD = (
    "import sys, pathlib\n"
    "from webcam_ml.orchestration.retraining.presence import at_work\n"
    "from webcam_ml.store import ArtifactStore\n"
    "with at_work(ArtifactStore(pathlib.Path(sys.argv[1])), run_id='one'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_a_run_is_at_work_while_one_of_its_processes_is(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    assert presence(store, run_id="one") is Presence.UNKNOWN
    with at_work(store, run_id="one"):
        with at_work(store, run_id="one"), at_work(store, run_id="other"):
            pass
        assert presence(store, run_id="one") is Presence.AT_WORK
        assert presence(store, run_id="other") is Presence.UNKNOWN
    assert presence(store, run_id="one") is Presence.UNKNOWN
    assert not list((store.root / ".runs").iterdir())


def test_a_killed_process_is_told_from_one_that_works_and_swept_away_later(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert presence(store, run_id="one") is Presence.AT_WORK
        (mark,) = (tmp_path / ".runs").iterdir()
        os.utime(mark, (0, 0))
        with at_work(store, run_id="other"):
            assert presence(store, run_id="one") is Presence.AT_WORK
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert presence(store, run_id="one") is Presence.KILLED
    with at_work(store, run_id="one"):
        assert presence(store, run_id="one") is Presence.AT_WORK
    assert presence(store, run_id="one") is Presence.UNKNOWN
    assert not mark.exists()


def test_a_mark_that_ends_while_it_is_looked_at_leaves_none_of_a_killed_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path)
    ended: list[str] = []
    glob = Path.glob

    def process_ends_after_the_listing(folder: Path, pattern: str) -> list[Path]:
        found = list(glob(folder, pattern))
        mark.__exit__(None, None, None)
        ended.extend(path.name for path in found)
        return found

    mark = at_work(store, run_id="one")
    mark.__enter__()
    monkeypatch.setattr(Path, "glob", process_ends_after_the_listing)
    assert presence(store, run_id="one") is Presence.UNKNOWN
    monkeypatch.undo()
    assert len(ended) == 1
    assert presence(store, run_id="one") is Presence.UNKNOWN
    assert not list((tmp_path / ".runs").iterdir())


def test_a_store_that_cannot_hold_a_lock_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with (
        pytest.raises(WebcamMLError, match="WEBCAM_ML_ARTIFACTS"),
        at_work(ArtifactStore(tmp_path / "artifacts"), run_id="one"),
    ):
        pass
