"""Candidates, trained once, and a store in which the first of them is live."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from webcam_ml.live import Promotion, promote
from webcam_ml.live._production import changing_production
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml_tests.live.models import Made, Works, make_all
from webcam_ml_tests.world import made_once


@dataclass(frozen=True)
class Live:
    """A store where `first` is live, and evidence on the other two against it."""

    works: Works
    found: dict[str, dict[str, StoredArtifact]]
    evidence: dict[str, StoredArtifact]

    @property
    def store(self) -> ArtifactStore:
        return self.works.store

    @property
    def production(self) -> Path:
        return self.store.root / "production"

    def promote(self, name: str) -> Promotion:
        return promote(
            self.found[name]["onnx_model"], self.evidence[name], store=self.store, run_id="run"
        )

    def moved(self, root: Path) -> "Live":
        """The same in a copy whose files are shared: replace them, do not write into them."""
        shutil.copytree(self.store.root, root, copy_function=os.link, symlinks=True)
        works = Works(ArtifactStore(root))
        with changing_production(works.store):
            pass  # lets scorer.env name the new place

        def here(stored: StoredArtifact) -> StoredArtifact:
            return works.store.find(stored.asset, stored.data_version)

        return Live(
            works,
            {
                name: {asset: here(stored) for asset, stored in by_asset.items()}
                for name, by_asset in self.found.items()
            },
            {name: here(stored) for name, stored in self.evidence.items()},
        )


@pytest.fixture(scope="session")
def made() -> dict[str, Made]:
    return made_once("candidates", make_all)


@pytest.fixture(scope="session")
def prepared(made: dict[str, Made]) -> Live:
    return made_once("first-model-live", lambda folder: prepare(made, folder))


def prepare(made: dict[str, Made], folder: Path) -> Live:
    works = Works(ArtifactStore(folder / "artifacts"))
    found = {name: works.add(one) for name, one in made.items()}
    cache = made["first"].world.cache
    evidence = {"first": works.compare(found["first"], cache)}
    promote(found["first"]["onnx_model"], evidence["first"], store=works.store, run_id="run")
    for name in ("better", "shuffled"):
        evidence[name] = works.compare(found[name], cache)
    return Live(works, found, evidence)


@pytest.fixture
def live(prepared: Live, tmp_path: Path) -> Live:
    return prepared.moved(tmp_path / "artifacts")


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Every file and link below a folder, but for locks."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or (path.is_file() and path.name != ".lock")
    }


def flip(path: Path, position: int | None = None) -> None:
    """Change one bit of a file, in a new file: the old one may be shared."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1
    path.unlink()
    path.write_bytes(bytes(data))


def overwrite(path: Path) -> None:
    """Change one bit of a file in place, under all its names."""
    alone = path.read_bytes()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(len(alone) // 2)
        file.write(bytes([alone[len(alone) // 2] ^ 1]))
