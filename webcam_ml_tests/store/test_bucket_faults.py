"""A bucket that is away, slow, or refuses a part of what is asked, and a mirror without room."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from webcam_ml.cli import main
from webcam_ml.errors import WebcamMLError
from webcam_ml.live import promote_override, rollback, verify
from webcam_ml.live._copy import copy_store
from webcam_ml.store import BucketStore, _long_waits, _object_bucket, open_bucket
from webcam_ml_tests.faults.test_disk import no_file_larger_than
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.live.test_shared import Shared, live_version, shared
from webcam_ml_tests.live.watching import let_happen, stop
from webcam_ml_tests.seaweed import BUCKET, CUT_OFF, PASS, S3, Answer, Deed
from webcam_ml_tests.store.test_bucket import LARGE, Open, behind_proxy, set_environment
from webcam_ml_tests.store.test_bucket_store import Text, address, machine, put

__all__ = ["address", "behind_proxy", "shared"]


@pytest.mark.parametrize("may", ["getter", "lister", "putter"])
def test_each_right_that_is_missing_is_named_where_it_is_needed(
    s3: S3, monkeypatch: pytest.MonkeyPatch, may: str
) -> None:
    place = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    set_environment(monkeypatch, s3.settings())
    open_bucket(place).put("a", b"1")
    set_environment(monkeypatch, s3.settings(may))
    bucket = open_bucket(place)
    operations: dict[str, tuple[Callable[[], object], str]] = {
        "getter": (lambda: bucket.get("a"), "a cannot be read"),
        "lister": (lambda: list(bucket.keys()), "it cannot be listed"),
        "putter": (lambda: bucket.put("b", b"2"), "b cannot be written"),
    }
    for who, (operation, what) in operations.items():
        if who == may:
            operation()
            continue
        with pytest.raises(WebcamMLError, match=f"{place}: {what}: .*no right.*AccessDenied"):
            operation()
    with pytest.raises(WebcamMLError, match="no right"):
        bucket.require_conditions()
    set_environment(monkeypatch, s3.settings())
    found = open_bucket(place).get("a")
    assert found is not None
    assert found.data == b"1"


@pytest.mark.parametrize(
    "command", ["history", "verify", "summary", "lineage", "prune", "pull here", "copy-store here"]
)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(503, "SlowDown"),
        Answer(403, "AccessDenied"),
        Answer(403, "RequestTimeTooSkewed"),
        Answer(403, "ExpiredToken"),
        Answer(400, "AuthorizationHeaderMalformed"),
        Answer(404, "NoSuchBucket"),
        CUT_OFF,
    ],
    ids=lambda answer: answer if isinstance(answer, str) else answer.code,
)
def test_a_command_ends_with_one_sentence_and_makes_nothing(
    behind_proxy: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    answer: Deed,
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", behind_proxy(lambda *_: answer).address)
    monkeypatch.setenv("WEBCAM_ML_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("webcam-ml: s3://open/")
    assert said.err.count("\n") == 1
    made = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(made) <= {".lock"}


def test_that_a_server_is_waited_for_is_said_once(
    behind_proxy: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_long_waits, "SECONDS_UNTIL_SAID", 0.01)

    def wait_until_it_is_said(*_: object) -> Deed:
        deadline = time.monotonic() + 20
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        return PASS

    bucket = behind_proxy(wait_until_it_is_said)
    assert bucket.create("a", b"1")
    (said,) = [one.getMessage() for one in caplog.records]
    assert said.startswith(f"{bucket.address}: a cannot be written yet, after 0.01 s")
    assert "asks to slow down" in said


def test_what_is_large_may_take_longer_than_a_server_may_be_silent(
    behind_proxy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = 0.5
    monkeypatch.setattr(_object_bucket, "SILENCE", f"{silence} seconds")

    def slowly(method: str, _: int) -> Deed:
        time.sleep(4 * silence if method == "PUT" else 0)
        return PASS

    bucket = behind_proxy(slowly)
    bucket.put("large", LARGE)
    found = bucket.get("large")
    assert found is not None
    assert found.data == LARGE
    with pytest.raises(WebcamMLError, match="cannot be reached, or the connection broke"):
        bucket.put("small", b"1")


def test_who_watches_a_bucket_goes_on_with_what_it_has_while_the_server_is_away(
    behind_proxy: Open,
    shared: Shared,
    made: dict[str, Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_away = False
    bucket = behind_proxy(lambda *_: Answer(503, "SlowDown") if is_away else PASS)
    copy_store(open_bucket(str(shared.prepared.store.root)), bucket)
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", bucket.address)
    here = tmp_path / "application"
    link = here / "production" / "binary"

    def go_away() -> None:
        nonlocal is_away
        is_away = True

    def come_back() -> None:
        nonlocal is_away
        assert link.readlink().name == made["first"].version
        is_away = False
        promote_override(
            BucketStore(bucket, tmp_path / "mirror"), made["better"].version, reason="a test"
        )

    let_happen(monkeypatch, go_away, come_back, stop)
    with pytest.raises(KeyboardInterrupt):
        main(["pull", str(here), "--watch"])
    said = capsys.readouterr()
    assert [line.split()[1] for line in said.out.splitlines()] == [
        made[name].version for name in ("first", "better")
    ]
    # How long it is asked again is drawn, and from ten seconds on it says that, too.
    assert said.err.count("asks to slow down, and went on so for a while") == 1, said.err
    assert (link / "model.onnx").read_bytes() == made["better"].exported.model


def test_a_mirror_without_room_loses_nothing(address: str, tmp_path: Path) -> None:
    here, there = machine(address, tmp_path / "here"), machine(address, tmp_path / "there")
    put(here, "one")
    for size in (0, 1):
        with no_file_larger_than(size):
            with pytest.raises(WebcamMLError, match="free some space, or let WEBCAM_ML_MIRROR"):
                there.latest("texts").load(Text)
            with pytest.raises(WebcamMLError, match=r"Free some space.*WEBCAM_ML_MIRROR names it"):
                put(here, "two")
        assert len(machine(address, tmp_path / "look").versions("texts")) == 1
    assert there.latest("texts").load(Text) == Text("one")
    assert put(here, "two")[1]
    assert there.latest("texts").load(Text) == Text("two")


def test_a_promotion_into_a_mirror_without_room_is_that_of_the_old_model_or_the_new(
    shared: Shared, made: dict[str, Made]
) -> None:
    decided = set()
    for size in (0, 100, 5_000, 20_000):
        bucket = shared.copy()
        here, there = bucket.machine(), bucket.machine()
        live_version(here)
        with (
            no_file_larger_than(size),
            pytest.raises(WebcamMLError, match=r"ree some space.*WEBCAM_ML_MIRROR"),
        ):
            here.promote("better")
        decided.add(live_version(there))
        assert decided <= {made["first"].version, made["better"].version}
        here.promote("better")
        assert live_version(there) == made["better"].version
        assert verify(there.store) == []
        assert rollback(there.store).version == made["first"].version
