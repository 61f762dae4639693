"""What somebody deleted is noticed, and nothing begins anew because of it."""

import argparse
import json
import shutil
from pathlib import Path

import pytest

from webcam_ml.judging import Comparison
from webcam_ml.live import (
    Ledger,
    LedgerDamagedError,
    LiveModel,
    PromotionRefused,
    add_release_commands,
    candidate_counter,
    promote_override,
    read_refusals,
    verify,
)
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made


@pytest.fixture
def recorded(live: Live) -> Live:
    """production_model recorded that `first` is live, as every run of the graph does."""
    live.works.put(
        "production_model", LiveModel.of(live.promote("first")),
        onnx_model=live.found["first"]["onnx_model"], champion_comparison=live.evidence["first"],
    )  # fmt: skip
    return live


@pytest.fixture
def refused(live: Live) -> Live:
    with pytest.raises(PromotionRefused):
        live.promote("shuffled")
    return live


def told(live: Live) -> dict[str, str]:
    return {problem.path.name: problem.what for problem in verify(live.store)}


def history(live: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    parser = argparse.ArgumentParser()
    add_release_commands(parser.add_subparsers(required=True))
    options = parser.parse_args(["history"])
    options.run(options)
    return capsys.readouterr().out


# --- production/ as a whole -------------------------------------------------------------------------


def test_whoever_deletes_the_history_does_not_make_a_first_model(
    recorded: Live, made: dict[str, Made]
) -> None:
    """`first` would be compared with nothing, and so would any model that is worse than it."""
    shutil.rmtree(recorded.production)
    again = recorded.works.compare(recorded.found["better"], made["better"].world.cache)
    assert again.load(Comparison).evidence.champion is None
    recorded.evidence["better"] = again
    first = made["first"].version
    with pytest.raises(PromotionRefused, match=f"says that {first} was live.* --override") as no:
        recorded.promote("better")
    assert no.value.refusal is None
    assert not (recorded.production / "binary").exists()


def test_a_person_may_go_on_without_the_history_and_the_ledger_says_so(
    recorded: Live,
    made: dict[str, Made],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(recorded.production)
    assert verify(recorded.store)
    better, first = made["better"].version, made["first"].version
    entry = promote_override(recorded.store, better, reason="the disk is gone")
    assert entry.lost == (first,)
    assert verify(recorded.store) == []
    assert f"these were live: {first}" in history(recorded, monkeypatch, capsys)
    # From there on everything is as usual.
    evidence = recorded.works.compare(recorded.found["first"], made["first"].world.cache)
    recorded.evidence["first"] = evidence
    with pytest.raises(PromotionRefused, match="not_worse_than_champion"):
        recorded.promote("first")


def test_a_history_that_was_begun_anew_can_be_owned_up_to_by_the_model_that_is_live(
    recorded: Live, made: dict[str, Made]
) -> None:
    """As an earlier version of the program let it begin: with a model that is live and knows of none."""
    better, first = made["better"].version, made["first"].version
    folder = recorded.store.root / "production_model"
    folder.rename(aside := folder.with_name(".aside"))
    shutil.rmtree(recorded.production)
    promote_override(recorded.store, better, reason="anew")
    aside.rename(folder)
    assert any(f"says that {first} was live" in problem.what for problem in verify(recorded.store))
    entry = promote_override(recorded.store, better, reason="it was lost in the move")
    assert (entry.version, entry.replaces, entry.lost) == (better, better, (first,))
    assert verify(recorded.store) == []
    with pytest.raises(PromotionRefused, match="live already"):
        promote_override(recorded.store, better, reason="once more")


# --- the files beside the ledger --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["judged.jsonl", "refusals.jsonl"])
def test_a_file_beside_the_ledger_that_is_gone_is_found(refused: Live, name: str) -> None:
    (refused.production / name).unlink()
    assert {name, "ledger.head"} <= told(refused).keys()
    assert "by ledger.head" in told(refused)[name]


def test_the_end_of_the_count_deleted_with_its_evidence_is_found_and_promotes_nothing(
    refused: Live,
) -> None:
    cut_off(refused)
    assert "has 1 lines, and there were 2" in told(refused)["judged.jsonl"]
    with pytest.raises(PromotionRefused, match=r"cannot be told: .* has 1 lines.* run: dagster"):
        refused.promote("better")


def test_a_count_whose_end_is_lost_goes_on_behind_all_that_there_were(
    refused: Live, made: dict[str, Made]
) -> None:
    cut_off(refused)
    count = candidate_counter(refused.store, "binary")
    assert count("another", "a" * 64, "f" * 64).candidate_number == 3
    assert verify(refused.store) == []
    lines = (refused.production / "judged.jsonl").read_text().splitlines()
    assert [json.loads(line)["lost"] for line in lines] == [None, 2]


def test_a_candidate_that_was_counted_before_the_loss_is_judged_as_the_last_one(
    refused: Live, made: dict[str, Made]
) -> None:
    """Its line is there; how many came after it nobody knows."""
    cut_off(refused)
    again = refused.works.compare(refused.found["better"], made["better"].world.cache)
    champion = again.load(Comparison).evidence.champion
    assert champion is not None
    assert champion.pair is not None
    assert champion.pair.candidate_number == 3
    refused.evidence["better"] = again
    assert verify(refused.store) == []
    assert refused.promote("better").is_new


def cut_off(live: Live) -> None:
    """Take the second candidate out of count and evidence."""
    path = live.production / "judged.jsonl"
    first = path.read_bytes().splitlines(keepends=True)[0]
    path.unlink()
    path.write_bytes(first)
    shutil.rmtree(live.evidence["shuffled"].folder)


def test_the_refusal_after_a_loss_says_that_there_was_one(
    refused: Live,
    made: dict[str, Made],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (refused.production / "refusals.jsonl").unlink()
    with pytest.raises(PromotionRefused):
        refused.promote("shuffled")
    (refusal,) = read_refusals(refused.production)
    assert refusal.lost == 1
    assert verify(refused.store) == []
    assert "some of the 1 refusals before are lost" in history(refused, monkeypatch, capsys)
    # And nobody takes that word back.
    path = refused.production / "refusals.jsonl"
    changed = path.read_bytes().replace(b'"lost": 1', b'"lost": null')
    path.unlink()
    path.write_bytes(changed)
    with pytest.raises(LedgerDamagedError, match="line 1 that was changed"):
        read_refusals(refused.production)


def test_a_kept_head_finds_what_was_lost_and_written_over(refused: Live, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copy(refused.production / "ledger.head", kept)
    cut_off(refused)
    candidate_counter(refused.store, "binary")("another", "a" * 64, "f" * 64)
    assert verify(refused.store) == []
    (problem,) = verify(refused.store, head=kept)
    assert problem.path.name == "judged.jsonl"
    assert "has another line 2 than there was when" in problem.what


def test_a_head_of_before_names_no_ends_and_gets_them(refused: Live) -> None:
    """As it was written when the ledger alone had an end."""
    path = refused.production / "ledger.head"
    old = {k: v for k, v in json.loads(path.read_bytes()).items() if k != "beside"}
    path.unlink()
    path.write_text(json.dumps(old) + "\n")
    assert verify(refused.store) == []
    assert Ledger.read(refused.production).beside == {}
    refused.promote("better")
    ends = Ledger.read(refused.production).beside
    assert {name: end.entries for name, end in ends.items()} == {
        "judged.jsonl": 2, "refusals.jsonl": 1,
    }  # fmt: skip


def test_what_grew_beyond_the_head_is_no_loss(refused: Live) -> None:
    """The process was killed after it wrote a line and before it wrote the head."""
    path = refused.production / "ledger.head"
    before = path.read_bytes()
    candidate_counter(refused.store, "binary")("another", "a" * 64, "f" * 64)
    after = path.read_bytes()
    path.unlink()
    path.write_bytes(before)
    assert verify(refused.store) == []
    with pytest.raises(PromotionRefused):
        refused.promote("shuffled")
    assert path.read_bytes() == after


@pytest.mark.parametrize(
    "beside", ["a text", {"judged.jsonl": 3}, {"judged.jsonl": {"entries": -1, "sha256": "0"}}]
)
def test_a_head_that_names_no_ends_is_damaged(live: Live, beside: object) -> None:
    path = live.production / "ledger.head"
    content = json.loads(path.read_bytes()) | {"beside": beside}
    path.unlink()
    path.write_text(json.dumps(content))
    with pytest.raises(LedgerDamagedError, match="cannot be read"):
        Ledger.read(live.production)
