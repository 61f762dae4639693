"""`webcam-ml summary` on a store of which parts were made again."""

import argparse
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
