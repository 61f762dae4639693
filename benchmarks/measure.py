"""Processes that are timed, repeats that alternate, and the row of results that they become."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

REPOSITORY = Path(__file__).resolve().parents[1]
TAIL = 2000


class RowFailed(Exception):  # noqa: N818  # not an error of the runner: a result to show
    """A row could not be measured; the message says why."""


@dataclass(frozen=True)
class Ran:
    """A process that came to its end: how long it took, and what it printed."""

    seconds: float
    output: str


@dataclass(frozen=True)
class Row:
    """One line of the results.

    Attributes:
        name: Key of the row in results.json.
        what: What is measured.
        against: What it is measured against.
        ratio: Median over the repeats; None if the row failed.
        low: Lowest of the repeats, or lower end of an interval where the row says so.
        high: Highest, or upper end.
        target: What the ratio is held against.
        bound: Whether the target is the least or the most that is asked for.
        met: Whether the ratio keeps to the target.
        details: Seconds, bytes, counts: what the ratio was made from.
        error: Why there is no ratio.
    """

    name: str
    what: str
    against: str
    ratio: float | None
    low: float | None
    high: float | None
    target: float
    bound: Literal["at least", "at most"]
    met: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def of_ratios(
        cls,
        ratios: Sequence[float],
        *,
        name: str,
        what: str,
        against: str,
        target: float,
        bound: Literal["at least", "at most"],
        details: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make a row of the ratios of alternating repeats."""
        ratio = statistics.median(ratios)
        return cls(
            name=name,
            what=what,
            against=against,
            ratio=ratio,
            low=min(ratios),
            high=max(ratios),
            target=target,
            bound=bound,
            met=ratio >= target if bound == "at least" else ratio <= target,
            details={"repeats": len(ratios), **(details or {})},
        )

    @classmethod
    def failed(cls, name: str, error: str) -> Self:
        """Make the row of a measurement that failed: it counts as missed."""
        nan = float("nan")
        return cls(name, "", "", None, None, None, nan, "at most", False, {}, error)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a measured process: this checkout, and nothing of the caller's project."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DAGSTER_", "WEBCAM_ML_", "AI_")) and name != "DATABASE_URL"
    }
    own |= {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    return own | dict(extra or {})


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> Ran:
    """Run a process and time it from start to end, imports included.

    Raises:
        RowFailed: It ended with an error, or not in time.
    """
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=child_environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RowFailed(f"not done after {timeout:g} s: {command}") from None
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RowFailed(f"exit code {done.returncode}: {command}\n{done.stdout[-TAIL:]}")
    return Ran(seconds, done.stdout)


def run_module(
    module: str,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Ran:
    """Run a module of this checkout in a process of its own."""
    return run(sys.executable, "-m", module, *arguments, env=env, timeout=timeout)


def told(ran: Ran) -> dict[str, Any]:
    """Read the JSON object on the last line that a measured process printed."""
    told: dict[str, Any] = json.loads(ran.output.strip().splitlines()[-1])
    return told


def tell(**values: object) -> None:
    """Print what `told` reads, with the peak memory of this process."""
    print(json.dumps({**values, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """Peak resident memory of this process since it began (Linux: VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RowFailed("this system does not say how much memory a process took at its peak")


def alternate(
    first: Callable[[], float], second: Callable[[], float], *, repeats: int
) -> list[tuple[float, float]]:
    """Measure two things in turn, A B A B …, so that a busy minute touches both."""
    return [(first(), second()) for _ in range(repeats)]
