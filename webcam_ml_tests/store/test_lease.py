"""A lease: one at a time, freed when its holder ends, taken over when it is killed."""

import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from webcam_ml.store import FolderBucket, Found, _lease, open_bucket
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


def test_a_holder_that_lives_keeps_it_where_the_bucket_was_away_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client asks again while a server is away; it answers each a little later when it is back."""
    monkeypatch.setattr(_lease, "SECONDS_BETWEEN_BEATS", 0.2)
    monkeypatch.setattr(_lease, "SECONDS_UNTIL_LOST", 2.0)
    is_there = threading.Event()

    class Waiting(FolderBucket):
        waits = 0.0

        def get(self, key: str) -> Found | None:
            if not is_there.is_set():
                is_there.wait()
                time.sleep(self.waits)
            return super().get(key)

    holders, waiters = Waiting(tmp_path), Waiting(tmp_path)
    holders.waits = 0.5
    is_there.set()
    seen: list[str] = []
    with lease(holders, "lease", "the holder", told=print) as is_held:

        def wait() -> None:
            with lease(waiters, "lease", "the next", told=seen.append):
                seen.append("taken")

        next_one = threading.Thread(target=wait)
        next_one.start()
        while not seen:
            time.sleep(0.01)
        is_there.clear()
        time.sleep(3.0)
        is_there.set()
        time.sleep(1.5)
        assert is_held()
        assert set(seen) == {"the holder"}
    next_one.join()
    assert seen[-1] == "taken"


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
