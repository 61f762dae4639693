"""`copy-store` and `pull`: between folders and a real S3 server, cut off, raced, and refused."""

import hashlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from webcam_ml.cli import main
from webcam_ml.errors import WebcamMLError
from webcam_ml.live import prune, rollback, verify
from webcam_ml.live._copy import Copied, copy_store, pull
from webcam_ml.live._ledger import Ledger
from webcam_ml.live._production import changing_production
from webcam_ml.store import ArtifactStore, Bucket, FileRecord, Lineage, open_bucket
from webcam_ml.store._lineage import data_version
from webcam_ml_tests.live.fixtures import Live, bytes_below, flip
from webcam_ml_tests.live.watching import let_happen, stop
from webcam_ml_tests.seaweed import BUCKET, S3
from webcam_ml_tests.stores.earlier import V0_1, EarlierStore, copy_of


@pytest.fixture
def earlier(tmp_path: Path) -> EarlierStore:
    earlier = copy_of(V0_1, tmp_path / "project")
    with changing_production(earlier.store):
        pass  # makes the file with both heads, as it is made in each copy
    return earlier


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing is yet."""
    if request.param == "folder":
        return str(tmp_path / "copy")
    for name, value in request.getfixturevalue("s3").settings().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def bucket_of(store: ArtifactStore) -> Bucket:
    return open_bucket(str(store.root))


def stored_files(root: Path) -> dict[str, bytes]:
    """All that a store holds but scorer.env, which names where it is."""
    found = bytes_below(root)
    return {
        name: data
        for name, data in found.items()
        if not name.endswith("scorer.env") and not name.endswith(".lock")
    }


def test_a_store_of_an_earlier_version_comes_back_from_a_bucket_as_it_was(
    earlier: EarlierStore, place: str, tmp_path: Path
) -> None:
    first = copy_store(bucket_of(earlier.store), open_bucket(place))
    assert first.versions == len(earlier.versions())
    other = open_bucket(f"{place}-other")
    second = copy_store(open_bucket(place), other)
    assert (second.versions, second.size) == (first.versions, first.size)
    back = tmp_path / "back"
    copy_store(other, open_bucket(str(back)))
    assert stored_files(back) == stored_files(earlier.store.root)
    assert (back / "production" / "binary" / "model.onnx").is_file()
    assert verify(ArtifactStore(back)) == []
    again = copy_store(bucket_of(earlier.store), open_bucket(place))
    assert (again.versions, again.files, again.left_out) == (0, 0, ())


def test_a_later_copy_brings_what_is_new_and_what_is_live_now(live: Live, place: str) -> None:
    copy_store(bucket_of(live.store), open_bucket(place))
    live.promote("better")
    later = copy_store(bucket_of(live.store), open_bucket(place))
    assert later.files >= 2  # the model that went live
    back = live.store.root.with_name("back")
    copy_store(open_bucket(place), open_bucket(str(back)))
    assert stored_files(back) == stored_files(live.store.root)
    assert verify(ArtifactStore(back)) == []


def test_pulled_is_what_is_live_and_it_follows_a_roll_back(
    live: Live, place: str, tmp_path: Path
) -> None:
    here = tmp_path / "application"
    copy_store(bucket_of(live.store), open_bucket(place))
    first = pull(open_bucket(place), here)
    link = here / "production" / "binary"
    assert first == {"binary": link}
    assert bytes_of(link) == bytes_of(live.production / "binary")
    assert str(link / "model.onnx") in (link / "scorer.env").read_text()
    for change in (lambda: live.promote("better"), lambda: rollback(live.store)):
        change()
        copy_store(bucket_of(live.store), open_bucket(place))
        pull(open_bucket(place), here)
        assert link.readlink() == (live.production / "binary").readlink()
        assert bytes_of(link) == bytes_of(live.production / "binary")


def bytes_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "model.onnx").read_bytes(), (folder / "model.meta.json").read_bytes()


def test_what_an_application_has_is_verified_and_mended(live: Live, tmp_path: Path) -> None:
    here = tmp_path / "application"
    (link,) = pull(bucket_of(live.store), here).values()
    flip(link.resolve() / "model.onnx")
    pull(bucket_of(live.store), here)
    assert bytes_of(link) == bytes_of(live.production / "binary")


def test_one_target_type_can_be_pulled_alone(earlier: EarlierStore, tmp_path: Path) -> None:
    here = tmp_path / "application"
    assert set(pull(bucket_of(earlier.store), here, target_types=["regression"])) == {"regression"}
    assert [path.name for path in (here / "production").iterdir() if path.is_symlink()] == [
        "regression"
    ]
    assert set(pull(bucket_of(earlier.store), here)) == {"binary", "regression", "both"}


def test_what_is_live_only_moves_forward(live: Live, tmp_path: Path) -> None:
    before = live.moved(tmp_path / "before")
    live.promote("better")
    here = tmp_path / "application"
    (link,) = pull(bucket_of(live.store), here).values()
    pulled = link.readlink()
    with pytest.raises(WebcamMLError, match=r"has 2 lines.*not the first of the 1.*moves forward"):
        pull(bucket_of(before.store), here)
    assert link.readlink() == pulled
    copy = str(tmp_path / "copy")
    copy_store(bucket_of(live.store), open_bucket(copy))
    there = stored_files(Path(copy))
    with pytest.raises(WebcamMLError, match="moves forward"):
        copy_store(bucket_of(before.store), open_bucket(copy))
    assert stored_files(Path(copy)) == there


def test_a_damaged_version_is_left_out_and_named_and_everything_else_is_copied(
    earlier: EarlierStore, tmp_path: Path
) -> None:
    damaged = earlier.latest("disagreement_report")
    flip(damaged.folder / sorted(damaged.lineage.files)[0])
    copy = tmp_path / "copy"
    copied = copy_store(bucket_of(earlier.store), open_bucket(str(copy)))
    assert copied.versions == len(earlier.versions()) - 1
    (problem,) = copied.left_out
    assert damaged.version in problem
    assert not (copy / "disagreement_report" / damaged.version / "lineage.json").exists()
    assert not (copy / "disagreement_report" / "latest.json").exists()
    assert verify(ArtifactStore(copy)) == []


@pytest.mark.parametrize("name", ["ledger.jsonl", "judged.jsonl", "ledger.head"])
def test_a_damaged_history_is_not_copied(live: Live, tmp_path: Path, name: str) -> None:
    flip(live.production / name, position=4)
    copy = tmp_path / "copy"
    for transfer in (
        lambda: copy_store(bucket_of(live.store), open_bucket(str(copy))),
        lambda: pull(bucket_of(live.store), copy),
    ):
        with pytest.raises(WebcamMLError, match=rf"production/\S+ in {live.store.root} "):
            transfer()
    assert not list(open_bucket(str(copy)).keys())


def test_a_version_with_a_file_that_is_no_name_is_left_out_and_named(tmp_path: Path) -> None:
    def store_with(name: str, data: bytes) -> str:
        files = {name: FileRecord(hashlib.sha256(data).hexdigest(), len(data))}
        record = Lineage(
            "notes", data_version(files, {}), files, {}, {}, "run", {}, {}, {}, "", None
        )
        folder = tmp_path / "store" / "notes" / f"20260101T000000Z-{record.data_version[:12]}"
        folder.mkdir(parents=True)
        (folder / "lineage.json").write_bytes(record.to_json())
        (folder / "whole").write_bytes(data)
        return folder.name

    store_with("whole", b"whole")
    hostile = sorted(store_with(name, name.encode()) for name in ("", "..", ".hid", "a\0b"))
    copied = copy_store(*(open_bucket(str(tmp_path / name)) for name in ("store", "copy")))
    assert copied.versions == 1
    for version, problem in zip(hostile, copied.left_out, strict=True):
        assert version in problem


def copy_into_folder(source: Bucket, folder: Path) -> Copied:
    return copy_store(source, open_bucket(str(folder)))


@pytest.mark.parametrize("transfer", [pull, copy_into_folder])
@pytest.mark.parametrize("is_live", [True, False], ids=["live", "no longer live"])
@pytest.mark.parametrize("version", ["../../../victim", "VICTIM", "x\nNODE_OPTIONS=evil"])
def test_a_hostile_history_writes_nothing(
    live: Live,
    tmp_path: Path,
    transfer: Callable[[Bucket, Path], object],
    is_live: bool,
    version: str,
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "scorer.env").write_text("MINE=1\n")
    ledger = Ledger.read(live.production)
    (honest,) = ledger.entries
    hostile = honest.model_copy(update={"version": version.replace("VICTIM", str(victim))})
    ledger = Ledger()
    for entry in (honest, hostile) if is_live else (hostile, honest):
        at = {"sequence": len(ledger.entries) + 1, "previous": ledger.last_digest}
        ledger = ledger.with_entry(entry.model_copy(update=at))
    for name, data in (("ledger.jsonl", ledger.to_bytes()), ("ledger.head", ledger.head_bytes())):
        (live.production / name).unlink()
        (live.production / name).write_bytes(data)
    here = tmp_path / "application"
    with pytest.raises(WebcamMLError, match="that is no entry"):
        transfer(bucket_of(live.store), here)
    assert not here.exists()
    assert bytes_below(victim) == {"scorer.env": b"MINE=1\n"}


class CutOffError(WebcamMLError):
    pass


class Cutting:
    """A bucket that is away after so many writes."""

    def __init__(self, inner: Bucket, writes: int) -> None:
        self.inner, self.left, self.address = inner, writes, inner.address

    def __getattr__(self, name: str) -> Callable[..., object]:
        operation: Callable[..., object] = getattr(self.inner, name)
        if name not in ("create", "swap", "put"):
            return operation

        def writing(*arguments: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise CutOffError("cut off")
            return operation(*arguments)

        return writing


def test_a_copy_that_was_cut_off_anywhere_is_completed_by_the_next(
    earlier: EarlierStore, tmp_path: Path
) -> None:
    source = bucket_of(earlier.store)
    whole = {stored.version for stored in earlier.versions()}
    copy = tmp_path / "copy"
    cuts, is_complete = 0, False
    while not is_complete:
        # More than the files of one version, so that each gets further.
        cutting = Cutting(open_bucket(str(copy)), writes=40)
        try:
            copy_store(source, cutting)
            is_complete = True
        except CutOffError:
            cuts += 1
        for path in copy.glob("*/*/lineage.json"):
            # A version that is there is whole.
            there = ArtifactStore(copy).named(path.parent.parent.name, path.parent.name)
            assert there.version in whole
            there.verify()
    assert cuts > 2
    copy_store(source, open_bucket(str(copy)))  # for the links of a folder
    assert stored_files(copy) == stored_files(earlier.store.root)
    assert verify(ArtifactStore(copy)) == []


@dataclass
class Garbling:
    """A bucket that has other bytes than were sent, of one write."""

    inner: Bucket
    number: int

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def put(self, key: str, data: bytes) -> None:
        self.number -= 1
        self.inner.put(key, data[:-1] if self.number == 0 else data)


def test_what_does_not_arrive_as_it_was_sent_is_noticed_and_sent_again(
    live: Live, place: str
) -> None:
    whole = copy_store(bucket_of(live.store), open_bucket(f"{place}-whole"))
    for number in (1, whole.files // 2, whole.files):
        address = f"{place}-{number}"
        with pytest.raises(WebcamMLError, match=f"did not arrive in {address} as it was sent"):
            copy_store(bucket_of(live.store), Garbling(open_bucket(address), number))
        copy_store(bucket_of(live.store), open_bucket(address))
        back = live.store.root.with_name(f"back {number}")
        copy_store(open_bucket(address), open_bucket(str(back)))
        assert stored_files(back) == stored_files(live.store.root)


def test_several_that_copy_at_once_make_one_copy(
    earlier: EarlierStore, place: str, tmp_path: Path
) -> None:
    def copy(_: int) -> Copied:
        return copy_store(bucket_of(earlier.store), open_bucket(place))

    with ThreadPoolExecutor(3) as pool:
        assert all(one.left_out == () for one in pool.map(copy, range(3)))
    back = tmp_path / "back"
    copy_store(open_bucket(place), open_bucket(str(back)))
    assert stored_files(back) == stored_files(earlier.store.root)
    assert verify(ArtifactStore(back)) == []


def test_nothing_is_copied_where_there_is_nothing_or_onto_itself(tmp_path: Path) -> None:
    empty = open_bucket(str(tmp_path / "empty"))
    with pytest.raises(WebcamMLError, match="there is no store at"):
        copy_store(empty, open_bucket(str(tmp_path / "copy")))
    with pytest.raises(WebcamMLError, match="onto itself"):
        copy_store(empty, empty)
    with pytest.raises(
        WebcamMLError, match=r"no binary or regression model is live.*production_model"
    ):
        pull(empty, tmp_path / "application")


def test_who_watches_follows_what_is_live_and_outlives_a_store_that_is_away(
    earlier: EarlierStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, away = earlier.store.root, tmp_path / "away"
    here = tmp_path / "application"
    before = (root / "production" / "binary").readlink().name

    def bring_back() -> None:
        away.rename(root)
        rollback(earlier.store, target_type="binary")

    let_happen(monkeypatch, lambda: root.rename(away), bring_back, stop)
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(root))
    with pytest.raises(KeyboardInterrupt):
        main(["pull", str(here), "--target-type", "binary", "--watch"])
    now = (root / "production" / "binary").readlink().name
    said = capsys.readouterr()
    assert [line.split()[1] for line in said.out.splitlines()] == [before, now]
    assert now != before
    assert "no binary model is live" in said.err
    assert (here / "production" / "binary").readlink().name == now


def test_the_commands_say_what_they_did(
    live: Live,
    tmp_path: Path,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in s3.settings().items():
        monkeypatch.setenv(name, value)
    place = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    assert main(["copy-store", place]) == 0
    assert f"{place} has what is stored" in capsys.readouterr().out
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", place)
    here = tmp_path / "application"
    assert main(["pull", str(here)]) == 0
    said = capsys.readouterr().out
    assert str(here / "production" / "binary" / "model.onnx") in said
    assert main(["pull", str(here), "--target-type", "regression"]) == 1
    assert "no regression model is live" in capsys.readouterr().err


def test_the_pictures_of_a_bucket_come_along_and_a_damaged_one_is_left_out_and_named(
    live: Live, place: str, tmp_path: Path
) -> None:
    source = open_bucket(str(tmp_path / "source"))
    copy_store(bucket_of(live.store), source)
    pictures = [f"images/{one[:2]}/{one}" for one in (digest_of(b"one"), digest_of(b"two"))]
    notes = [f"images/sources/aa/{digest_of(b'a source')}.json"]
    for key, data in zip(pictures + notes, (b"one", b"not two", b"{}"), strict=True):
        source.put(key, data)
    copied = copy_store(source, open_bucket(place))
    (problem,) = copied.left_out
    assert pictures[1] in problem
    assert list(open_bucket(place).keys("images")) == sorted([pictures[0], *notes])
    source.put(pictures[1], b"two")
    back = open_bucket(str(tmp_path / "back"))
    assert copy_store(source, open_bucket(place)).files == 1
    assert copy_store(open_bucket(place), back).left_out == ()
    found = {key: back.get(key) for key in pictures + notes}
    assert [one and one.data for one in found.values()] == [b"one", b"two", b"{}"]
    assert verify(ArtifactStore(tmp_path / "back")) == []
    freed = {one.asset for one in prune(ArtifactStore(tmp_path / "back"))}
    assert freed == {one.asset for one in prune(live.store)}


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_links_that_follow_what_is_live_elsewhere_are_no_fault(
    live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        pull(bucket_of(live.store), tmp_path / "application")
        copy_store(bucket_of(live.store), open_bucket(str(tmp_path / "copy")))
        live.promote("better")
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == []
