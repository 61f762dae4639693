"""Programs without their start-up time: a process that has imported everything forks for each run.

Run as a script it is that process. What a fork does is what the program of that name does, with its
own arguments, folder, variables and exit code; it can be killed like any other process, at any
moment. Only the imports are not its own: they cost more than the rest of most runs.
"""

import atexit
import functools
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

import webcam_ml

LIBRARIES = (
    "dagster._cli", "dagster._core.definitions.antlr_asset_selection.antlr_asset_selection",
    "dagster._core.storage.sqlite_storage", "matplotlib.pyplot", "onnx", "onnxruntime", "onnxscript",
    "polars", "psycopg2", "scipy.stats", "sklearn.linear_model", "sklearn.model_selection",
    "sqlalchemy", "torch", "torchvision",
)  # fmt: skip
# What the first wires depends on the command that imports it; Lightning takes seconds, and few need it.
NOT_PRELOADED = {"webcam_ml.definitions", "webcam_ml.training._lightning"}
# What Python reads as it starts, equal for all that is forked. Tests run from a checkout that need not
# be the one that is installed.
AT_START = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    "PYTHONWARNINGS": "ignore:::click.core",
}
# For what takes seconds on an idle machine; a busy one may be many times slower.
SECONDS = 300


@dataclass
class Run:
    """One run of a program, in a process of its own."""

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
        deadline = time.monotonic() + SECONDS
        self.wait_until(lambda: time.monotonic() > deadline)
        if not self._is_over():
            self.kill()
            raise TimeoutError(f"not over after {SECONDS} s: {self.output}")
        return self.server.ask({"status": self.pid})

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait_for(self, text: str) -> None:
        """Return when the log has the text, or the run is over."""
        self.wait_until(lambda: text in self.output)

    def wait_for_bytes(self, size: int) -> None:
        """Return when the log is as long as this, or the run is over."""
        self.wait_until(lambda: len(self.output) >= size)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Return when something is so, or the run is over."""
        while not reached() and not self._is_over():
            time.sleep(0.01)

    def _is_over(self) -> bool:
        return bool(self.server.ask({"over": self.pid}))


class Forks:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "webcam_ml_tests.forking"],
            env=os.environ | AT_START,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def ask(self, request: Mapping[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def start(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        before: str = "",
    ) -> Run:
        """Start a program.

        Args:
            command: Python with a script to run (`-c`), or a program that a package brings, and its
                arguments.
            folder: Working directory.
            environment: All variables; those of `AT_START` have no effect.
            log: Gets stdout and stderr.
            before: Python that the process executes first: the fault.
        """
        request = {
            "command": list(command),
            "folder": str(folder),
            "environment": dict(environment),
            "log": str(log),
            "before": before,
        }
        return Run(self.ask(request), log, self)


@functools.cache
def forks() -> Forks:
    """Give the process that forks for all tests of this process, started by the first that asks."""
    started = Forks()
    atexit.register(started.close)
    return started


def _serve() -> None:
    own = [found.name for found in pkgutil.walk_packages(webcam_ml.__path__, "webcam_ml.")]
    for name in sorted({*LIBRARIES, *own} - NOT_PRELOADED):
        importlib.import_module(name)
    ended: dict[int, int] = {}

    def is_over(pid: int) -> bool:
        if pid not in ended:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                ended[pid] = os.waitstatus_to_exitcode(status)
        return pid in ended

    for line in sys.stdin:
        request = json.loads(line)
        if "over" in request:
            answer = int(is_over(request["over"]))
        elif "status" in request:
            answer = ended[request["status"]]
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
                _run(request["command"])
        print(answer, flush=True)


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
    # What the libraries registered waits for threads that no fork has.
    atexit._clear()
    exec(str(request["before"]), {})


def _run(command: Sequence[str]) -> NoReturn:
    """Do what the interpreter does with a program, from its first line to its exit."""
    code = 1
    try:
        _call(command)
        code = 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException as error:  # noqa: BLE001  the last to see it, like the interpreter
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _call(command: Sequence[str]) -> None:
    program, *arguments = command
    if program == sys.executable:
        option, script, *arguments = arguments
        assert option == "-c"
        sys.argv = [option, *arguments]
        exec(script, {"__name__": "__main__"})
    else:
        (found,) = entry_points(group="console_scripts", name=Path(program).name)
        sys.argv = [program, *arguments]
        sys.exit(found.load()())


if __name__ == "__main__":
    _serve()
