"""What a bucket promises, on a folder and on a real S3 server; and what it says where it cannot."""

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import ArtifactStore, Bucket, _object_bucket, bucket_from_env, open_bucket
from webcam_ml_tests.seaweed import (
    BUCKET,
    CUT_OFF,
    FORGET_CONDITIONS,
    LOSE_THE_ANSWER,
    PASS,
    S3,
    Answer,
    Deed,
    failing,
)

LARGE = os.urandom(6 << 20)


def set_environment(patch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in settings.items():
        patch.setenv(name, value)


@pytest.fixture(params=["folder", "s3"])
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    if request.param == "folder":
        return open_bucket(str(tmp_path / "store"))
    set_environment(monkeypatch, request.getfixturevalue("s3").settings())
    return open_bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}")


def test_bytes_are_read_back_and_a_key_that_is_not_there_is_none(bucket: Bucket) -> None:
    for data in (b"", b"one", LARGE):
        bucket.put("a/b.bin", data)
        found = bucket.get("a/b.bin")
        assert found is not None
        assert found.data == data
    assert bucket.get("a/c.bin") is None
    assert bucket.get("b") is None


@pytest.mark.parametrize("data", [b"one", LARGE], ids=["small", "large"])
def test_nothing_that_is_there_is_overwritten(bucket: Bucket, data: bytes) -> None:
    assert bucket.create("a/b", data)
    assert not bucket.create("a/b", b"two")
    found = bucket.get("a/b")
    assert found is not None
    assert found.data == data
    assert bucket.create("a/b", data)  # whoever did not hear the answer asks again


def test_only_what_was_read_is_replaced(bucket: Bucket) -> None:
    bucket.create("pointer", b"1")
    read = bucket.get("pointer")
    assert read is not None
    assert bucket.swap("pointer", b"2", read.tag)
    assert not bucket.swap("pointer", b"3", read.tag)
    assert bucket.swap("pointer", b"2", read.tag)  # again, after an answer that was lost
    now = bucket.get("pointer")
    assert now is not None
    assert now.data == b"2"
    bucket.delete("pointer")
    assert not bucket.swap("pointer", b"3", now.tag)
    assert bucket.get("pointer") is None


def test_keys_below_a_folder_are_listed_in_order_and_names_that_only_begin_alike_are_not(
    bucket: Bucket,
) -> None:
    assert list(bucket.keys()) == []
    for key in ("b/2", "a/x/1", "b/1", "bb/1", "top"):
        bucket.put(key, b"")
    assert list(bucket.keys()) == ["a/x/1", "b/1", "b/2", "bb/1", "top"]
    assert list(bucket.keys("b")) == ["b/1", "b/2"]
    assert list(bucket.keys("nothing")) == []
    bucket.delete("b/1")
    bucket.delete("b/1")
    assert list(bucket.keys("b")) == ["b/2"]


def test_a_place_that_keeps_conditions_is_accepted_and_left_as_it_was(bucket: Bucket) -> None:
    bucket.require_conditions()
    assert list(bucket.keys()) == []


def test_links_and_hidden_files_of_a_folder_are_no_keys(tmp_path: Path) -> None:
    bucket = open_bucket(str(tmp_path))
    bucket.put("a/b", b"")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / ".lock").touch()
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished" / "c").touch()
    assert list(bucket.keys()) == ["a/b"]
    for key in ("../x", "a/../../x", "/x", ".lock", ""):
        with pytest.raises(ValueError, match="no key"):
            bucket.put(key, b"")


def test_hidden_objects_are_no_keys(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, s3.settings())
    bucket = open_bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    for key in ("a/b", "a/.lock", ".unfinished/c", "a.b/c.d"):
        bucket.put(key, b"")
    assert list(bucket.keys()) == ["a.b/c.d", "a/b"]


def test_what_a_killed_writer_left_in_a_folder_goes_a_day_later(tmp_path: Path) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    for name, age in (("left", 90_000), ("being written", 5)):
        (incoming / name).touch()
        os.utime(incoming / name, (time.time() - age,) * 2)
    open_bucket(str(tmp_path)).require_conditions()
    assert [path.name for path in incoming.iterdir()] == ["being written"]


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WebcamMLError, match=r"Not a directory.*name another folder"):
        open_bucket(str(tmp_path / "file")).require_conditions()


@pytest.mark.parametrize(
    "address",
    [
        "s4://bucket/x", "s3://", "s3:///", "s3:///x", "https://host/x", "S3://bucket/x", "://x",
        # A folder of the name s3: would be made where the command runs.
        "s3:/bucket/x", "s3:bucket", "S3:/bucket/x",
        # The client would go to another place than the address says, and the mirror out of its folder.
        "s3://bucket/../x", "s3://bucket/a/../../x", "s3://..", "s3://bucket/./x", "s3://bucket//x",
        "s3://bucket/x?y=1", "s3://bucket/x#y", "s3://bucket/%2e%2e/x", "s3://bucket/x\ny",
        "s3://bucket/a\\b",
    ],
)  # fmt: skip
def test_an_address_of_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", address)
    for use in (bucket_from_env, ArtifactStore.from_env):
        with pytest.raises(
            WebcamMLError, match=r"names no store .*: write a folder, or s3://BUCKET/PREFIX"
        ) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:hunter2@bucket/prefix",
        "s3://KEY:hun/ter2@bucket/prefix",  # keys of Amazon may have a slash
        "s3://hunter2@bucket",
        "https://user:hunter2@host/x",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", address)
    for use in (bucket_from_env, ArtifactStore.from_env):
        with pytest.raises(WebcamMLError, match="AWS_SECRET_ACCESS_KEY") as caught:
            use()
        assert "ter2" not in str(caught.value)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(WebcamMLError, match=r"pip install 'webcam-ml\[s3\]'"):
        open_bucket("s3://bucket/prefix")


Set = dict[str, str | None]


@pytest.mark.parametrize(
    ("who", "settings", "message"),
    [
        ("reader", {}, r"no right.*s3:GetObject, PutObject.*AccessDenied"),
        (
            "owner",
            {"AWS_SECRET_ACCESS_KEY": "x"},
            "credentials are not accepted.*SignatureDoesNotM",
        ),
        ("owner", {"AWS_ACCESS_KEY_ID": "x"}, "credentials are not accepted.*InvalidAccessKeyId"),
        (
            "owner",
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials are set, and this machine has none of its own",
        ),
        ("owner", {"AWS_ALLOW_HTTP": None}, "no TLS. Set AWS_ALLOW_HTTP=true"),
        (
            "owner",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "cannot be reached.*AWS_ENDPOINT_URL",
        ),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    s3: S3, monkeypatch: pytest.MonkeyPatch, who: str, settings: Set, message: str
) -> None:
    monkeypatch.setattr(_object_bucket, "RETRIES", 1)
    chosen: Set = {**s3.settings(who), **settings}
    set_environment(monkeypatch, {k: v for k, v in chosen.items() if v is not None})
    bucket = open_bucket(f"s3://{BUCKET}/{uuid.uuid4().hex}")
    with pytest.raises(WebcamMLError, match=message):
        bucket.require_conditions()
    if who != "reader":
        for read in (lambda: bucket.get("a"), lambda: list(bucket.keys())):
            with pytest.raises(WebcamMLError, match=message):
                read()


@pytest.mark.parametrize(("name", "value"), [("AWS_TIMEOUT", "60"), ("AWS_ALLOW_HTTP", "maybe")])
def test_a_setting_that_the_client_cannot_read_is_among_those_it_names(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_environment(monkeypatch, {name: value})
    with pytest.raises(WebcamMLError, match=rf"environment sets \([A-Z_, ]*{name}.*{value}"):
        open_bucket("s3://webcams/x")


def test_a_bucket_that_is_not_there_is_named(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, s3.settings("reader_everywhere"))
    bucket = open_bucket("s3://absent/prefix")
    for read in (lambda: bucket.get("a"), lambda: list(bucket.keys())):
        with pytest.raises(
            WebcamMLError, match=r"s3://absent/prefix: .*no such bucket.*NoSuchBucket"
        ):
            read()


Open = Callable[[Callable[[str, int], Deed]], Bucket]


@pytest.fixture
def behind_proxy(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a bucket that anybody may write, behind a proxy that does something to requests."""
    monkeypatch.setattr(_object_bucket, "RETRIES", 2)
    with contextlib.ExitStack() as running:

        def behind(deed: Callable[[str, int], Deed]) -> Bucket:
            proxy = running.enter_context(failing(s3, deed))
            settings = {**proxy.settings(), "AWS_SKIP_SIGNATURE": "true"}
            set_environment(monkeypatch, settings)
            return open_bucket(f"s3://open/{uuid.uuid4().hex}")

        yield behind


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(503, "SlowDown"), "asks to slow down.*SlowDown"),
        (Answer(500, "InternalError"), "does not answer.*do the same again later"),
        (Answer(403, "RequestTimeTooSkewed"), r"the clock of this machine.*here it is \d{4}-.*NTP"),
        (
            Answer(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            r"another region. Set AWS_REGION .*Malformed, eu-west-1\)",
        ),
        (Answer(301, "PermanentRedirect"), "another region. Set AWS_REGION"),
        (Answer(404, "NoSuchBucket"), "there is no such bucket.*AWS_ENDPOINT_URL"),
        (Answer(403, "ExpiredToken"), "AWS_SESSION_TOKEN"),
        (Answer(501, "NotImplemented"), "no conditional writes.*or take another"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
def test_what_a_server_refuses_is_explained(
    behind_proxy: Open, answer: Answer, message: str
) -> None:
    bucket = behind_proxy(lambda *_: answer)
    with pytest.raises(WebcamMLError, match=message):
        bucket.create("a", b"1")


def test_a_server_that_asks_to_slow_down_for_a_while_is_waited_for(behind_proxy: Open) -> None:
    bucket = behind_proxy(lambda _, count: Answer(503, "SlowDown") if count % 3 < 2 else PASS)
    assert bucket.create("a", b"1")
    found = bucket.get("a")
    assert found is not None
    assert found.data == b"1"


def test_a_put_that_is_cut_off_leaves_nothing(behind_proxy: Open) -> None:
    bucket = behind_proxy(lambda method, _: CUT_OFF if method == "PUT" else PASS)
    with pytest.raises(WebcamMLError, match=r"connection broke.*do the same again"):
        bucket.create("a", LARGE)
    assert bucket.get("a") is None


@pytest.mark.parametrize("operation", ["create", "swap"])
def test_a_write_whose_answer_was_lost_recognises_its_own_entry(
    behind_proxy: Open, operation: str
) -> None:
    puts = iter([PASS, LOSE_THE_ANSWER] if operation == "swap" else [LOSE_THE_ANSWER])
    bucket = behind_proxy(lambda method, _: next(puts, PASS) if method == "PUT" else PASS)
    if operation == "create":
        assert bucket.create("a", b"2")
    else:
        bucket.put("a", b"1")
        found = bucket.get("a")
        assert found is not None
        assert bucket.swap("a", b"2", found.tag)
    assert next(puts, None) is None
    now = bucket.get("a")
    assert now is not None
    assert now.data == b"2"


def test_a_server_that_forgets_conditions_is_noticed_at_the_start(behind_proxy: Open) -> None:
    bucket = behind_proxy(lambda *_: FORGET_CONDITIONS)
    with pytest.raises(WebcamMLError, match="cannot be a store: it has no conditional writes"):
        bucket.require_conditions()
    assert list(bucket.keys()) == []
