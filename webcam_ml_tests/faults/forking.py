"""Full runs without their start-up time: a process that has imported everything forks for each run.

Run as a script it is that process. What a fork does is the real `dagster asset materialize`, on an
instance and a store of its own; it can be killed like any other process, at any moment.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

PRELOADED = (
    "matplotlib.pyplot", "onnx", "onnxruntime", "onnxscript", "psycopg2", "scipy.stats",
    "sklearn.linear_model", "sklearn.model_selection", "sqlalchemy", "torch", "torchvision",
    "webcam_ml.definitions", "webcam_ml.disagreement", "webcam_ml.evaluation", "webcam_ml.export",
    "webcam_ml.judging", "webcam_ml.live", "webcam_ml.training",
)  # fmt: skip


@dataclass
class Run:
    """One run of the command line, in a process of its own."""

    pid: int
    log: Path
    server: "Forks"

    @property
    def output(self) -> str:
        if not self.log.exists():
            return ""
        return self.log.read_text(errors="replace")

    def wait(self) -> int:
        """Give the exit code, or minus the number of the signal that ended it."""
        return int(self.server.ask({"wait": self.pid})["status"])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait_for(self, text: str) -> None:
        """Return when the log has the text, or the run is over."""
        self._wait_until(lambda: text in self.output)

    def wait_for_bytes(self, size: int) -> None:
        """Return when the log is as long as this, or the run is over."""
        self._wait_until(lambda: len(self.output) >= size)

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            if self.server.ask({"poll": self.pid})["over"]:
                return
            time.sleep(0.01)


class Forks:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def ask(self, request: Mapping[str, object]) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        before: str = "",
    ) -> Run:
        """Start `dagster` with these arguments.

        Args:
            arguments: What follows the program's name.
            folder: Working directory.
            environment: All variables.
            log: Gets stdout and stderr.
            before: Python that the process executes first: the fault.
        """
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "log": str(log),
            "before": before,
        }
        return Run(self.ask(request)["pid"], log, self)


def _serve() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    ended: dict[int, int] = {}

    def reap(pid: int, flags: int) -> bool:
        if pid not in ended:
            found, status = os.waitpid(pid, flags)
            if found:
                ended[pid] = os.waitstatus_to_exitcode(status)
        return pid in ended

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            reap(request["wait"], 0)
            answer = {"status": ended[request["wait"]]}
        elif "poll" in request:
            answer = {"over": int(reap(request["poll"], os.WNOHANG))}
        else:
            pid = os.fork()
            if pid == 0:
                _become(request)
                _dagster(request["arguments"])
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


def _dagster(arguments: Sequence[str]) -> NoReturn:
    """Run the command line; what would run at exit waits for threads that no fork has."""
    from dagster._cli import main

    sys.argv = ["dagster", *arguments]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        if not isinstance(sys.exc_info()[1], SystemExit | None):
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(request: Mapping[str, object]) -> None:
    os.chdir(str(request["folder"]))
    os.environ.clear()
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(request["log"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    exec(str(request["before"]), {})


if __name__ == "__main__":
    _serve()
