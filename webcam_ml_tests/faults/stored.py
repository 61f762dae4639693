"""What a store holds, and whether all of it is whole."""

import json
import sys
from pathlib import Path

from webcam_ml.orchestration.retraining.presence import Presence, presence
from webcam_ml.store import ArtifactStore
from webcam_ml.training import training_turn
from webcam_ml_tests.integration.project import Project


def require_whole(artifacts: Path) -> int:
    """Verify everything that can be seen in a store; gives the number of versions."""
    store, versions = ArtifactStore(artifacts), 0
    for folder in sorted(path for path in artifacts.glob("[!.]*") if path.is_dir()):
        if folder.name == "production":
            continue
        for version in folder.glob("[!.]*/"):
            lineage = json.loads((version / "lineage.json").read_bytes())
            stored = store.find(folder.name, lineage["data_version"])
            stored.verify()
            assert {path.name for path in version.iterdir()} == {*lineage["files"], "lineage.json"}
            versions += 1
        if (folder / "latest.json").exists():
            store.latest(folder.name).verify()
    return versions


def require_nobody_at_work(artifacts: Path) -> None:
    """What a killed run held is free: neither the next training nor the sensor waits for it."""
    store = ArtifactStore(artifacts)
    for path in (artifacts / ".runs").glob("*.lock"):
        run_id = path.name.rpartition("-")[0]
        assert presence(store, run_id=run_id) is Presence.KILLED
    with training_turn(store, run_id="the test"):
        pass


def live(project: Project) -> list[tuple[object, ...]]:
    """What was ever live, without times and run ids."""
    ledger = project.artifacts / "production" / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [(line["action"], line["version"], line["digests"]["model.onnx"]) for line in lines]


def latest_files(project: Project) -> dict[str, object]:
    """The digests of the latest version of each asset, and its data_version."""
    found = {}
    for pointer in sorted(project.artifacts.glob("*/latest.json")):
        version = json.loads(pointer.read_text())["version"]
        lineage = json.loads((pointer.parent / version / "lineage.json").read_text())
        found[lineage["asset"]] = (lineage["data_version"], lineage["files"])
    return found


def require_equal(project: Project, undisturbed: Project) -> None:
    """Compare results: versions, bytes, and what is live by which history."""
    require_whole(project.artifacts)
    assert latest_files(project) == latest_files(undisturbed)
    assert live(project) == live(undisturbed)


if __name__ == "__main__":
    require_whole(Path(sys.argv[1]))
