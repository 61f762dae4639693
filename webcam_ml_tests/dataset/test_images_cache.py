"""Images on disk: content decides the name, damage is noticed, and several writers get along."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from webcam_ml.dataset.images import DamagedImageError, ImageCache
from webcam_ml.dataset.images._cache import ImageRecord
from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import ImageError, decode_image
from webcam_ml.store import FolderBucket
from webcam_ml_tests.dataset.images_server import jpeg

PICTURE = jpeg(0)
RECORD = ImageRecord(
    sha256=hashlib.sha256(PICTURE).hexdigest(),
    bytes=len(PICTURE),
    width=32,
    height=24,
    format="JPEG",
)


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path)


def place(root, sha256):
    return root / "images" / sha256[:2] / sha256


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_an_image_lies_under_the_digest_of_its_content(cache, tmp_path):
    sha256 = cache.store(PICTURE)
    assert sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert place(tmp_path, sha256).read_bytes() == PICTURE
    assert cache.read(sha256) == PICTURE


def test_decoding_gives_the_pixels_that_scoring_sees(cache):
    np.testing.assert_array_equal(cache.decode(cache.store(PICTURE)), decode_image(PICTURE))


def test_a_picture_that_an_earlier_version_let_in_is_named_where_it_is_refused(cache):
    sha256 = cache.store(PICTURE[:-2])
    with pytest.raises(ImageError, match=f"{sha256}.*Materialize image_index again") as caught:
        cache.decode(sha256)
    assert caught.value.reason == "truncated"


def test_an_intact_image_is_not_written_again(cache, tmp_path):
    sha256 = cache.store(PICTURE)
    before = place(tmp_path, sha256).stat()
    cache.store(PICTURE)
    after = place(tmp_path, sha256).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    "damaged",
    [b"", PICTURE[:-1], PICTURE + b"\0", PICTURE[:99] + b"?" + PICTURE[100:]],
    ids=["emptied", "truncated", "lengthened", "one byte changed"],
)
def test_damage_is_noticed_on_reading_and_mended_by_storing(cache, tmp_path, damaged):
    sha256 = cache.store(PICTURE)
    place(tmp_path, sha256).write_bytes(damaged)
    with pytest.raises(DamagedImageError, match="materialize image_index"):
        cache.read(sha256)
    with pytest.raises(DamagedImageError):
        cache.decode(sha256)
    cache.store(PICTURE)
    assert cache.read(sha256) == PICTURE


def test_a_missing_image_is_damage_too(cache):
    with pytest.raises(DamagedImageError, match="cannot be read"):
        cache.read("0" * 64)


def test_a_source_is_remembered_as_it_was(cache, tmp_path):
    cache.remember("https://host/ä.jpg", RECORD)
    assert cache.recall("https://host/ä.jpg") == RECORD
    assert ImageCache(tmp_path).recall("https://host/ä.jpg") == RECORD
    assert cache.recall("https://host/other.jpg") is None


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "../../etc/passwd"},
        {"sha256": None},
        {"source": "https://host/other.jpg"},
        {"bytes": "many"},
        {"width": 1.5},
        {"height": True},
        {"format": None},
        {"decoder": "2"},
    ],
)
def test_a_note_that_makes_no_sense_is_as_good_as_none(cache, tmp_path, change):
    cache.remember("https://host/a.jpg", RECORD)
    (note,) = files(tmp_path)
    note.write_text(json.dumps(json.loads(note.read_text()) | change))
    assert cache.recall("https://host/a.jpg") is None


def test_a_note_cut_anywhere_is_as_good_as_none(cache, tmp_path):
    cache.remember("https://host/a.jpg", RECORD)
    (note,) = files(tmp_path)
    whole = note.read_bytes()
    for length in range(len(whole) - 2):  # the last two are the closing brace and a newline
        note.write_bytes(whole[:length])
        assert cache.recall("https://host/a.jpg") is None
    note.write_bytes(b"\xff" + whole)
    assert cache.recall("https://host/a.jpg") is None


def test_leftovers_of_a_killed_run_go_and_the_work_of_a_live_one_stays(cache, tmp_path):
    sha256 = cache.store(PICTURE)
    cache.remember("https://host/a.jpg", RECORD)
    kept = files(tmp_path)
    old, young = [], []
    for path in kept:
        old.append(path.with_name(f".{path.name}.0123.tmp"))
        young.append(path.with_name(f".{path.name}.4567.tmp"))
    two_hours_ago = time.time() - 7200
    for path in old + young + kept:
        path.touch()
    for path in old + kept:
        os.utime(path, (two_hours_ago, two_hours_ago))
    cache.remove_leftovers()
    assert files(tmp_path) == sorted(kept + young)
    assert cache.read(sha256) == PICTURE


def test_removing_leftovers_of_a_cache_that_does_not_exist_yet_does_nothing(tmp_path):
    ImageCache(tmp_path / "none").remove_leftovers()
    assert not (tmp_path / "none").exists()


def test_many_writers_of_the_same_images_leave_each_whole_and_nothing_else(cache, tmp_path):
    pictures = [jpeg(seed) for seed in range(4)]
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(cache.store, pictures * 8))
    assert {path.name for path in files(tmp_path)} == digests
    assert sorted(map(cache.read, digests)) == sorted(pictures)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "images").write_text("a file where a folder should be")
    with pytest.raises(WebcamMLError, match=f"{tmp_path}/images cannot be written"):
        ImageCache(tmp_path).store(PICTURE)


def test_what_one_machine_shares_another_finds_in_the_bucket(tmp_path):
    bucket = FolderBucket(tmp_path / "bucket")
    here, there = (ImageCache(tmp_path / name, remote=bucket) for name in ("here", "there"))
    source = "https://host/1.jpg"
    sha256 = here.store(PICTURE)
    here.remember(source, RECORD)
    assert there.recall(source) is None
    with pytest.raises(DamagedImageError):
        there.read(sha256)
    here.share({source: sha256})
    keys = list(bucket.keys())
    assert len(keys) == 2
    assert f"images/{sha256[:2]}/{sha256}" in keys
    assert there.recall(source) == RECORD
    assert there.read(sha256) == PICTURE
    assert place(tmp_path / "there", sha256).read_bytes() == PICTURE
    bucket.put(f"images/{sha256[:2]}/{sha256}", b"another")
    with pytest.raises(DamagedImageError):
        ImageCache(tmp_path / "third", remote=bucket).read(sha256)
    there.share({source: sha256})
    assert list(bucket.keys()) == keys
