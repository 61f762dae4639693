"""The lines that long work writes where there is no terminal."""

import logging
from collections.abc import Iterator

import pytest

from webcam_ml.progress import track


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
    assert lines[0] == "drawing: 11 of 101 pictures, 1.0/s, about 90 s left"
    assert lines[1] == "drawing: 21 of 101 pictures, 1.0/s, about 80 s left"
