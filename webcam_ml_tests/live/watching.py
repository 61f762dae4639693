"""What happens while a command watches: one thing at each of its sleeps."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest


def let_happen(monkeypatch: pytest.MonkeyPatch, *things: Callable[[], object]) -> None:
    """Let one thing happen at each sleep of this thread; the last one should end the command."""
    happens: Iterator[Callable[[], object]] = iter(things)
    sleep = time.sleep

    def goes_on(seconds: float) -> None:
        # Threads that other tests left in this process sleep by the same name.
        if threading.current_thread() is threading.main_thread():
            next(happens)()
        else:
            sleep(seconds)

    monkeypatch.setattr("webcam_ml.live._commands.time.sleep", goes_on)


def stop() -> None:
    """End a command as its user does."""
    raise KeyboardInterrupt
