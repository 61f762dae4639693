"""From sources to the index: what is counted, what is kept, what stops a run, what is asked twice."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager
from io import BytesIO

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webcam_ml.dataset.images import (
    ImageCache,
    ImageFetchError,
    ImageIndex,
    ImageSettings,
    build_image_index,
    fetch_bytes,
)
from webcam_ml.dataset.images._cache import ImageRecord
from webcam_ml.errors import WebcamMLError
from webcam_ml_tests.dataset.images_server import (
    body,
    cut_short,
    drip_body,
    in_turn,
    jpeg,
    running_server,
    silence,
    status,
)

HTML = b"<!DOCTYPE html><html><body>Camera offline</body></html>"
COLUMNS = ["snapshot_id", "source", "status", "error"]
COLUMNS += ["sha256", "bytes", "width", "height", "format"]


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache")


def table(sources):
    """Number the sources from 1 as snapshots of one webcam, in the columns of a manifest."""
    return pl.DataFrame(
        {
            "snapshot_id": range(1, len(sources) + 1),
            "webcam_id": [7] * len(sources),
            "image_path_or_url": [str(source) for source in sources],
            "captured_at": [None] * len(sources),
        },
        schema_overrides={"captured_at": pl.String},
    )


def build(sources, cache, **settings):
    defaults = {"allow_private_addresses": True, "attempts": 1, "max_failed_fraction": 0.99}
    return build_image_index(
        table(sources), cache=cache, settings=ImageSettings(**(defaults | settings))
    )


def outcomes(index):
    """Each snapshot's status, with the reason where it failed."""
    return [error or status for status, error in index.frame.select("status", "error").iter_rows()]


def pictures(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(jpeg(seed))
    return paths


def png(width, height):
    file = BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def closed_too_early(jpeg):
    """Half of a picture, with an end marker."""
    return jpeg[: jpeg.rindex(b"\xff\xda") + 60] + b"\xff\xd9"


def saved(index, folder):
    folder.mkdir()
    index.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_kind_of_source_gives_the_same_image(server, cache, tmp_path):
    (path,) = pictures(tmp_path / "a b", 1)
    content = path.read_bytes()
    fsspec.filesystem("memory").pipe("/webcams/a.jpg", content)
    sources = [path, path.as_uri(), server.add("/a.jpg", body(content)), "memory://webcams/a.jpg"]
    index = build(sources, cache)
    assert index.frame.columns == COLUMNS
    expected = (hashlib.sha256(content).hexdigest(), len(content), 32, 24, "JPEG")
    for number, row in enumerate(index.frame.iter_rows()):
        assert row == (number + 1, str(sources[number]), "ok", None, *expected)
    assert cache.read(expected[0]) == content
    for source in sources:
        assert fetch_bytes(source, ImageSettings(allow_private_addresses=True)) == content


def test_rows_are_ordered_by_snapshot_whatever_the_order_of_the_input(cache, tmp_path):
    rows = table(pictures(tmp_path / "p", 5))
    shuffled = rows.sample(fraction=1, shuffle=True, seed=3)
    index, other = (
        build_image_index(either, cache=cache, settings=ImageSettings())
        for either in (rows, shuffled)
    )
    assert index.frame.equals(other.frame)
    assert index.frame["snapshot_id"].to_list() == [1, 2, 3, 4, 5]


def test_relative_paths_belong_to_the_working_folder(cache, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    for seed, folder in enumerate((first, second)):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(jpeg(seed))
        os.utime(folder / "a.jpg", ns=(0, 0))
    digests = set()
    for folder in (first, second):
        monkeypatch.chdir(folder)
        digests.add(build(["a.jpg"], cache).frame["sha256"].item())
    assert len(digests) == 2


def test_every_way_to_fail_has_its_own_reason(server, cache, tmp_path):
    good, huge = jpeg(0), png(8000, 5000)
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.jpg").write_bytes(good[:-100])
    (tmp_path / "huge.png").write_bytes(huge)
    (tmp_path / "long.jpg").write_bytes(good + bytes(100_000))
    ways = {
        server.add("/good.jpg", body(good)): "ok",
        server.add("/dead.jpg", status(404)): "not_found",
        server.add("/html.jpg", body(HTML, kind="text/html")): "not_an_image",
        server.add("/denied.jpg", status(403)): "access_denied",
        server.add("/broken.jpg", status(500)): "server_error",
        server.add("/cut.jpg", body(good[:-100])): "truncated",
        server.add("/hung-up.jpg", cut_short(good[:-100], len(good))): "incomplete_download",
        server.add("/huge.png", body(huge)): "too_many_pixels",
        server.add("/long.jpg", cut_short(b"", 10**9)): "too_many_bytes",
        "http://[broken/a.jpg": "unsupported_source",
        "nonsense://a/b.jpg": "unsupported_source",
        "zip://a.jpg::memory://b.zip": "unsupported_source",
        "memory://webcams/missing.jpg": "not_found",
        str(tmp_path / "missing.jpg"): "not_found",
        str(tmp_path / "cut.jpg" / "below-a-file.jpg"): "not_found",
        str(tmp_path / "empty.jpg"): "empty",
        str(tmp_path / "cut.jpg"): "truncated",
        str(tmp_path / "huge.png"): "too_many_pixels",
        str(tmp_path / "long.jpg"): "too_many_bytes",
        str(tmp_path): "not_a_file",
        str(fifo): "not_a_file",
        "/dev/zero": "not_a_file",
        "nul\0byte.jpg": "unsupported_source",
        "": "not_a_file",
    }
    for _ in range(2):  # what is cached changes no outcome
        index = build(list(ways), cache, max_bytes=50_000)
        assert dict(zip(ways, outcomes(index), strict=True)) == ways
    failed = index.failed()
    assert (
        failed.select("sha256", "bytes", "width", "height", "format")
        .null_count()
        .sum_horizontal()
        .item()
        == 5 * failed.height
    )
    assert sum(index.failures_by_reason().values()) == failed.height == len(ways) - 1
    assert index.failures_by_reason()["truncated"] == 2
    assert list(index.failures_by_reason().values()) == sorted(
        index.failures_by_reason().values(), reverse=True
    )
    assert index.failures_by_host()[f"127.0.0.1:{server.server_port}"] == 8
    assert index.usable()["source"].to_list() == [server.url("/good.jpg")]


def test_images_that_never_come_are_left_out_and_the_others_are_there(server, cache, tmp_path):
    never = [server.add("/silent.jpg", silence), server.add("/drip.jpg", drip_body(jpeg(0)))]
    index = build([*pictures(tmp_path / "p", 2), *never], cache, timeout_seconds=0.4)
    assert outcomes(index) == ["ok", "ok", "timeout", "timeout"]


def test_a_source_of_several_snapshots_is_fetched_once(server, cache):
    url = server.add("/a.jpg", body(jpeg(0)))
    index = build([url] * 20, cache)
    assert outcomes(index) == ["ok"] * 20
    assert server.requests == {"/a.jpg": 1}


def test_what_succeeded_is_never_fetched_again_and_what_failed_is(server, cache):
    late = in_turn(status(404), body(jpeg(1)))
    urls = [server.add("/a.jpg", body(jpeg(0))), server.add("/late.jpg", late)]
    assert outcomes(build(urls, cache)) == ["ok", "not_found"]
    assert server.requests == {"/a.jpg": 1, "/late.jpg": 1}
    for _ in range(2):
        assert outcomes(build(urls, cache)) == ["ok", "ok"]
        assert server.requests == {"/a.jpg": 1, "/late.jpg": 2}


def test_a_second_run_decodes_nothing(cache, tmp_path, monkeypatch):
    paths = pictures(tmp_path / "p", 4)
    first = build(paths, cache)

    def decode(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr("webcam_ml.dataset.images._reader.decode_image_with_info", decode)
    assert build(paths, cache).frame.equals(first.frame)


def test_what_an_earlier_decoder_read_is_decoded_once_more(server, cache, tmp_path, monkeypatch):
    """It let damaged pictures pass, which were then trained and tested on without notice."""
    good, damaged = jpeg(0), closed_too_early(jpeg(1))
    (tmp_path / "damaged.jpg").write_bytes(damaged)
    sources = [server.add("/good.jpg", body(good)), tmp_path / "damaged.jpg"]
    sources += [server.add("/damaged.jpg", body(damaged)), server.add("/mended.jpg", body(jpeg(2)))]
    contents = (good, damaged, damaged, damaged)
    for source, content in zip(sources, contents, strict=True):
        record = ImageRecord(cache.store(content), len(content), 32, 24, "JPEG")
        cache.remember(str(source), record)
        note = cache._note_of(str(source))
        old = json.loads(note.read_text())
        old.pop("decoder", None)
        note.write_text(json.dumps(old))

    index = build(sources, cache)

    assert outcomes(index) == ["ok", "damaged", "damaged", "ok"]
    # Nothing is fetched of which the bytes are here and good.
    assert server.requests == {"/damaged.jpg": 1, "/mended.jpg": 1}

    def decode(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr("webcam_ml.dataset.images._reader.decode_image_with_info", decode)
    assert outcomes(build(sources[:1] + sources[3:], cache)) == ["ok", "ok"]
    assert server.requests == {"/damaged.jpg": 1, "/mended.jpg": 1}


def test_an_edited_local_file_is_noticed_and_a_deleted_one_too(cache, tmp_path):
    edited, deleted = pictures(tmp_path / "p", 2)
    before = build([edited, deleted], cache)
    edited.write_bytes(jpeg(9))
    deleted.unlink()
    after = build([edited, deleted], cache)
    assert outcomes(after) == ["ok", "not_found"]
    assert before.frame["sha256"][0] != after.frame["sha256"][0]
    assert after.frame["sha256"][0] == hashlib.sha256(jpeg(9)).hexdigest()


def test_a_note_that_somebody_wrote_does_not_change_what_a_local_file_shows(cache, tmp_path):
    """Notes that led from bad pictures to good ones made a model look better than it was."""
    paths = pictures(tmp_path / "p", 2)
    before = build(paths, cache)
    notes = sorted((tmp_path / "cache" / "images" / "sources").rglob("*.json"))
    one, other = (json.loads(note.read_text()) for note in notes)
    for note, mine, theirs in zip(notes, (one, other), (other, one), strict=True):
        note.write_text(json.dumps(theirs | {"source": mine["source"]}))
    assert build(paths, cache).frame.equals(before.frame)


def test_a_local_file_that_may_not_be_read_any_more_is_not_recalled(cache, tmp_path):
    inside, outside = *pictures(tmp_path / "in", 1), *pictures(tmp_path / "out", 1)
    assert outcomes(build([inside, outside], cache)) == ["ok", "ok"]
    again = build([inside, outside], cache, local_root=str(tmp_path / "in"))
    assert outcomes(again) == ["ok", "outside_local_root"]


@pytest.mark.parametrize("damage", ["change", "remove", "forget"])
def test_a_damaged_cache_is_noticed_and_mended_by_fetching_again(server, cache, tmp_path, damage):
    urls = [server.add(f"/{n}.jpg", body(jpeg(n))) for n in range(3)]
    first = build(urls, cache)
    sha256 = first.frame["sha256"][1]
    image = tmp_path / "cache" / "images" / sha256[:2] / sha256
    if damage == "change":
        image.write_bytes(image.read_bytes()[:-1])
    elif damage == "remove":
        image.unlink()
    else:
        for note in (tmp_path / "cache" / "images" / "sources").rglob("*.json"):
            if sha256 in note.read_text():
                note.write_text("{")
    assert build(urls, cache).frame.equals(first.frame)
    assert server.requests == {"/0.jpg": 1, "/1.jpg": 2, "/2.jpg": 1}
    assert cache.read(sha256) == jpeg(1)


@pytest.mark.parametrize("reason", ["too_many_pixels", "too_many_bytes"])
def test_limits_hold_for_cached_images_as_for_fresh_ones(cache, tmp_path, reason):
    within, beyond = tmp_path / "within.jpg", tmp_path / "beyond.jpg"
    within.write_bytes(jpeg(0))
    beyond.write_bytes(jpeg(0, width=200, height=200))
    limits = {
        "too_many_pixels": {"max_pixels": 200 * 200 - 1},
        "too_many_bytes": {"max_bytes": beyond.stat().st_size - 1},
    }
    assert outcomes(build([within, beyond], cache)) == ["ok", "ok"]
    for either in (cache, ImageCache(tmp_path / "cold")):
        assert outcomes(build([within, beyond], either, **limits[reason])) == ["ok", reason]


def test_too_many_failures_stop_the_run_and_name_reasons_hosts_and_the_setting(server, cache):
    good = [server.add(f"/good-{n}.jpg", body(jpeg(n))) for n in range(7)]
    dead = [server.url(f"/dead-{n}.jpg?token=SECRET") for n in range(2)]
    html = [server.add("/page.jpg", body(HTML, kind="text/html"))]
    with pytest.raises(WebcamMLError) as error:
        build(good + dead + html, cache, max_failed_fraction=0.2)
    said = str(error.value)
    assert "3 of 10 images (30.0%)" in said
    assert "max_failed_fraction 0.2" in said
    assert "2 × not_found" in said
    assert "1 × not_an_image" in said
    assert f"127.0.0.1:{server.server_port} 3" in said
    assert "/dead-0.jpg: HTTP 404" in said
    assert "SECRET" not in said
    # What arrived before the run was stopped is kept.
    requests = server.requests.copy()
    assert outcomes(build(good, cache)) == ["ok"] * 7
    assert server.requests == requests


def test_exactly_the_tolerated_share_is_tolerated_counted_and_told(cache, tmp_path, caplog):
    paths = [*pictures(tmp_path / "p", 4), tmp_path / "q" / "missing.jpg"]
    with caplog.at_level(logging.INFO):
        index = build(paths, cache, max_failed_fraction=0.2)
    assert index.failed_fraction == 0.2
    assert index.failures_by_reason() == {"not_found": 1}
    assert index.failures_by_host() == {str(tmp_path / "q"): 1}
    assert "1 of 5 images are left out" in caplog.text
    assert "4 fetched, 0 from the cache" in caplog.text
    with pytest.raises(WebcamMLError, match="1 of 5 images"):
        build(paths, cache, max_failed_fraction=0.19)


def test_dead_pictures_from_elsewhere_stop_no_run_and_are_counted_apart(cache, tmp_path, caplog):
    paths = pictures(tmp_path / "p", 10)
    dead = [tmp_path / "q" / f"{number}.jpg" for number in range(4)]
    sources = pl.concat(
        [table(paths), table(dead).with_columns(snapshot_id=-pl.col("snapshot_id") - 1)]
    )
    limits = ImageSettings(max_failed_fraction=0.1)
    with caplog.at_level(logging.INFO):
        index = build_image_index(sources, cache=cache, settings=limits)
    assert index.failed_fraction == 0
    assert index.failed().height == index.failed_elsewhere == 4
    assert "4 of 14 images are left out, 4 of them pictures from elsewhere" in caplog.text
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    counts = json.loads((tmp_path / "saved" / "image_index_meta.json").read_text())["counts"]
    assert (counts["failed"], counts["failed_elsewhere"]) == (4, 4)

    for path in paths[:2]:
        path.unlink()
    with pytest.raises(WebcamMLError, match=r"2 of 10 images \(20.0%\).* Nor can 4 of 4") as caught:
        build_image_index(sources, cache=cache, settings=limits)
    assert "max_failed_fraction 0.1 allows fewer" in str(caught.value)
    for path in paths[2:]:
        path.unlink()
    with pytest.raises(WebcamMLError, match="none of the 10 images can be used"):
        build_image_index(sources, cache=cache, settings=limits)


def test_an_index_without_any_image_is_refused_whatever_is_tolerated(cache, tmp_path):
    with pytest.raises(WebcamMLError, match="none of the 2 images can be used"):
        build([tmp_path / "a.jpg", tmp_path / "b.jpg"], cache)
    with pytest.raises(WebcamMLError, match="no snapshots"):
        build([], cache)


def test_addresses_of_the_own_network_need_permission_and_the_error_says_which(server, cache):
    url = server.add("/a.jpg", body(jpeg(0)))
    with pytest.raises(WebcamMLError, match="allow_private_addresses") as error:
        build([url], cache, allow_private_addresses=False)
    assert "1 × forbidden_address" in str(error.value)
    assert not server.requests


@pytest.mark.parametrize("scheme", ["ftp", "webhdfs", "sftp", "smb"])
def test_drivers_that_connect_to_any_host_need_permission_too(scheme):
    with pytest.raises(ImageFetchError) as failure:
        fetch_bytes(f"{scheme}://127.0.0.1/a.jpg", ImageSettings())
    assert failure.value.reason == "forbidden_address"


def test_a_missing_driver_stops_the_run_before_anything_is_fetched(server, cache):
    fsspec.register_implementation(
        "notinstalled", "no_such_package.FileSystem", clobber=True, errtxt="Please install xyzfs"
    )
    sources = [server.add("/a.jpg", body(jpeg(0))), "notinstalled://bucket/a.jpg"]
    with pytest.raises(WebcamMLError, match=r"notinstalled:// .* Please install xyzfs"):
        build(sources, cache)
    assert not server.requests
    with pytest.raises(WebcamMLError, match="Please install xyzfs"):
        fetch_bytes(sources[1], ImageSettings())


class _VendorError(Exception):
    """What the library of some storage vendor raises."""


class _FailingFileSystem(MemoryFileSystem):
    protocol = "failing"

    def cat_file(self, path, start=None, end=None, **kwargs):
        raise _VendorError("quota exceeded")


def test_whatever_a_driver_raises_is_the_failure_of_that_image(cache, tmp_path):
    fsspec.register_implementation("failing", _FailingFileSystem, clobber=True)
    (good,) = pictures(tmp_path / "p", 1)
    index = build([good, "failing://bucket/a.jpg"], cache)
    assert outcomes(index) == ["ok", "storage_error"]
    assert index.failures_by_host() == {"failing://bucket": 1}


def test_a_stored_object_beyond_the_limit_is_refused(cache):
    fsspec.filesystem("memory").pipe("/webcams/b.jpg", jpeg(0))
    with pytest.raises(ImageFetchError) as failure:
        fetch_bytes("memory://webcams/b.jpg", ImageSettings(max_bytes=len(jpeg(0)) - 1))
    assert failure.value.reason == "too_many_bytes"


def test_a_host_that_fails_for_everything_is_given_up_until_the_next_run(server, cache):
    overloaded = status(503, retry_after="0")
    urls = [server.add(f"/{n}.jpg", overloaded) for n in range(40)]
    for run in (1, 2):
        with pytest.raises(WebcamMLError, match="40 × server_error"):
            build(urls, cache, attempts=2, concurrency=1)
        assert server.requests.total() == run * 8 * 2


def test_a_host_that_answers_now_and_then_is_not_given_up(server, cache):
    def every_fifth_request(request, before):
        # 404 is an answer too: the host lives.
        code = 404 if server.requests.total() % 5 == 0 else 503
        status(code)(request, before)

    urls = [server.add(f"/{n}.jpg", every_fifth_request) for n in range(29)]
    urls.append(server.add("/good.jpg", body(jpeg(0))))
    assert outcomes(build(urls, cache, concurrency=1))[-1] == "ok"
    assert server.requests.total() == 30


def test_frames_of_one_dead_camera_do_not_make_its_host_a_dead_one(server, cache):
    broken = [server.add(f"/camera-1/{n}.jpg", status(500)) for n in range(12)]
    good = [server.add(f"/camera-2/{n}.jpg", body(jpeg(n))) for n in range(108)]
    index = build(broken + good, cache, concurrency=1)
    assert index.failures_by_reason() == {"server_error": 12}
    assert server.requests.total() == 120


def test_equal_images_give_equal_files_from_a_cold_and_from_a_warm_cache(server, tmp_path):
    sources = [
        server.add("/a.jpg", body(jpeg(0))),
        server.add('/b.jpg?x=1,2&y="quoted"', body(jpeg(1))).replace('"', "%22"),
        server.url("/dead.jpg"),
        *pictures(tmp_path / 'with, comma and "quotes"', 2),
    ]
    warm = ImageCache(tmp_path / "warm")
    runs = [build(sources, warm), build(sources, warm)]
    runs.append(build(sources, ImageCache(tmp_path / "cold"), concurrency=1))
    first, *others = [saved(index, tmp_path / f"run-{n}") for n, index in enumerate(runs)]
    assert sorted(first) == ["image_index.csv", "image_index_meta.json"]
    assert all(other == first for other in others)
    assert first["image_index.csv"].decode().splitlines()[0] == ",".join(COLUMNS)


def test_an_index_comes_back_as_it_was_saved(cache, tmp_path):
    paths = [*pictures(tmp_path / 'a, "b"', 3), tmp_path / "missing.jpg"]
    index = build([*paths, paths[0]], cache, max_failed_fraction=0.5)
    files = saved(index, tmp_path / "stored")
    loaded = ImageIndex.load(tmp_path / "stored")
    assert loaded.frame.equals(index.frame)
    assert loaded.frame.schema == index.frame.schema
    assert loaded.max_failed_fraction == 0.5
    assert json.loads(files["image_index_meta.json"]) == {
        "counts": {"snapshots": 5, "ok": 4, "failed": 1, "sources": 4, "images": 3},
        "max_failed_fraction": 0.5,
        "failures_by_reason": {"not_found": 1},
        "failures_by_host": {str(tmp_path): 1},
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("image_index.csv", None),
        ("image_index.csv", "a,b\n1,2\n"),
        ("image_index.csv", ",".join(COLUMNS) + "\nx,y,ok,,,,,,\n"),
        ("image_index_meta.json", None),
        ("image_index_meta.json", "{}"),
        ("image_index_meta.json", "[]"),
        ("image_index_meta.json", "{"),
    ],
)
def test_a_folder_that_holds_no_index_is_refused(cache, tmp_path, name, content):
    saved(build(pictures(tmp_path / "p", 1), cache), tmp_path / "stored")
    path = tmp_path / "stored" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(WebcamMLError, match="Materialize image_index"):
        ImageIndex.load(tmp_path / "stored")


@pytest.mark.parametrize(
    "nonsense",
    [
        {"max_failed_fraction": -0.1},
        {"max_failed_fraction": 1.0},
        {"max_failed_fraction": float("nan")},
        {"timeout_seconds": 0.0},
        {"timeout_seconds": float("inf")},
        {"max_bytes": 0},
        {"max_pixels": 0},
        {"attempts": 0},
        {"concurrency": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(nonsense):
    (name,) = nonsense
    with pytest.raises(WebcamMLError, match=f"^{name} is "):
        ImageSettings(**nonsense)


@settings(max_examples=30)
@given(
    limit=st.floats(min_value=0, max_value=1, exclude_max=True),
    failed=st.integers(min_value=0, max_value=4),
)
def test_a_run_stops_exactly_when_more_than_the_limit_failed(tmp_path_factory, limit, failed):
    root = tmp_path_factory.getbasetemp() / "limit"
    good = pictures(root, 5 - failed)
    missing = [root / f"missing-{n}.jpg" for n in range(failed)]
    cache = ImageCache(root / "cache")
    if failed / 5 > limit:
        with pytest.raises(WebcamMLError, match=f"{failed} of 5 images"):
            build(good + missing, cache, max_failed_fraction=limit)
    else:
        assert build(good + missing, cache, max_failed_fraction=limit).failed().height == failed


SCRIPT = """
import sys
from pathlib import Path
import polars as pl
from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
cache, concurrency, *urls = sys.argv[1:]
index = build_image_index(
    pl.DataFrame({"snapshot_id": range(1, len(urls) + 1), "image_path_or_url": urls}),
    cache=ImageCache(Path(cache)),
    settings=ImageSettings(allow_private_addresses=True, concurrency=int(concurrency)),
)
print(index.frame.write_csv(), end="")
"""


@contextmanager
def started(cache, concurrency, urls):
    """A run in a process of its own, killed at the latest when the test is over."""
    command = [sys.executable, "-c", SCRIPT, str(cache), str(concurrency), *urls]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def test_two_processes_may_fill_one_cache_at_once(server, tmp_path):
    urls = [server.add(f"/{n}.jpg", body(jpeg(n % 10))) for n in range(30)]
    with started(tmp_path, 4, urls) as one, started(tmp_path, 4, urls) as other:
        said = [run.communicate(timeout=60)[0] for run in (one, other)]
    index = build(urls, ImageCache(tmp_path))
    assert said == [index.frame.write_csv()] * 2
    assert index.usable()["sha256"].n_unique() == 10
    requests = server.requests.total()
    assert requests <= 60
    build(urls, ImageCache(tmp_path))
    assert server.requests.total() == requests
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_killed_run_loses_only_what_was_under_way(server, tmp_path):
    urls = [server.add(f"/{n}.jpg", body(jpeg(n))) for n in range(8)]
    server.add("/5.jpg", in_turn(silence, body(jpeg(5))))
    with started(tmp_path, 1, urls) as run:
        assert server.asked["/5.jpg"].wait(60)
        run.kill()
    assert outcomes(build(urls, ImageCache(tmp_path))) == ["ok"] * 8
    assert server.requests == {f"/{n}.jpg": 1 + (n == 5) for n in range(8)}
