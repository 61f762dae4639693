"""`webcam-ml summary` on a store of which parts were made again."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from webcam_ml.store import ArtifactStore, Provenance, StoredArtifact
from webcam_ml.summary import run

GRAPH = {"labels_raw": [], "manifest_train": ["labels_raw"], "checkpoint": ["manifest_train"]}


@dataclass
class Text:
    text: str

    def save(self, folder: Path) -> None:
        (folder / "text.txt").write_text(self.text)

    @classmethod
    def load(cls, folder: Path) -> "Text":
        return cls((folder / "text.txt").read_text())


@dataclass
class Index:
    """The part of an image_index that a summary reads."""

    meta: dict[str, object]

    def save(self, folder: Path) -> None:
        (folder / "image_index_meta.json").write_text(json.dumps(self.meta))

    @classmethod
    def load(cls, folder: Path) -> "Index":
        return cls(json.loads((folder / "image_index_meta.json").read_text()))


def write(store: ArtifactStore, asset: str, text: str) -> StoredArtifact:
    inputs = {name: store.latest(name) for name in GRAPH[asset]}
    stored, _ = store.write(asset, Text(text), inputs=inputs, provenance=Provenance("run"))
    return stored


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(tmp_path))
    store = ArtifactStore(tmp_path)
    for asset in GRAPH:
        write(store, asset, "first")
    return store


def notes(capsys: pytest.CaptureFixture[str], since: int | None = None) -> dict[str, str]:
    assert run(argparse.Namespace(since=since, json=False)) == 0
    lines = capsys.readouterr().out.partition("Where things are\n")[2].splitlines()
    return {line.split()[0]: line.partition("  (")[2].removesuffix(")") for line in lines}


@pytest.mark.parametrize(
    ("counts", "failures", "sentence"),
    [
        ({"ok": 900, "left_out": 0}, {}, "Pictures: 900 of 900 in use"),
        ({"ok": 896}, {"not_found": 4}, "Pictures: 896 of 900 in use (failed: 4 not_found)"),
        (
            {"ok": 884, "left_out": 12},
            {"truncated": 4},
            "Pictures: 884 of 900 in use (failed: 4 truncated; left out: 12 that show a placeholder)",
        ),
    ],
)
def test_every_picture_that_is_not_used_is_counted(store, capsys, counts, failures, sentence):
    meta = {"counts": {"snapshots": 900, **counts}, "failures_by_reason": failures}
    store.write("image_index", Index(meta), inputs={}, provenance=Provenance("run"))
    assert run(argparse.Namespace(since=None, json=False)) == 0
    assert sentence in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("store")
def test_what_agrees_has_no_note(capsys):
    assert notes(capsys) == dict.fromkeys(GRAPH, "")


@pytest.mark.usefixtures("store")
def test_what_was_made_before_is_called_unchanged(capsys):
    assert notes(capsys, since=9_999_999_999) == dict.fromkeys(GRAPH, "unchanged")


def test_what_is_behind_names_where_it_parts(store, capsys):
    write(store, "labels_raw", "second")
    behind = "made from another version of labels_raw"
    assert notes(capsys) == {"labels_raw": "", "manifest_train": behind, "checkpoint": behind}
    write(store, "manifest_train", "second")
    assert notes(capsys) == {"labels_raw": "", "manifest_train": "", "checkpoint": behind}
    write(store, "checkpoint", "second")
    assert notes(capsys) == dict.fromkeys(GRAPH, "")
