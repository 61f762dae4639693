import shutil
from pathlib import Path
from typing import Self

import pytest

from webcam_ml.evaluation import Verdict
from webcam_ml.judging import Comparison
from webcam_ml.live import PromotionRefused, promote_override, rollback, verify
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml_tests.live.fixtures import Live, flip
from webcam_ml_tests.live.models import Made


def test_a_store_without_production_has_nothing_to_verify(tmp_path: Path) -> None:
    assert verify(ArtifactStore(tmp_path)) == []


def test_one_flipped_byte_anywhere_in_the_chain_is_named(live: Live) -> None:
    live.promote("better")
    assert verify(live.store) == []
    judged_not_live = {live.evidence["shuffled"].folder, *(
        stored.folder for stored in live.found["shuffled"].values()
    )}  # fmt: skip
    shared = {
        stored.folder
        for name in ("first", "better")
        for stored in [*live.found[name].values(), live.evidence[name]]
    }
    chain = [
        path
        for path in sorted(live.store.root.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and path.name not in (".lock", "latest.json")
        and path.parent not in judged_not_live - shared
    ]
    assert {"labels.csv", "lineage.json", "ledger.jsonl", "best.pt", "scorer.env"} <= {
        path.name for path in chain
    }
    for path in chain:
        original = path.read_bytes()
        flip(path)
        problems = verify(live.store)
        assert path in {problem.path for problem in problems}, path
        path.write_bytes(original)
    assert verify(live.store) == []


def test_an_artifact_that_is_gone_is_named_until_it_is_made_again(
    live: Live, made: dict[str, Made]
) -> None:
    folder = live.found["first"]["labels_raw"].folder
    shutil.rmtree(folder)
    (problem,) = verify(live.store)
    assert problem.path == folder
    live.works.add(made["first"])
    assert verify(live.store) == []


def test_a_line_that_was_removed_from_the_ledger_is_found(live: Live) -> None:
    live.promote("better")
    path = live.production / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for gone in range(len(lines)):
        path.write_bytes(b"".join(line for i, line in enumerate(lines) if i != gone))
        assert path in {problem.path for problem in verify(live.store)}


def test_the_whole_history_with_overrides_and_rollbacks_verifies(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    promote_override(live.store, made["shuffled"].version, reason="a drill")
    rollback(live.store)
    assert verify(live.store) == []


def commit(live: Live, made: Made, evidence: StoredArtifact) -> None:
    """A promotion of shuffled labels, as by a program without gates: whole files, bad numbers."""
    from webcam_ml.live._layout import VERSION_FILES
    from webcam_ml.live._production import changing_production, sha256_of
    from webcam_ml.live._promotion import _lineage_records

    with changing_production(live.store) as production:
        production.add_version(live.found["shuffled"]["onnx_model"])
        folder = live.production / "versions" / made.version
        production.commit(
            "promote", "binary", made.version,
            digests={name: sha256_of(folder / name) for name in VERSION_FILES},
            lineage=_lineage_records(live.store, live.found["shuffled"]["onnx_model"], evidence),
            verdicts=live.evidence["better"].load(Comparison).verdicts,
            candidates_judged=1, reason=None, run_id=None,
        )  # fmt: skip


def test_a_gate_that_would_say_no_today_is_reported(live: Live, made: dict[str, Made]) -> None:
    commit(live, made["shuffled"], live.evidence["shuffled"])
    problems = verify(live.store)
    assert {problem.path for problem in problems} == {
        live.evidence["shuffled"].folder / "champion_comparison.json"
    }
    assert any("quality_floor says no" in problem.what for problem in problems)


def test_a_gate_that_was_added_later_does_not_undo_a_decision(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webcam_ml.judging import _gates

    def never(_: Comparison) -> Verdict:
        return Verdict(False, "Nothing is good enough.", {})

    monkeypatch.setattr(_gates, "GATES", {**_gates.GATES, "never": never})
    assert not _gates.judge(live.evidence["first"].load(Comparison))["never"].passed
    assert verify(live.store) == []
    with pytest.raises(PromotionRefused, match="never: Nothing is good enough"):
        live.promote("better")


class BrokenEvidence:
    """Whole files that say nothing: as of a version of the program that wrote another schema."""

    def save(self, folder: Path) -> None:
        (folder / "champion_comparison.json").write_text('{"schema_version": 0, "verdicts": {}}')

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def test_evidence_that_cannot_be_read_is_a_problem_not_a_crash(
    live: Live, made: dict[str, Made]
) -> None:
    inputs = live.evidence["shuffled"].lineage.inputs
    broken = live.works.put(
        "champion_comparison", BrokenEvidence(),
        **{name: live.store.find(name, version) for name, version in inputs.items()},
    )  # fmt: skip
    commit(live, made["shuffled"], broken)
    (problem,) = verify(live.store)
    assert problem.path == broken.folder
    assert "cannot be judged again" in problem.what


def test_verifying_changes_nothing_and_works_where_nothing_can_be_written(live: Live) -> None:
    before = sorted(live.store.root.rglob("*"))
    for path in (live.production, *live.production.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)
    try:
        assert verify(live.store) == []
    finally:
        for path in (live.production, *live.production.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
    assert sorted(live.store.root.rglob("*")) == before


def test_a_store_that_was_moved_says_so_until_the_next_command(live: Live, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    live.store.root.rename(moved)
    store = ArtifactStore(moved)
    problems = verify(store)
    assert {problem.path.name for problem in problems} == {"scorer.env"}
    assert all("the store was moved" in problem.what for problem in problems)
