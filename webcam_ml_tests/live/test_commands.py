import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from webcam_ml import summary
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import ComparisonSettings
from webcam_ml.live import (
    PromotionRefused,
    add_release_commands,
    lineage_tree,
    prune,
    verify,
)
from webcam_ml_tests.live.fixtures import Live, bytes_below, flip
from webcam_ml_tests.live.models import DEMO, REAL, Made, Works


@pytest.fixture
def here(live: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    return live


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_release_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def test_history_tells_it_all(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    here.promote("better")
    assert run("rollback", "--reason", "odd at night") == 0
    assert run("promote", made["better"].version, "--override", "it was the lens") == 0
    capsys.readouterr()
    assert run("history") == 0
    out = capsys.readouterr().out
    lines = [line.split()[2:4] for line in out.splitlines() if line[:4].strip().isdigit()]
    first, better = made["first"].version, made["better"].version
    assert lines == [
        ["promote", first], ["promote", better], ["rollback", first], ["override", better],
    ]  # fmt: skip
    assert "odd at night" in out
    assert "it was the lens" in out
    assert "not_worse_than_champion: yes" in out
    assert f"live for binary: {better}" in out


def test_history_tells_refusals_and_what_was_relaxed(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PromotionRefused):
        here.promote("shuffled")
    lax = ComparisonSettings(min_auc=0.6, relaxed_because="labels of a new curator")
    cache = made["better"].world.cache
    here.evidence["better"] = here.works.compare(here.found["better"], cache, lax)
    here.promote("better")
    assert run("history") == 0
    lines = capsys.readouterr().out.splitlines()
    words = [line.split()[2:4] for line in lines if "Z  " in line]
    assert words == [
        ["promote", made["first"].version], ["refused", made["shuffled"].version],
        ["promote", made["better"].version],
    ]  # fmt: skip
    assert any("not_worse_than_champion: NO. ROC AUC differs" in line for line in lines)
    assert any("RELAXED" in line and "labels of a new curator" in line for line in lines)


def test_the_summary_keeps_candidate_and_live_model_apart(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    here.works.compare(here.found["shuffled"], made["first"].world.cache)
    summary.run(argparse.Namespace(since=None, json=True))
    told = json.loads(capsys.readouterr().out)
    first, shuffled = made["first"].version, made["shuffled"].version
    assert told["candidate"]["model_version"] == shuffled
    assert told["compared_with"]["model_version"] == first
    assert told["live"] == {"binary": first}
    assert "quality_floor" in told["failed"]
    paired = told["compared_with"]["metrics"]["roc_auc"]
    assert paired["candidate"]["value"] < paired["rival"]["value"]


def test_verify_compares_with_a_head_that_was_kept_elsewhere(
    here: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "head"
    kept.write_bytes((here.production / "ledger.head").read_bytes())
    assert run("verify", "--head", str(kept)) == 0
    assert "grown from the copy" in capsys.readouterr().out
    kept.write_text(kept.read_text().replace('"sha256": "', '"sha256": "0'))
    assert run("verify", "--head", str(kept)) == 1
    assert "another line 1" in capsys.readouterr().err


def test_an_empty_store_has_no_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(tmp_path))
    for command in ("history", "verify", "lineage", "prune"):
        assert run(command) == 0
    assert "no model was ever live" in capsys.readouterr().out
    with pytest.raises(WebcamMLError, match="nothing to roll back"):
        run("rollback")
    assert list(tmp_path.glob("*")) == [tmp_path / "production"]


def test_verify_exits_1_and_names_the_file(here: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    path = here.found["first"]["labels_raw"].folder / "labels.csv"
    flip(path)
    capsys.readouterr()
    assert run("verify") == 1
    assert str(path) in capsys.readouterr().err


def test_promote_needs_the_word_override(here: Live, made: dict[str, Made]) -> None:
    with pytest.raises(SystemExit):
        run("promote", made["better"].version)


def test_rollback_goes_where_it_is_told(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    here.promote("better")
    assert run("rollback", "--to", made["first"].version) == 0
    assert made["first"].version in capsys.readouterr().out


def test_the_lineage_is_a_tree_down_to_the_database(here: Live, made: dict[str, Made]) -> None:
    tree = lineage_tree(here.store)
    assert tree.splitlines()[0] == f"binary: {made['first'].version}"
    for asset, stored in here.found["first"].items():
        assert f"{asset} {stored.version}" in tree
    assert "labels_raw" in tree
    assert "from app at h" in tree
    assert "(see above)" in tree


def test_the_lineage_says_where_the_demo_was_used(made: dict[str, Made], tmp_path: Path) -> None:
    from webcam_ml.store import ArtifactStore

    works = Works(ArtifactStore(tmp_path / "store"))
    works.run(made["first"], database=DEMO)
    assert "the demo" in lineage_tree(works.store)


def test_prune_is_a_dry_run_by_default(here: Live, capsys: pytest.CaptureFixture[str]) -> None:
    before = bytes_below(here.store.root)
    assert run("prune") == 0
    assert "could be freed" in capsys.readouterr().out
    assert bytes_below(here.store.root) == before


def test_prune_frees_only_what_nothing_needs(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    here.promote("better")
    # Now the latest of each asset is of `first`; `shuffled` is neither live nor latest.
    here.works.compare(here.works.add(made["first"]), made["first"].world.cache)
    unneeded = {
        stored.folder
        for asset, stored in here.found["shuffled"].items()
        if stored not in (here.found["first"][asset], here.found["better"][asset])
    }
    assert {one.folder for one in prune(here.store)} == unneeded
    assert run("prune", "--yes") == 0
    assert not any(folder.exists() for folder in unneeded)
    assert verify(here.store) == []
    for name in ("first", "better"):
        for stored in here.found[name].values():
            stored.verify()
    assert here.evidence["shuffled"].folder.exists()
    assert prune(here.store) == []
    assert run("rollback") == 0
    assert verify(here.store) == []


def test_prune_keeps_the_checkpoint_that_says_how_old_a_choice_is(
    here: Live, made: dict[str, Made]
) -> None:
    checkpoint = made["first"].checkpoint
    stored = {}
    for name, chosen in (("other", "b"), ("oldest", "a"), ("between", "a"), ("latest", "a")):
        summary = {**checkpoint.summary, "auto": {"chosen": chosen}, "labels": name}
        stored[name] = here.works.put("checkpoint", replace(checkpoint, summary=summary), REAL)
    freed = {one.folder for one in prune(here.store)}
    assert [name for name, one in stored.items() if one.folder in freed] == ["other", "between"]


def test_prune_frees_damaged_folders_that_were_moved_aside(
    here: Live, made: dict[str, Made], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {one.folder for one in prune(here.store)}
    flip(here.found["first"]["labels_raw"].folder / "labels.csv")
    here.works.add(made["first"])
    (aside,) = here.store.damaged("labels_raw")
    assert {one.folder for one in prune(here.store)} - before >= {aside}
    assert run("prune", "--yes") == 0
    assert str(aside) in capsys.readouterr().out
    assert not aside.exists()
    assert verify(here.store) == []


def test_prune_keeps_the_ancestors_of_what_is_latest(here: Live) -> None:
    latest = here.store.latest("onnx_model")
    kept = {
        here.store.find(asset, version).folder
        for asset, version in latest.lineage.ancestors.items()
    }
    assert not kept & {one.folder for one in prune(here.store)}


def test_whoever_reads_only_the_first_lines_gets_no_trace(live: Live) -> None:
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [sys.executable, "-m", "webcam_ml.cli", "history"],
        env={**os.environ, "WEBCAM_ML_ARTIFACTS": str(live.store.root)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, "")
