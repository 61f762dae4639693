"""The lines that long work writes where there is no terminal."""

import inspect
import logging
import threading
import time
from collections.abc import Iterator

import pytest
from dagster import AssetsDefinition

from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.progress import never_silent, track


def test_what_the_first_item_took_to_start_is_not_foretold_of_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = 0.0
    monkeypatch.setattr("webcam_ml.progress.time.monotonic", lambda: clock)
    monkeypatch.setattr("webcam_ml.progress.sys.stderr.isatty", lambda: False)

    def work() -> Iterator[int]:
        nonlocal clock
        for item in range(101):
            # One second each, after half a minute of starting.
            clock += 31 if item == 0 else 1
            yield item

    with caplog.at_level(logging.INFO):
        assert list(track(work(), total=101, what="drawing", unit="pictures")) == [*range(101)]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "drawing: 5 of 101 pictures, 1.0/s, about 96 s left"
    assert lines[1] == "drawing: 9 of 101 pictures, 1.0/s, about 92 s left"


def lines_of(records: list[logging.LogRecord]) -> list[str]:
    return [one.getMessage() for one in records if one.name == "webcam_ml.progress"]


def test_work_without_lines_of_its_own_is_said_to_go_on_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = True
    monkeypatch.setattr("webcam_ml.progress.sys.stderr.isatty", lambda: terminal)
    package, handlers = (
        logging.getLogger("webcam_ml"),
        list(logging.getLogger("webcam_ml").handlers),
    )
    with caplog.at_level(logging.INFO):
        with never_silent(0.02):
            time.sleep(0.1)
        assert lines_of(caplog.records) == []
        terminal = False
        with never_silent(0.02):
            deadline = time.monotonic() + 30
            while len(lines_of(caplog.records)) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
        found = lines_of(caplog.records)
        assert len(found) >= 2
        assert all(line.startswith("still working, ") for line in found)
        # What says something itself is not interrupted, and nothing is left behind.
        caplog.clear()
        with never_silent(30):
            package.info("a line")
        assert lines_of(caplog.records) == []
    assert package.handlers == handlers
    assert "never_silent" not in {one.name for one in threading.enumerate()}


class Watched(BaseException):
    """Somebody began to watch."""


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.op.name)
def test_no_asset_works_in_silence(
    asset: AssetsDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def began() -> None:
        raise Watched

    monkeypatch.setattr("webcam_ml.orchestration.failures.never_silent", began)
    function = asset.op.compute_fn.decorated_fn
    with pytest.raises(Watched):
        function(*inspect.signature(function).parameters)
