import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    Provenance,
    StoredArtifact,
    require_common_ancestry,
    share_file,
)


@dataclass(frozen=True)
class Note:
    text: str

    def save(self, folder: Path) -> None:
        (folder / "note.txt").write_text(self.text)
        (folder / "length.json").write_text(str(len(self.text)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls((folder / "note.txt").read_text())


@dataclass(frozen=True)
class Unwritable(Note):
    def save(self, folder: Path) -> None:
        super().save(folder)
        raise OSError(28, "No space left on device")


def write(
    store: ArtifactStore, asset: str, text: str, run_id: str = "run", **inputs: StoredArtifact
) -> StoredArtifact:
    return store.write(asset, Note(text), inputs=inputs, provenance=Provenance(run_id))[0]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_a_value_is_read_back_as_it_was_written(store: ArtifactStore) -> None:
    stored = write(store, "notes", "hello")
    assert store.find("notes", stored.data_version).load(Note) == Note("hello")
    assert store.latest("notes") == stored


def test_equal_content_and_inputs_reuse_the_folder_whatever_the_run(store: ArtifactStore) -> None:
    first, is_new = store.write("notes", Note("a"), inputs={}, provenance=Provenance("run 1"))
    again, is_new_again = store.write("notes", Note("a"), inputs={}, provenance=Provenance("run 2"))
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert again.lineage.run_id == "run 1"


def test_a_version_names_its_whole_ancestry(store: ArtifactStore) -> None:
    mothers = [write(store, "mother", text) for text in "ab"]
    daughters = [write(store, "daughter", "same", mother=mother) for mother in mothers]
    assert daughters[0].data_version != daughters[1].data_version
    child = write(store, "child", "same", daughter=daughters[0])
    assert child.lineage.ancestors == {
        "daughter": daughters[0].data_version,
        "mother": mothers[0].data_version,
    }
    assert child.lineage.inputs == {"daughter": daughters[0].data_version}


def test_latest_follows_a_return_to_an_older_version(store: ArtifactStore) -> None:
    first = write(store, "notes", "a")
    write(store, "notes", "b")
    assert store.latest("notes") != first
    write(store, "notes", "a")
    assert store.latest("notes") == first
    pointer = json.loads((store.root / "notes" / "latest.json").read_text())
    assert set(pointer) == {"version", "data_version", "created_at"}
    assert pointer["version"].endswith("-" + first.data_version[:12])


@pytest.mark.parametrize("change", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("name", ["note.txt", "length.json"])
def test_a_file_changed_by_hand_is_noticed_before_use(
    store: ArtifactStore, change: str, name: str
) -> None:
    stored = write(store, "notes", "hello")
    path = stored.folder / name
    data = path.read_bytes()
    if change == "flip":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif change == "truncate":
        path.write_bytes(data[:-1])
    else:
        path.unlink()
    with pytest.raises(ArtifactDamagedError, match=name):
        store.find("notes", stored.data_version).load(Note)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"files": 3}', "\xff", "[" * 200_000])
def test_an_unreadable_lineage_is_named(store: ArtifactStore, content: str) -> None:
    stored = write(store, "notes", "hello")
    (stored.folder / "lineage.json").write_text(content, encoding="latin-1")
    with pytest.raises(ArtifactDamagedError, match=r"lineage\.json"):
        store.find("notes", stored.data_version)


@pytest.mark.parametrize(
    "change",
    [
        *({"files": {name: {"sha256": "0", "size": 1}}} for name in ("", "..", ".hid", "a\0b")),
        {"files": {"a": {"sha256": "0", "size": float("inf")}}},
        {"inputs": None},
        {"inputs": ["a"]},
    ],
)
def test_a_lineage_of_what_cannot_be_stored_is_damaged(
    store: ArtifactStore, change: dict[str, object]
) -> None:
    stored = write(store, "notes", "hello")
    path = stored.folder / "lineage.json"
    record = json.loads(path.read_text())
    del record["record_sha256"]
    path.write_text(json.dumps(record | change))
    with pytest.raises(ArtifactDamagedError, match=r"lineage\.json"):
        store.find("notes", stored.data_version)


def test_digests_in_lineage_cannot_be_exchanged_together_with_the_file(
    store: ArtifactStore,
) -> None:
    stored = write(store, "notes", "hello")
    other = write(store, "others", "hallo")
    path = stored.folder / "lineage.json"
    record = json.loads(path.read_text())
    record["files"] = json.loads((other.folder / "lineage.json").read_text())["files"]
    del record["record_sha256"]  # who exchanges digests can leave this out as well
    path.write_text(json.dumps(record))
    (stored.folder / "note.txt").write_text("hallo")
    with pytest.raises(ArtifactDamagedError, match="data_version"):
        store.find("notes", stored.data_version).load(Note)


def test_a_damaged_version_is_moved_aside_and_written_afresh(store: ArtifactStore) -> None:
    stored = write(store, "notes", "hello")
    (stored.folder / "note.txt").write_text("HELLO")
    again, is_new = store.write("notes", Note("hello"), inputs={}, provenance=Provenance("run"))
    assert is_new
    assert again.load(Note) == Note("hello")
    (aside,) = store.root.glob("notes/*.damaged-*")
    assert (aside / "note.txt").read_text() == "HELLO"


def test_a_failed_write_leaves_what_was_there(store: ArtifactStore) -> None:
    stored = write(store, "notes", "hello")
    with pytest.raises(WebcamMLError, match="No space left"):
        store.write("notes", Unwritable("new"), inputs={}, provenance=Provenance("run"))
    assert store.latest("notes") == stored
    assert not list(store.root.glob("notes/.unfinished-*"))


def test_a_run_killed_in_the_middle_of_a_write_leaves_nothing_and_blocks_nobody(
    store: ArtifactStore,
) -> None:
    before = write(store, "notes", "before")
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from webcam_ml.store import (ArtifactStore, Provenance)
        class Slow:
            def save(self, folder):
                (folder / "note.txt").write_text("half")
                print("writing", flush=True)
                time.sleep(60)
        store = ArtifactStore(Path(sys.argv[1]))
        store.write("notes", Slow(), inputs={}, provenance=Provenance("killed"))
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(store.root)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        os.kill(process.pid, signal.SIGKILL)
    assert store.latest("notes") == before
    assert list(store.root.glob("notes/.unfinished-*"))
    after = write(store, "notes", "after")
    assert store.latest("notes") == after
    assert not list(store.root.glob("notes/.unfinished-*"))


def test_writers_at_once_store_each_version_once(store: ArtifactStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda i: write(store, "notes", f"text {i % 3}"), range(24)))
    assert len({s.version for s in stored}) == 3
    for s in stored:
        s.verify()


def test_what_was_never_stored_says_what_to_run(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactMissingError, match=r"--select .\*notes."):
        store.latest("notes")
    with pytest.raises(ArtifactMissingError, match="WEBCAM_ML_ARTIFACTS"):
        store.find("notes", "0" * 64)


def test_inputs_that_disagree_on_an_ancestor_are_refused_and_the_older_is_named(
    store: ArtifactStore,
) -> None:
    old = write(store, "manifest", "binary")
    train = write(store, "train", "rows", manifest=old)
    checkpoint = write(store, "checkpoint", "model", train=train)
    agreeing = {"checkpoint": checkpoint, "test": write(store, "test", "rows", manifest=old)}
    require_common_ancestry("report", agreeing, store=store)

    new = write(store, "manifest", "regression")
    test = write(store, "test", "other rows", manifest=new)
    with pytest.raises(WebcamMLError) as caught:
        require_common_ancestry("report", {"checkpoint": checkpoint, "test": test}, store=store)
    message = str(caught.value)
    assert "report cannot run: its inputs checkpoint and test" in message
    assert "different versions of manifest" in message
    assert message.endswith("--select 'checkpoint,train'")


def test_an_input_that_is_itself_the_shared_ancestor_counts(store: ArtifactStore) -> None:
    old = write(store, "manifest", "a")
    train = write(store, "train", "rows", manifest=old)
    new = write(store, "manifest", "b")
    with pytest.raises(WebcamMLError, match="--select 'train'"):
        require_common_ancestry("index", {"manifest": new, "train": train}, store=store)


def test_a_lineage_without_the_fields_that_came_later_is_still_read(store: ArtifactStore) -> None:
    stored = write(store, "notes", "hello")
    path = stored.folder / "lineage.json"
    record = json.loads(path.read_text())
    del record["measurements"], record["record_sha256"]
    path.write_text(json.dumps(record))
    assert store.find("notes", stored.data_version).load(Note) == Note("hello")


def test_a_file_is_copied_where_it_cannot_have_a_second_name(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    target = tmp_path / "model.onnx"
    target.write_bytes(b"damaged")
    with tempfile.NamedTemporaryFile(dir=memory) as source:
        source.write(b"whole")
        source.flush()
        share_file(Path(source.name), target)
    assert target.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
