"""Numbers of pictures in the bucket of the store: a machine takes what another one computed."""

import hashlib
import logging
import multiprocessing
import os
import re
import signal
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from webcam_ml.dataset.images import ArrayCache, PictureWork, _array_cache
from webcam_ml.errors import WebcamMLError
from webcam_ml.store import Bucket, FolderBucket, Found, open_bucket
from webcam_ml_tests.seaweed import BUCKET
from webcam_ml_tests.store.test_bucket import set_environment

DIGESTS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(2_500)]
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Nine(PictureWork[Rows]):
    """Nine numbers that follow from the digest."""

    def start(self) -> Callable[[npt.NDArray[np.uint8]], Rows]:
        return lambda digest: np.frombuffer(digest.tobytes(), np.uint8)[:9].astype(np.float32) / 7


@dataclass(frozen=True)
class Pictures:
    """Pictures that are their own digests, and the bucket of the store."""

    remote: Bucket | None
    fails_at: str = ""
    engine = "this test"

    def each(self, work: Nine, digests: Sequence[str]) -> Iterator[tuple[str, Rows]]:
        compute = work.start()
        for digest in digests:
            if digest == self.fails_at:
                raise ValueError("the picture cannot be read")
            yield digest, compute(np.frombuffer(bytes.fromhex(digest), np.uint8))


@dataclass(frozen=True)
class Machine:
    """A machine with a cache of its own."""

    cache: Path
    remote: Bucket | None
    kind: str = "x86"
    fails_at: str = ""

    @property
    def kept(self) -> ArrayCache[np.float32]:
        return ArrayCache(self.cache / "numbers" / "nine.sqlite", np.float32, machine=self.kind)

    def compute(self, digests: Sequence[str] = DIGESTS, anew: Sequence[str] = ()) -> int:
        images = Pictures(self.remote, self.fails_at)
        return self.kept.compute_missing(digests, Nine(), images=images, what="nine", anew=anew)


def expected(digests: Sequence[str] = DIGESTS) -> bytes:
    compute = Nine().start()
    rows = [compute(np.frombuffer(bytes.fromhex(digest), np.uint8)) for digest in digests]
    return np.stack(rows).tobytes()


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    set_environment(monkeypatch, request.getfixturevalue("s3").settings())
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "store")


def test_a_machine_without_rows_computes_none_and_has_equal_bytes(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = open_bucket(address)
    one, two = (Machine(tmp_path / name, bucket) for name in ("one", "two"))
    assert one.compute() == 2_500
    keys = list(bucket.keys())
    assert len(keys) == 3
    kind = hashlib.sha256(b"x86").hexdigest()[:8]
    (folder,) = {key.rpartition("/")[0] for key in keys}
    assert re.fullmatch(rf"rows/numbers/nine/{kind}-[0-9a-f]{{8}}", folder)
    for key in keys:
        found = bucket.get(key)
        assert found is not None
        assert hashlib.sha256(found.data).hexdigest() == key.rpartition("/")[2]
    with caplog.at_level(logging.INFO):
        assert two.compute() == 0
    assert "nine: 0 pictures computed, 2500 reused, 2500 of them from the bucket" in caplog.text
    assert two.kept.rows(DIGESTS).tobytes() == one.kept.rows(DIGESTS).tobytes() == expected()
    # What is there is neither taken nor brought twice.
    assert (one.compute(), two.compute()) == (0, 0)
    assert list(bucket.keys()) == keys


def compute_at(address: str, cache: Path, digests: Sequence[str]) -> int:
    return Machine(cache, open_bucket(address)).compute(digests)


def test_machines_that_compute_at_once_leave_all_rows(address: str, tmp_path: Path) -> None:
    parts = [DIGESTS[:1_700], DIGESTS[800:]]
    with multiprocessing.get_context("spawn").Pool(len(parts)) as pool:
        pool.starmap(
            compute_at,
            [(address, tmp_path / f"machine{i}", part) for i, part in enumerate(parts)],
        )
    third = Machine(tmp_path / "third", open_bucket(address))
    assert third.compute() == 0
    assert third.kept.rows(DIGESTS).tobytes() == expected()


class PowerFails(FolderBucket):
    """A bucket whose machine goes when the second shard is to be written."""

    def put(self, key: str, data: bytes) -> None:
        if any(self.keys()):
            os.kill(os.getpid(), signal.SIGKILL)
        super().put(key, data)


def compute_until_power_fails(store: Path, cache: Path) -> None:
    Machine(cache, PowerFails(store)).compute()


def test_a_kill_between_file_and_bucket_loses_nothing(bucket: FolderBucket, tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(
        target=compute_until_power_fails, args=(bucket.root, tmp_path / "one")
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert len(list(bucket.keys())) == 1
    one, two = (Machine(tmp_path / name, bucket) for name in ("one", "two"))
    had = len(one.kept.read(DIGESTS))
    assert had > 1_900
    assert one.compute() == len(DIGESTS) - had
    assert two.compute() == 0
    assert two.kept.rows(DIGESTS).tobytes() == expected()


def test_rows_from_before_there_was_a_bucket_are_brought_once(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert Machine(tmp_path / name, None).compute() == 2_500
    assert Machine(tmp_path / "one", bucket).compute(DIGESTS[:1_200]) == 0
    assert Machine(tmp_path / "one", bucket).compute() == 0
    keys = list(bucket.keys())
    assert len(keys) == 4
    # This one computed them too, and finds that they are there.
    assert Machine(tmp_path / "two", bucket).compute() == 0
    assert list(bucket.keys()) == keys
    assert Machine(tmp_path / "three", bucket).compute() == 0


def test_a_bucket_that_was_emptied_and_another_one_get_all_rows(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    one = Machine(tmp_path / "one", bucket)
    one.compute()
    keys = list(bucket.keys())
    for key in keys:
        bucket.delete(key)
    another = FolderBucket(tmp_path / "another")
    for place in (bucket, another):
        assert Machine(tmp_path / "one", place).compute() == 0
        assert len(list(place.keys())) == len(keys)
        assert Machine(tmp_path / f"reader-{place.root.name}", place).compute() == 0


def test_damaged_and_foreign_shards_are_left_out_and_their_rows_computed(
    bucket: FolderBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Machine(tmp_path / "one", bucket).compute(DIGESTS[:2_000])
    first, second = bucket.keys()
    found = bucket.get(first)
    assert found is not None
    bucket.put(first, found.data[:-1] + bytes([found.data[-1] ^ 1]))
    folder = first.rpartition("/")[0]
    # Each has the right name: rows of something else, of another number of rows, and no rows.
    foreign = [found.data.replace(b"/nine", b"/none"), found.data + b"\0", b"{}", b""]
    for data in foreign:
        bucket.put(f"{folder}/{hashlib.sha256(data).hexdigest()}", data)
    two = Machine(tmp_path / "two", bucket)
    assert two.compute(DIGESTS[:2_000]) == 1_000
    assert f"{1 + len(foreign)} shards of nine in {bucket.address}/{folder}" in caplog.text
    assert two.kept.rows(DIGESTS[:2_000]).tobytes() == expected(DIGESTS[:2_000])
    # It computed the same rows in the same shard, which is whole by that.
    assert bucket.get(first) == found
    assert Machine(tmp_path / "three", bucket).compute(DIGESTS[:2_000]) == 0
    assert bucket.get(second) is not None


def test_rows_of_another_kind_of_machine_are_not_taken(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    Machine(tmp_path / "one", bucket).compute(DIGESTS[:100])
    other = Machine(tmp_path / "two", bucket, kind="arm")
    assert other.compute(DIGESTS[:100]) == 100
    assert Machine(tmp_path / "two", bucket).compute(DIGESTS[:100]) == 0
    assert Machine(tmp_path / "three", bucket, kind="arm").compute(DIGESTS[:100]) == 0
    # Nor if its shards lie where those of this kind belong.
    (here, there) = (
        key for key in sorted(bucket.keys(), key=lambda key: "arm" in str(bucket.get(key)))
    )
    found = bucket.get(there)
    assert found is not None
    bucket.delete(here)
    bucket.put(f"{here.rpartition('/')[0]}/{there.rpartition('/')[2]}", found.data)
    assert Machine(tmp_path / "four", bucket).compute(DIGESTS[:100]) == 100


def test_what_is_computed_anew_is_compared_with_what_came_and_not_brought_twice(
    bucket: FolderBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (Machine(tmp_path / name, bucket) for name in ("one", "two"))
    one.kept.keep({DIGESTS[0]: np.zeros(9, np.float32)})
    assert one.compute(DIGESTS[:50]) == 49
    assert two.compute(DIGESTS[:50], anew=DIGESTS[:2]) == 2
    assert f"{DIGESTS[0]} is not what the picture gives" in caplog.text
    assert DIGESTS[1] not in caplog.text
    assert two.kept.rows(DIGESTS[:50]).tobytes() == expected(DIGESTS[:50])
    keys = list(bucket.keys())
    two.compute(DIGESTS[:50], anew=DIGESTS[:2])
    assert list(bucket.keys()) == keys


def test_a_bucket_that_cannot_be_used_stops_the_run_and_keeps_what_was_computed(
    tmp_path: Path,
) -> None:
    one = Machine(tmp_path / "one", Full(tmp_path / "store"))
    with pytest.raises(WebcamMLError, match="the bucket is full"):
        one.compute()
    assert len(one.kept.read(DIGESTS)) >= 1_000


@pytest.mark.parametrize("changed", ["numpy", "pillow", "simplejpeg", "scipy", "decoder"])
def test_rows_of_other_libraries_are_neither_taken_nor_brought_as_those_of_these(
    bucket: FolderBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    one = Machine(tmp_path / "one", bucket)
    one.compute(DIGESTS[:100])
    with monkeypatch.context() as upgraded:
        if changed == "decoder":
            upgraded.setattr(_array_cache, "DECODER_VERSION", 99)
        else:
            version = metadata.version
            upgraded.setattr(
                metadata, "version", lambda name: "99.0" if name == changed else version(name)
            )
        # A cache that is kept goes on with its rows, and brings what is computed from now on.
        assert one.compute(DIGESTS[:100]) == 0
        assert one.compute(DIGESTS[:110]) == 10
        assert Machine(tmp_path / "two", bucket).compute(DIGESTS[:110]) == 100
        assert Machine(tmp_path / "three", bucket).compute(DIGESTS[:110]) == 0
        keys = list(bucket.keys())
        assert (len(keys), len({key.rpartition("/")[0] for key in keys})) == (3, 2)
    assert Machine(tmp_path / "four", bucket).compute(DIGESTS[:110]) == 10
    # Nor if its shards lie where those of these libraries belong.
    here, *_, there = sorted(bucket.keys(), key=lambda key: "99" in str(bucket.get(key)))
    found = bucket.get(there)
    assert found is not None
    for key in list(bucket.keys()):
        bucket.delete(key)
    bucket.put(f"{here.rpartition('/')[0]}/{there.rpartition('/')[2]}", found.data)
    assert Machine(tmp_path / "five", bucket).compute(DIGESTS[:110]) == 110


@pytest.mark.parametrize("table", ["sharded", "shards"])
def test_a_cache_whose_notes_of_shards_are_damaged_is_set_aside(
    bucket: FolderBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    one = Machine(tmp_path / "one", bucket)
    one.compute()
    path = one.kept.path
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ((size,),) = connection.execute("PRAGMA page_size")
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        ((page,),) = connection.execute(query, (table,))
    data = bytearray(path.read_bytes())
    data[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(WebcamMLError, match=r"nine\.sqlite was damaged .* run it again"):
        one.compute()
    assert "is damaged (database disk image is malformed): moved to" in caplog.text
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == data
    assert one.compute() == 0  # they come from the bucket
    assert one.kept.rows(DIGESTS).tobytes() == expected()


def test_what_was_computed_before_an_error_is_kept_and_brought(
    bucket: FolderBucket, tmp_path: Path
) -> None:
    # Neither a full commit nor a full shard: some rows are in memory alone, some in the file alone.
    one = Machine(tmp_path / "one", bucket, fails_at=DIGESTS[1_130])
    with pytest.raises(ValueError, match="cannot be read"):
        one.compute()
    assert one.kept.read(DIGESTS).keys() == set(DIGESTS[:1_130])
    two = Machine(tmp_path / "two", bucket)
    assert two.compute() == len(DIGESTS) - 1_130
    assert two.kept.rows(DIGESTS).tobytes() == expected()


class Full(FolderBucket):
    """A bucket into which nothing goes."""

    def put(self, key: str, data: bytes) -> None:
        raise WebcamMLError("the bucket is full")


def test_the_first_error_is_told_where_the_bucket_fails_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Machine(tmp_path / "one", Full(tmp_path / "store"), fails_at=DIGESTS[130])
    with pytest.raises(ValueError, match="cannot be read"):
        one.compute()
    assert "could not be kept: the bucket is full" in caplog.text
    assert one.kept.read(DIGESTS).keys() == set(DIGESTS[:130])
    # The next run brings them.
    bucket = FolderBucket(tmp_path / "store")
    assert replace(one, remote=bucket, fails_at="").compute(DIGESTS[:130]) == 0
    assert Machine(tmp_path / "two", bucket).compute(DIGESTS[:130]) == 0


def test_a_shard_that_goes_while_it_is_read_is_left_out(
    bucket: FolderBucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Cleaned(FolderBucket):
        def get(self, key: str) -> Found | None:
            return None if key == gone else super().get(key)

    Machine(tmp_path / "one", bucket).compute()
    gone = max(bucket.keys(), key=lambda key: len(bucket.get(key).data))
    two = Machine(tmp_path / "two", Cleaned(bucket.root))
    assert two.compute() == 1_000
    assert "1 shards of nine" in caplog.text
    assert "are gone or damaged" in caplog.text
    assert two.kept.rows(DIGESTS).tobytes() == expected()
