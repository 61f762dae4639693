import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from webcam_ml.evaluation import Verdict
from webcam_ml.judging import Comparison
from webcam_ml.live import LiveModel, PromotionRefused, promote_override, rollback, verify
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
        live.evidence["shuffled"].folder / "champion_comparison.json",
        live.production / "ledger.jsonl",
    }
    assert any("quality_floor says no" in problem.what for problem in problems)


def rewritten(live: Live, change: Callable[[dict[str, Any]], None]) -> None:
    """The last line of the ledger changed by somebody who knows how chain and head are made."""
    path = live.production / "ledger.jsonl"
    lines = path.read_bytes().splitlines()
    entry = json.loads(lines[-1])
    change(entry)
    lines[-1] = json.dumps(entry).encode()
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    head = {"entries": len(lines), "sha256": hashlib.sha256(lines[-1]).hexdigest()}
    (live.production / "ledger.head").write_text(json.dumps(head) + "\n")


def test_numbers_that_do_not_follow_from_the_evidence_are_found(live: Live) -> None:
    live.promote("better")

    def better(entry: dict[str, Any]) -> None:
        entry["verdicts"]["quality_floor"]["numbers"]["value"] = 0.99

    rewritten(live, better)
    (problem,) = verify(live.store)
    assert "says value 0.99 for quality_floor" in problem.what


@pytest.mark.parametrize("schema", [2, 1])
def test_a_line_with_fewer_gates_than_there_were_is_found(live: Live, schema: int) -> None:
    live.promote("better")

    def fewer(entry: dict[str, Any]) -> None:
        del entry["verdicts"]["not_worse_than_champion"]
        entry["schema_version"] = schema

    rewritten(live, fewer)
    said = " ".join(problem.what for problem in verify(live.store))
    assert "without a verdict of not_worse_than_champion" in said
    assert ("older version of the program" in said) is (schema == 1)


def test_a_history_that_is_gone_is_found_by_what_production_model_recorded(
    live: Live, made: dict[str, Made]
) -> None:
    live.works.put(
        "production_model", LiveModel.of(live.promote("better")),
        onnx_model=live.found["better"]["onnx_model"],
        champion_comparison=live.evidence["better"],
    )  # fmt: skip
    assert verify(live.store) == []
    shutil.rmtree(live.production)
    (problem,) = verify(live.store)
    assert f"says that {made['better'].version} was live" in problem.what


def test_a_kept_head_finds_a_consistent_new_history(live: Live, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes((live.production / "ledger.head").read_bytes())
    live.promote("better")
    # The ledger has grown from the line that was kept.
    assert verify(live.store, head=kept) == []
    later = tmp_path / "later"
    later.write_bytes((live.production / "ledger.head").read_bytes())

    def another(entry: dict[str, Any]) -> None:
        entry["time"] = "2020-01-01T00:00:00+00:00"

    rewritten(live, another)
    assert verify(live.store) == []
    (problem,) = verify(live.store, head=later)
    assert "another line 2" in problem.what
    shutil.rmtree(live.production)
    assert any("there were 2 when" in problem.what for problem in verify(live.store, head=later))
    (unreadable,) = verify(live.store, head=tmp_path / "nowhere")
    assert unreadable.path == tmp_path / "nowhere"


@pytest.mark.parametrize("entries", [-1, 0.5, True, "1", None])
def test_a_kept_head_without_a_count_is_no_head(
    live: Live, tmp_path: Path, entries: object
) -> None:
    kept = tmp_path / "kept"
    content = json.loads((live.production / "ledger.head").read_bytes())
    kept.write_text(json.dumps(content | {"entries": entries}))
    (problem,) = verify(live.store, head=kept)
    assert problem.path == kept
    assert "which is no count" in problem.what


@pytest.mark.parametrize("name", ["judged.jsonl", "refusals.jsonl"])
def test_a_changed_line_beside_the_ledger_is_found(live: Live, name: str) -> None:
    with pytest.raises(PromotionRefused):
        live.promote("shuffled")
    path = live.production / name
    changed = path.read_bytes().replace(b'"time": "2', b'"time": "3')
    path.unlink()
    path.write_bytes(changed)
    (problem,) = verify(live.store)
    assert problem.path == path


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
