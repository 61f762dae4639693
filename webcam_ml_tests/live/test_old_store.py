"""What the version before left: read, verified, compared with, rolled back to."""

import json
import shutil
from pathlib import Path

import pytest

from webcam_ml.judging import ASSET, GATES_OF_SCHEMA, Comparison, judge
from webcam_ml.live import (
    Ledger,
    LiveModel,
    candidate_counter,
    promote,
    rollback,
    verify,
    were_live,
)
from webcam_ml.live._stored import stored_versions
from webcam_ml.store import ArtifactStore

OLD = Path(__file__).parents[1] / "stores" / "v0_1"


@pytest.fixture
def old(tmp_path: Path) -> ArtifactStore:
    root = tmp_path / "artifacts"
    shutil.copytree(OLD / "artifacts", root, symlinks=True)
    for path in (root / "production" / "versions").glob("*/scorer.env"):
        path.write_text(path.read_text().replace("@ARTIFACTS@", str(root)))
    return ArtifactStore(root)


def test_the_old_history_is_read_verified_and_rolled_back(old: ArtifactStore) -> None:
    assert verify(old) == []
    before = Ledger.read(old.root / "production")
    assert {entry.schema_version for entry in before.entries} == {1}
    entry = rollback(old, target_type="binary")
    assert entry.schema_version == 2
    after = Ledger.read(old.root / "production")
    # What was written once is written again as it was.
    assert after.lines[:-1] == before.lines
    assert verify(old) == []


def test_old_evidence_is_judged_by_the_gates_of_its_day(old: ArtifactStore) -> None:
    found = [stored.load(Comparison) for stored in stored_versions(old, ASSET)]
    assert found
    for comparison in found:
        assert comparison.evidence.schema_version == 1
        verdicts = judge(comparison)
        assert set(verdicts) == GATES_OF_SCHEMA[1]
        for name, verdict in verdicts.items():
            assert verdict.numbers == comparison.verdicts[name].numbers
            assert verdict.passed == comparison.verdicts[name].passed


def test_a_model_that_is_live_on_old_evidence_stays_live(old: ArtifactStore) -> None:
    evidence = old.latest(ASSET)
    model = old.find("onnx_model", evidence.lineage.inputs["onnx_model"])
    assert not promote(model, evidence, store=old, run_id=None).is_new


def test_a_new_candidate_is_counted_beside_it_and_knows_what_it_was_judged_by(
    old: ArtifactStore,
) -> None:
    live = were_live(old, "binary")[-1]
    assert live.judged_by is not None
    assert live.judged_by.settings.relaxed_because == ""
    counted = candidate_counter(old, "binary")("new", "a" * 64, "b" * 64)
    assert counted.candidate_number == 1
    assert counted.since_entry == len(Ledger.read(old.root / "production").entries)
    assert verify(old) == []


def test_what_production_model_stored_is_read(old: ArtifactStore) -> None:
    stored = old.latest("production_model")
    live = stored.load(LiveModel)
    content = json.loads((stored.folder / "production_model.json").read_bytes())
    assert (live.model_version, live.refused) == (content["model_version"], None)
