"""Processes that write at once, some of them killed: exactly one wins each, and none is lost."""

import hashlib
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from webcam_ml.store import open_bucket
from webcam_ml_tests.seaweed import BUCKET
from webcam_ml_tests.store.racer import CHAIN

PROCESSES = 4


@dataclass(frozen=True)
class Outcome:
    """What the processes said, and what is there."""

    won: Counter[int]
    added: list[str]
    chain: list[str]
    is_whole: bool
    versions: dict[int, str]
    killed: int


def race(address: str, count: int, *, careful: bool = True, kill: int = 0) -> Outcome:
    """Let processes race; the first `kill` of them are killed in the middle."""
    racing = [
        subprocess.Popen(
            [sys.executable, "-m", "webcam_ml_tests.store.racer", address, str(number),
             str(PROCESSES), str(count), "careful" if careful else "careless"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    said: list[list[list[str]]] = []
    for one in racing:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in racing:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for number, one in enumerate(racing):
        assert one.stdout is not None
        lines = []
        for line in one.stdout:
            if line == "done\n":
                break
            lines.append(line.split())
            if number < kill and len(lines) > count // 8:
                one.kill()
        said.append(lines)
        if number < kill:
            one.kill()
        one.communicate()  # the others end when their input does
        assert (one.returncode != 0) == (number < kill)
    bucket = open_bucket(address)
    found = bucket.get(CHAIN)
    assert found is not None
    lines_there = found.data.splitlines(keepends=True)
    whole = all(
        line.split()[1].decode() == hashlib.sha256(b"".join(lines_there[:number])).hexdigest()
        for number, line in enumerate(lines_there)
    )
    versions = {}
    for key in bucket.keys("versions"):
        version = bucket.get(key)
        assert version is not None
        versions[int(key.split("/")[1])] = version.data.decode()
    facts = [fact for lines in said for fact in lines]
    return Outcome(
        won=Counter(int(what) for fact, what in facts if fact == "won"),
        added=[what for fact, what in facts if fact == "added"],
        chain=[line.split()[0].decode() for line in lines_there],
        is_whole=whole,
        versions=versions,
        killed=kill,
    )


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    for name, value in request.getfixturevalue("s3").settings().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.mark.parametrize("each", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_exactly_one_wins_each_and_none_is_lost(place: str, each: int) -> None:
    found = race(place, each, kill=2)
    # A killed process may have written without having had the time to say so.
    assert sorted(found.versions) == list(range(each))
    assert all(times == 1 for times in found.won.values())
    assert each - len(found.won) <= found.killed
    assert found.is_whole
    assert len(found.chain) == len(set(found.chain))
    assert set(found.added) <= set(found.chain)
    assert len(found.chain) - len(found.added) <= found.killed


def test_without_conditions_some_are_lost(place: str) -> None:
    """The control: so the test above can fail."""
    found = race(place, 100, careful=False)
    assert len(found.added) == 100
    assert set(found.added) - set(found.chain)
