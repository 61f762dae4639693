"""A store in a bucket, used by machines that have a mirror each."""

import json
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    BucketStore,
    Provenance,
    StoredArtifact,
    open_bucket,
)
from webcam_ml_tests.seaweed import BUCKET, FORGET_CONDITIONS, S3, failing
from webcam_ml_tests.store.test_bucket import set_environment

RUN = Provenance("run")


@dataclass(frozen=True)
class Text:
    """An artifact of two files."""

    text: str

    def save(self, folder: Path) -> None:
        (folder / "text.txt").write_text(self.text)
        (folder / "length.txt").write_text(str(len(self.text)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls((folder / "text.txt").read_text())


@pytest.fixture
def address(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    set_environment(monkeypatch, s3.settings())
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def machine(address: str, mirror: Path) -> ArtifactStore:
    return BucketStore(open_bucket(address), mirror)


def put(store: ArtifactStore, text: str, **inputs: StoredArtifact) -> tuple[StoredArtifact, bool]:
    return store.write("texts", Text(text), inputs=inputs, provenance=RUN)


def test_one_machine_reads_what_another_wrote_under_the_version_that_a_folder_gives(
    address: str, tmp_path: Path
) -> None:
    here, there = machine(address, tmp_path / "here"), machine(address, tmp_path / "there")
    stored, is_new = put(here, "one")
    assert is_new
    folder, _ = put(ArtifactStore(tmp_path / "folder"), "one")
    assert stored.data_version == folder.data_version
    found = there.latest("texts")
    assert found == there.find("texts", stored.data_version)
    assert found.lineage == stored.lineage
    assert found.load(Text) == Text("one")
    assert there.versions("texts") == [stored.version]
    assert not put(there, "one")[1]
    second, _ = put(there, "two", texts=found)
    assert here.latest("texts").load(Text) == Text("two")
    assert here.versions("texts") == sorted([stored.version, second.version], reverse=True)
    assert found.address == f"{address}/texts/{stored.version}"
    with pytest.raises(ArtifactMissingError, match=rf"{address}/texts has no version 0000"):
        here.find("texts", "0" * 64)


def test_what_several_machines_make_at_once_is_one_version(address: str, tmp_path: Path) -> None:
    ready = threading.Barrier(4)
    won: list[bool] = []
    versions: set[str] = set()

    def work(number: int) -> None:
        store = machine(address, tmp_path / str(number))
        for text in map(str, range(20)):
            ready.wait()
            stored, is_new = put(store, text)
            won.append(is_new)
            versions.add(stored.version)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(won), sum(won), len(versions)) == (80, 20, 20)
    assert len(machine(address, tmp_path / "new").versions("texts")) == 20


def test_a_version_without_its_lineage_is_none_and_is_completed(
    address: str, tmp_path: Path
) -> None:
    store = machine(address, tmp_path / "here")
    stored, _ = put(store, "one")
    # As after a kill between the files and the record.
    store.remote.delete(f"texts/{stored.version}/lineage.json")
    other = machine(address, tmp_path / "there")
    assert other.versions("texts") == []
    # What is never completed is freed by `prune`.
    assert [path.name for path in other.damaged("texts")] == [stored.version]
    assert not store.has("texts", stored.data_version)
    again, is_new = put(other, "one")
    assert is_new
    assert again.version == stored.version


def test_damage_in_the_mirror_is_mended_and_damage_in_the_bucket_is_found_and_mended_by_writing(
    address: str, tmp_path: Path
) -> None:
    here, there = machine(address, tmp_path / "here"), machine(address, tmp_path / "there")
    stored, _ = put(here, "one")
    (stored.folder / "text.txt").write_text("two")
    assert here.latest("texts").load(Text) == Text("one")
    key = f"texts/{stored.version}/text.txt"
    here.remote.put(key, b"two")
    with pytest.raises(ArtifactDamagedError, match=rf"{address}/{key} is not what was stored"):
        there.latest("texts").load(Text)
    # Here the mirror is whole, and what is written is looked up in the bucket all the same.
    assert not put(here, "one")[1]
    assert there.latest("texts").load(Text) == Text("one")


def test_a_record_that_cannot_be_read_is_moved_aside_and_written_afresh(
    address: str, tmp_path: Path
) -> None:
    here = machine(address, tmp_path / "here")
    stored, _ = put(here, "one")
    key = f"texts/{stored.version}/lineage.json"
    here.remote.put(key, b"{")
    there = machine(address, tmp_path / "there")
    with pytest.raises(ArtifactDamagedError, match=r"lineage\.json cannot be read"):
        there.latest("texts")
    assert put(there, "one")[1]
    assert [path.name.partition(".damaged-")[0] for path in there.damaged("texts")] == [
        stored.version
    ]
    assert there.latest("texts").load(Text) == Text("one")


def test_what_is_removed_is_gone_for_every_machine(address: str, tmp_path: Path) -> None:
    here, there = machine(address, tmp_path / "here"), machine(address, tmp_path / "there")
    stored, _ = put(here, "one")
    there.latest("texts")
    assert here.size_of(stored.place) == there.size_of(there.latest("texts").place)
    assert here.size_of(stored.place) == ArtifactStore.size_of(here, stored.folder)
    assert here.remove(stored.place)
    assert not there.has("texts", stored.data_version)
    assert list(here.remote.keys()) == ["texts/latest.json"]


def test_the_mirror_is_where_the_environment_says(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", f"{address}/")
    monkeypatch.setenv("WEBCAM_ML_CACHE", str(tmp_path / "cache"))
    place = address.replace("://", "/")
    assert ArtifactStore.from_env().root == tmp_path / "cache" / "mirror" / place
    monkeypatch.setenv("WEBCAM_ML_MIRROR", str(tmp_path / "mirror"))
    store = ArtifactStore.from_env()
    assert store.root == tmp_path / "mirror" / place
    assert (store.address, store.exists()) == (address, False)


def test_a_bucket_without_conditions_is_refused_before_anything_is_written(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing(s3, lambda method, number: FORGET_CONDITIONS) as forgetful:
        set_environment(monkeypatch, {**forgetful.settings(), "AWS_SKIP_SIGNATURE": "true"})
        store = machine(f"s3://open/{uuid.uuid4().hex}", tmp_path)
        with pytest.raises(WebcamMLError, match="no conditional writes"):
            put(store, "one")
        assert list(store.remote.keys()) == []


def test_a_mirror_that_cannot_be_written_is_named(address: str, tmp_path: Path) -> None:
    stored, _ = put(machine(address, tmp_path / "here"), "one")
    (tmp_path / "file").touch()
    with pytest.raises(WebcamMLError, match=r"WEBCAM_ML_MIRROR name another folder"):
        machine(address, tmp_path / "file").find("texts", stored.data_version)


def test_the_pointer_says_what_it_says_in_a_folder(address: str, tmp_path: Path) -> None:
    here = machine(address, tmp_path / "here")
    stored, _ = put(here, "one")
    found = here.remote.get("texts/latest.json")
    assert found is not None
    assert json.loads(found.data) == {
        "version": stored.version,
        "data_version": stored.data_version,
        "created_at": stored.lineage.created_at,
    }
