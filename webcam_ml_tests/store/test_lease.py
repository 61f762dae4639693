"""A lease: one at a time, freed when its holder ends, taken over when it is killed."""

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from webcam_ml.store import _lease, open_bucket
from webcam_ml.store._lease import lease
from webcam_ml_tests.seaweed import BUCKET

HOLD = """
import sys, time
from webcam_ml.store import open_bucket, _lease
_lease.SECONDS_BETWEEN_BEATS = 0.1
with _lease.lease(open_bucket(sys.argv[1]), "lease", "the one that dies", told=print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_lease, "SECONDS_BETWEEN_BEATS", 0.1)
    monkeypatch.setattr(_lease, "SECONDS_UNTIL_LOST", 3.0)
    if request.param == "folder":
        return str(tmp_path / "store")
    for name, value in request.getfixturevalue("s3").settings().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def test_one_at_a_time(place: str) -> None:
    inside: list[str] = []
    overlaps: list[str] = []

    def work(name: str) -> None:
        with lease(open_bucket(place), "lease", name, told=lambda _: None) as is_held:
            overlaps.extend(inside)
            inside.append(name)
            time.sleep(0.15)
            assert is_held()
            inside.remove(name)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert overlaps == []


def test_a_holder_that_lives_keeps_it_and_one_that_is_killed_loses_it(place: str) -> None:
    dying = subprocess.Popen([sys.executable, "-c", HOLD, place], stdout=subprocess.PIPE, text=True)
    assert dying.stdout is not None
    assert dying.stdout.readline() == "held\n"
    seen: list[str] = []
    began = time.monotonic()

    def told(holder: str) -> None:
        seen.append(holder)
        # Longer than an entry may stay as it is: this one is renewed.
        if time.monotonic() - began > 4.0 and dying.poll() is None:
            dying.kill()

    with lease(open_bucket(place), "lease", "the heir", told=told) as is_held:
        assert dying.poll() is not None
        assert is_held()
    dying.communicate()
    assert set(seen) == {"the one that dies"}


def test_who_was_taken_over_is_told(place: str) -> None:
    bucket = open_bucket(place)
    with lease(bucket, "lease", "first", told=print) as is_held:
        while True:
            found = bucket.get("lease")
            assert found is not None
            if bucket.swap("lease", b'{"holder": "another", "token": "x"}', found.tag):
                break
        while is_held():
            time.sleep(0.05)
    found = bucket.get("lease")
    assert found is not None
    assert b"another" in found.data
