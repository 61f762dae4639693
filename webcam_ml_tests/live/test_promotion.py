import json
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import GATES, Comparison, ComparisonSettings
from webcam_ml.judging._evidence import as_judged
from webcam_ml.judging._gates import judge
from webcam_ml.live import (
    Ledger,
    LedgerDamagedError,
    LiveModel,
    PromotionRefused,
    candidate_counter,
    promote,
    promote_override,
    read_refusals,
    rollback,
    verify,
)
from webcam_ml.live._production import changing_production
from webcam_ml.orchestration.live_events import _event
from webcam_ml.orchestration.presentation import of_promotion
from webcam_ml.scoring import Scorer
from webcam_ml.store import ArtifactDamagedError, ArtifactStore
from webcam_ml_tests.live.fixtures import Live, bytes_below, flip, overwrite
from webcam_ml_tests.live.models import DEMO, Made, Works
from webcam_ml_tests.world import draw


def environment(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "scorer.env").read_text().splitlines())


def with_comparison(live: Live, name: str, comparison: Comparison) -> None:
    live.evidence[name] = live.works.put_evidence(comparison, live.found[name])


def test_what_goes_live_is_served_under_its_own_name_from_the_stable_path(
    live: Live, made: dict[str, Made]
) -> None:
    link = live.production / "binary"
    assert sorted(path.name for path in link.iterdir()) == [
        "model.meta.json", "model.onnx", "scorer.env",
    ]  # fmt: skip
    assert str(link.readlink()) == f"versions/{made['first'].version}"
    variables = environment(link)
    assert list(variables) == ["AI_SCORING_MODE", "AI_MODEL_VERSION", "AI_ONNX_MODEL_PATH"]
    assert variables["AI_ONNX_MODEL_PATH"] == str(link / "model.onnx")
    scorer = Scorer.from_env(variables)
    assert scorer.score(draw(4.0, 1)).model_version == made["first"].version
    assert (link / "model.onnx").read_bytes() == made["first"].exported.model


def test_what_goes_live_is_the_stored_file_under_another_name(live: Live) -> None:
    live.promote("better")
    stored = live.found["better"]["onnx_model"].folder
    for name in ("model.onnx", "model.meta.json"):
        served = live.production / "binary" / name
        assert served.samefile(stored / name)
        assert not served.stat().st_mode & 0o222


def test_a_better_model_replaces_the_live_one_and_a_rollback_brings_that_back(
    live: Live, made: dict[str, Made]
) -> None:
    before = bytes_below(live.production / "binary")
    promotion = live.promote("better")
    assert promotion.is_new
    assert environment(live.production / "binary")["AI_MODEL_VERSION"] == made["better"].version
    assert verify(live.store) == []
    assert rollback(live.store, reason="odd scores at night").version == made["first"].version
    assert bytes_below(live.production / "binary") == before
    assert verify(live.store) == []
    told = [(one.action, one.version, one.replaces) for one in Ledger.read(live.production).entries]
    first, better = made["first"].version, made["better"].version
    assert told == [
        ("promote", first, None), ("promote", better, first), ("rollback", first, better),
    ]  # fmt: skip


def but_refusals(files: dict[str, bytes]) -> dict[str, bytes]:
    told_of_it = ("refusals.jsonl", "ledger.head")
    return {name: content for name, content in files.items() if name not in told_of_it}


def test_a_model_of_shuffled_labels_is_refused_and_live_files_stay_to_the_byte(
    live: Live, made: dict[str, Made]
) -> None:
    before = but_refusals(bytes_below(live.production))
    with pytest.raises(PromotionRefused, match="not_worse_than_champion") as caught:
        live.promote("shuffled")
    assert but_refusals(bytes_below(live.production)) == before
    assert set(caught.value.verdicts) == set(GATES)
    # A second look at the same evidence is no second refusal.
    with pytest.raises(PromotionRefused):
        live.promote("shuffled")
    (refusal,) = read_refusals(live.production)
    assert refusal == caught.value.refusal
    assert (refusal.version, refusal.live) == (made["shuffled"].version, made["first"].version)
    assert {"quality_floor", "not_worse_than_champion"} <= set(refusal.verdicts)
    assert f"webcam-ml promote {refusal.version} --override" in refusal.reason


def test_a_refusal_says_what_is_live_and_what_was_refused(live: Live, tmp_path: Path) -> None:
    with pytest.raises(PromotionRefused) as caught:
        live.promote("shuffled")
    assert caught.value.refusal is not None
    told = LiveModel.after_refusal(caught.value.refusal, live.store)
    assert (told.model_version, told.refused) == (
        caught.value.refusal.live, caught.value.refusal.version,
    )  # fmt: skip
    told.save(tmp_path)
    assert LiveModel.load(tmp_path) == told


def test_what_a_promotion_stores_is_what_it_always_was(live: Live, tmp_path: Path) -> None:
    LiveModel.of(live.promote("better")).save(tmp_path)
    content = json.loads((tmp_path / "production_model.json").read_bytes())
    assert list(content) == ["target_type", "model_version", "digests"]


def test_every_candidate_is_counted_once_for_each_set_of_rows(
    live: Live, made: dict[str, Made]
) -> None:
    """`better` and `shuffled` were judged while `first` was live."""

    def number(name: str) -> int:
        found = live.evidence[name].load(Comparison).evidence.champion
        assert found is not None
        assert found.pair is not None
        return found.pair.candidate_number

    assert [number(name) for name in ("better", "shuffled")] == [1, 2]
    again = live.works.compare(live.found["better"], made["better"].world.cache)
    assert again == live.evidence["better"]
    count = candidate_counter(live.store, "binary")
    better = made["better"].exported.sha256
    # Neither one rating that changed by .01, nor another seed, begins anew.
    assert count(made["better"].version, better, "e" * 64).candidate_number == 3
    assert count(made["better"].version, better, "f" * 64).candidate_number == 4
    live.promote("better")
    since, first = count("another", "a" * 64, "f" * 64)
    assert (since, first) == (2, 1)
    rollback(live.store)
    assert count("another", "a" * 64, "f" * 64) == (3, 1)
    assert verify(live.store) == []


@pytest.mark.parametrize("gone", ["file", "line"])
def test_a_count_that_was_lowered_is_found_and_nothing_is_promoted_on_it(
    live: Live, gone: str
) -> None:
    path = live.production / "judged.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.unlink()
    if gone == "line":
        path.write_bytes(lines[0])
    assert any("candidate" in problem.what for problem in verify(live.store))
    with pytest.raises(PromotionRefused, match="how many candidates were judged"):
        live.promote("better")


def test_a_lost_count_goes_on_from_what_the_evidence_knows(
    live: Live, made: dict[str, Made]
) -> None:
    (live.production / "judged.jsonl").unlink()
    count = candidate_counter(live.store, "binary")
    assert count("another", "a" * 64, "f" * 64).candidate_number == 3
    assert verify(live.store) == []
    assert live.promote("better").is_new


def test_after_a_lost_count_the_same_candidate_can_go_live_again(
    live: Live, made: dict[str, Made]
) -> None:
    """`shuffled` was judged after it, so that all that is lost must be recorded, not its own alone."""
    (live.production / "judged.jsonl").unlink()
    live.evidence["better"] = live.works.compare(live.found["better"], made["better"].world.cache)
    assert verify(live.store) == []
    assert live.promote("better").is_new


def test_validation_rows_that_are_left_out_are_asked_about(live: Live) -> None:
    comparison = live.evidence["better"].load(Comparison)
    split = comparison.evidence.test_split
    assert split.val_rows
    gone = split.model_copy(update={"val_left_out": {"not_found": split.val_rows // 4}})
    evidence = comparison.evidence.model_copy(update={"test_split": gone})
    with_comparison(live, "better", replace(comparison, evidence=evidence))
    with pytest.raises(PromotionRefused, match=r"no_test_rows_left_out: .* validation rows"):
        live.promote("better")


def test_evidence_that_calls_itself_the_first_candidate_is_refused(live: Live) -> None:
    """Written by hand into the evidence of the second, which was judged at a smaller error."""
    comparison = live.evidence["shuffled"].load(Comparison)
    champion = comparison.evidence.champion
    assert champion is not None
    assert champion.pair is not None
    forged = champion.model_copy(
        update={"pair": champion.pair.model_copy(update={"candidate_number": 1})}
    )
    evidence = comparison.evidence.model_copy(update={"champion": forged})
    with_comparison(live, "shuffled", replace(comparison, evidence=evidence))
    with pytest.raises(PromotionRefused, match=r"says that it is candidate 1 .* says 2"):
        live.promote("shuffled")


def test_evidence_of_an_older_version_promotes_nothing_new(live: Live) -> None:
    comparison = live.evidence["better"].load(Comparison)
    evidence = comparison.evidence.model_copy(update={"schema_version": 1})
    with_comparison(live, "better", replace(comparison, evidence=evidence))
    with pytest.raises(PromotionRefused, match=r"older version of the program.*--select"):
        live.promote("better")


def test_what_was_relaxed_is_marked_in_the_ledger(live: Live, made: dict[str, Made]) -> None:
    cache = made["better"].world.cache
    lax = ComparisonSettings(max_auc_loss=0.5, min_auc=0.5)
    live.evidence["better"] = live.works.compare(live.found["better"], cache, lax)
    with pytest.raises(PromotionRefused, match=r"max_auc_loss 0\.5 instead of 0\.02"):
        live.promote("better")
    reasoned = lax.model_copy(update={"relaxed_because": "the old labels were noisy"})
    live.evidence["better"] = live.works.compare(live.found["better"], cache, reasoned)
    promotion = live.promote("better")
    assert promotion.entry.relaxed == "the old labels were noisy"
    # And on the page, in the run that promoted and for what happened elsewhere.
    assert of_promotion(promotion, None)["relaxed"] == "the old labels were noisy"
    assert _event(promotion.entry).metadata["relaxed"].value == "the old labels were noisy"
    # A reason that nothing needed is no relaxation.
    rollback(live.store)
    assert Ledger.read(live.production).entries[-1].relaxed is None
    assert verify(live.store) == []


def test_verdicts_that_were_stored_as_passed_convince_nobody(live: Live) -> None:
    comparison = live.evidence["shuffled"].load(Comparison)
    passed = {
        name: one.model_copy(update={"passed": True}) for name, one in comparison.verdicts.items()
    }
    with_comparison(live, "shuffled", replace(comparison, verdicts=passed))
    with pytest.raises(PromotionRefused, match="quality_floor"):
        live.promote("shuffled")


def test_evidence_of_other_bytes_is_refused(live: Live) -> None:
    with pytest.raises(PromotionRefused, match=r"other bytes.*--select"):
        promote(
            live.found["shuffled"]["onnx_model"], live.evidence["better"],
            store=live.store, run_id=None,
        )  # fmt: skip


@pytest.mark.parametrize("field", ["model_sha256", "meta_sha256", "onnx_model", "model_version"])
def test_each_digest_of_the_candidate_must_agree(live: Live, field: str) -> None:
    comparison = live.evidence["better"].load(Comparison)
    other = comparison.evidence.candidate.model_copy(update={field: "0" * 64})
    evidence = comparison.evidence.model_copy(update={"candidate": other})
    with_comparison(live, "better", replace(comparison, evidence=evidence))
    with pytest.raises(PromotionRefused, match="other bytes"):
        live.promote("better")


def test_evidence_on_another_test_split_is_refused(live: Live) -> None:
    comparison = live.evidence["better"].load(Comparison)
    other = comparison.evidence.test_split.model_copy(update={"sha256": "0" * 64})
    evidence = comparison.evidence.model_copy(update={"test_split": other})
    with_comparison(live, "better", replace(comparison, evidence=evidence))
    with pytest.raises(PromotionRefused, match="another test split"):
        live.promote("better")


def test_a_comparison_with_a_model_that_is_no_longer_live_is_refused(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    found = live.found["shuffled"]
    lenient = ComparisonSettings(min_auc=0.5, relaxed_because="a drill")
    against_better = live.works.compare(found, made["first"].world.cache, lenient)
    rollback(live.store)
    with pytest.raises(PromotionRefused, match=r"came between.*--select"):
        promote(found["onnx_model"], against_better, store=live.store, run_id=None)


def test_a_comparison_from_before_anything_was_live_is_refused(
    live: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    empty = Works(ArtifactStore(tmp_path / "empty"))
    found = {name: empty.add(made[name]) for name in ("first", "better")}
    evidence = {name: empty.compare(found[name], made[name].world.cache) for name in found}
    promote(found["first"]["onnx_model"], evidence["first"], store=empty.store, run_id=None)
    with pytest.raises(PromotionRefused, match=r"with no model, and"):
        promote(found["better"]["onnx_model"], evidence["better"], store=empty.store, run_id=None)


def test_without_evidence_nothing_goes_live(live: Live) -> None:
    shutil.rmtree(live.evidence["better"].folder)
    with pytest.raises(PromotionRefused, match=r"no evidence.*champion_comparison"):
        live.promote("better")


def test_another_artifact_is_no_evidence(live: Live) -> None:
    found = live.found["better"]
    with pytest.raises(PromotionRefused, match="eval_report is no evidence"):
        promote(found["onnx_model"], found["eval_report"], store=live.store, run_id=None)


@pytest.mark.parametrize(
    ("asset", "name"),
    [
        ("onnx_model", "model.onnx"),
        ("onnx_model", "model.meta.json"),
        ("champion_comparison", "champion_comparison.json"),
        ("champion_comparison", "eval_report.json"),
    ],
)
def test_one_flipped_byte_in_candidate_or_evidence_stops_the_promotion(
    live: Live, asset: str, name: str
) -> None:
    before = bytes_below(live.production)
    folder = {**live.found["better"], "champion_comparison": live.evidence["better"]}[asset].folder
    flip(folder / name)
    with pytest.raises(ArtifactDamagedError, match=re.escape(name)):
        live.promote("better")
    assert bytes_below(live.production) == before


def test_equal_runs_give_equal_evidence_and_change_nothing(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    before = bytes_below(live.production)
    again = live.works.compare(live.found["better"], made["better"].world.cache)
    assert again == live.evidence["better"]
    promotion = live.promote("better")
    assert not promotion.is_new
    assert bytes_below(live.production) == before


def test_what_was_rolled_back_returns_only_by_override(live: Live, made: dict[str, Made]) -> None:
    live.promote("better")
    rollback(live.store)
    better = made["better"].version
    with pytest.raises(PromotionRefused, match=f"promote {better} --override"):
        live.promote("better")
    with pytest.raises(PromotionRefused, match="was rolled back itself"):
        rollback(live.store, to=better)
    entry = promote_override(live.store, better, reason="the night scores were a dead lens")
    assert (entry.action, entry.version) == ("override", better)
    assert entry.verdicts["quality_floor"].passed
    assert verify(live.store) == []
    assert not live.promote("better").is_new


def test_an_override_may_bring_in_what_the_gates_refuse_and_says_so(
    live: Live, made: dict[str, Made]
) -> None:
    entry = promote_override(live.store, made["shuffled"].version, reason="a drill")
    assert not entry.verdicts["quality_floor"].passed
    assert entry.reason == "a drill"
    assert verify(live.store) == []


def test_a_model_that_is_live_by_override_stays_and_is_told_what_the_gates_say(
    live: Live, made: dict[str, Made]
) -> None:
    entry = promote_override(live.store, made["shuffled"].version, reason="a drill")
    before = but_refusals(bytes_below(live.production))
    said = (
        rf"is live already \(line {entry.sequence} of the ledger, override\), and stays so; .*floor"
    )
    with pytest.raises(PromotionRefused, match=said) as refused:
        live.promote("shuffled")
    assert not refused.value.verdicts["quality_floor"].passed
    assert but_refusals(bytes_below(live.production)) == before


@pytest.mark.parametrize(
    "reason",
    ["", "  ", "two\nlines", "x" * 501, "\u2800", "\u3164\u115f", "\u200b", "…", "- -"],
)
def test_an_override_needs_one_line_of_reason_that_can_be_read(
    live: Live, made: dict[str, Made], reason: str
) -> None:
    with pytest.raises(PromotionRefused, match="needs a reason"):
        promote_override(live.store, made["better"].version, reason=reason)
    live.promote("better")
    with pytest.raises(PromotionRefused, match="a reason of a roll-back"):
        rollback(live.store, reason=reason)


def test_an_override_records_no_verdicts_on_another_rival(
    live: Live, made: dict[str, Made]
) -> None:
    """`shuffled` was compared with `first`; by now `better` is live, and nobody compared the two."""
    live.promote("better")
    entry = promote_override(live.store, made["shuffled"].version, reason="a drill")
    assert entry.verdicts == {}
    assert "champion_comparison" not in entry.lineage
    assert verify(live.store) == []


def test_an_unknown_version_is_named_beside_the_known_ones(
    live: Live, made: dict[str, Made]
) -> None:
    with pytest.raises(PromotionRefused, match=made["better"].version):
        promote_override(live.store, "binary-nothing-000000000000", reason="why not")
    with pytest.raises(PromotionRefused, match=made["first"].version):
        rollback(live.store, to="binary-nothing-000000000000")


def test_there_must_be_something_to_roll_back_to(
    live: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    with pytest.raises(PromotionRefused, match="AI_SCORING_MODE=baseline"):
        rollback(live.store)
    with pytest.raises(PromotionRefused, match="live already"):
        rollback(live.store, to=made["first"].version)
    with pytest.raises(PromotionRefused, match="no model was ever live"):
        rollback(ArtifactStore(tmp_path / "nothing"))


def test_a_rollback_past_a_model_withdraws_it_too(live: Live, made: dict[str, Made]) -> None:
    live.promote("better")
    promote_override(live.store, made["shuffled"].version, reason="a drill")
    rollback(live.store, to=made["first"].version)
    ledger = Ledger.read(live.production)
    assert ledger.withdrawn("binary") == {made["better"].version, made["shuffled"].version}


def test_files_that_were_damaged_while_not_live_are_written_again_before_they_are(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    path = live.production / "versions" / made["first"].version / "model.onnx"
    flip(path)
    rollback(live.store)
    assert path.read_bytes() == made["first"].exported.model
    assert verify(live.store) == []


def test_demo_labels_never_replace_a_model_of_real_ones(
    live: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    works = Works(ArtifactStore(tmp_path / "other"))
    works.run(made["first"])
    with pytest.raises(PromotionRefused, match="no_demo_over_real"):
        works.run(made["better"], database=DEMO)


def test_a_demo_model_may_replace_a_demo_model(made: dict[str, Made], tmp_path: Path) -> None:
    works = Works(ArtifactStore(tmp_path / "other"))
    works.run(made["first"], database=DEMO)
    assert works.run(made["better"], database=DEMO).is_new


def test_floors_that_no_model_meets_keep_every_model_out(
    made: dict[str, Made], tmp_path: Path
) -> None:
    works = Works(ArtifactStore(tmp_path / "other"))
    with pytest.raises(PromotionRefused, match="at least 1 needed"):
        works.run(made["better"], ComparisonSettings(min_auc=1.0))
    assert not (works.store.root / "production" / "binary").exists()


def test_the_ledger_counts_the_models_that_were_judged_on_a_test_split(live: Live) -> None:
    assert live.promote("better").entry.candidates_judged_on_test_split == 3


def test_damage_in_old_evidence_does_not_keep_a_new_model_out(live: Live) -> None:
    (live.evidence["shuffled"].folder / "champion_comparison.json").unlink()
    assert live.promote("better").entry.candidates_judged_on_test_split == 2


def test_a_damaged_live_model_is_written_again_when_it_is_promoted_again(
    live: Live, made: dict[str, Made]
) -> None:
    path = live.production / "binary" / "model.onnx"
    flip(path)
    assert not live.promote("first").is_new
    assert path.read_bytes() == made["first"].exported.model
    assert verify(live.store) == []


def test_a_live_file_that_was_overwritten_under_both_its_names_comes_back_from_a_backup_alone(
    live: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    """It is one file with the store's, so no command can write it again, and none is advised."""
    path = live.production / "binary" / "model.onnx"
    stored = live.found["first"]["onnx_model"].folder / "model.onnx"
    shutil.copy(path, tmp_path / "backup.onnx")
    # Of its own, so that other tests do not see it change.
    path.unlink()
    stored.unlink()
    shutil.copy(tmp_path / "backup.onnx", stored)
    path.hardlink_to(stored)
    overwrite(path)
    with pytest.raises(WebcamMLError, match=r"Nor is .*onnx_model.* from a backup") as told:
        live.works.compare(live.found["better"], made["better"].world.cache)
    assert "cp -f" not in str(told.value)
    promote_override(live.store, made["shuffled"].version, reason="until the backup is here")
    with pytest.raises(WebcamMLError, match=r"is not what was live either.* from a backup"):
        rollback(live.store)
    shutil.copy(tmp_path / "backup.onnx", stored)
    assert rollback(live.store).version == made["first"].version
    assert path.read_bytes() == made["first"].exported.model


def test_a_damaged_live_file_is_mended_by_the_command_that_its_error_gives(
    live: Live, made: dict[str, Made]
) -> None:
    path = live.production / "binary" / "model.onnx"
    flip(path)
    with pytest.raises(WebcamMLError, match="cp -f") as told:
        live.works.compare(live.found["better"], made["better"].world.cache)
    command = re.search(r"cp -f \S+ \S+\.onnx", str(told.value))
    assert command is not None
    subprocess.run(command[0].split(), check=True)
    assert live.works.compare(live.found["better"], made["better"].world.cache)
    assert verify(live.store) == []


def test_a_link_that_was_moved_by_hand_is_found_and_put_right(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    link = live.production / "binary"
    link.unlink()
    link.symlink_to(f"versions/{made['first'].version}")
    assert [problem.path for problem in verify(live.store)] == [link]
    live.promote("better")
    assert verify(live.store) == []


def test_a_folder_in_place_of_the_link_is_not_touched(live: Live) -> None:
    link = live.production / "binary"
    link.unlink()
    link.mkdir()
    (link / "mine.txt").write_text("keep")
    with pytest.raises(Exception, match="should be a symbolic link"):
        live.promote("better")
    assert (link / "mine.txt").read_text() == "keep"


def test_a_model_that_is_live_without_a_ledger_stops_everything(live: Live) -> None:
    for name in ("ledger.jsonl", "ledger.head"):
        (live.production / name).unlink()
    with pytest.raises(LedgerDamagedError, match="knows of no live binary model"):
        live.promote("better")


def test_judging_stored_evidence_again_says_what_was_stored(live: Live) -> None:
    for evidence in live.evidence.values():
        comparison = evidence.load(Comparison)
        judged = as_judged(judge(comparison))
        assert judged.items() <= comparison.verdicts.items()


# --- crashes, races, full disks ---------------------------------------------------------------------

PROMOTE = """
    import sys
    from pathlib import Path
    from webcam_ml.store import ArtifactStore
    from webcam_ml.errors import WebcamMLError
    from webcam_ml.live import promote

    def go(root):
        store = ArtifactStore(Path(root))
        candidate, evidence = sys.argv[2:4]
        return promote(store.find("onnx_model", candidate),
                       store.find("champion_comparison", evidence), store=store, run_id="run")
"""

CRASH = (
    PROMOTE
    + """
    import os, shutil
    from webcam_ml.live import rollback
    # Before the n-th change of the file system below production, the process is gone.
    CHANGES = {"os.rename", "os.mkdir", "os.symlink", "os.link", "os.remove", "os.rmdir", "shutil.rmtree"}

    def act(root):
        if sys.argv[4] == "promote":
            go(root)
        else:
            rollback(ArtifactStore(Path(root)))

    def crash_at(number):
        left = number
        def watch(event, arguments):
            nonlocal left
            changes = event in CHANGES or (event == "open" and "w" in str(arguments[1] or "") + (
                "w" if isinstance(arguments[2], int) and arguments[2] & os.O_CREAT else ""))
            if changes and "production" in str(arguments[0]) + str(arguments[1:2]):
                left -= 1
                if left < 0:
                    os._exit(9)
        sys.addaudithook(watch)

    for number in range(100):
        root = f"{sys.argv[1]}-{number}"
        shutil.copytree(sys.argv[1], root, copy_function=os.link, symlinks=True)
        child = os.fork()
        if not child:
            crash_at(number)
            act(root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), root, flush=True)
        if status == 0:
            break
    """
)


def script(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def names(live: Live, name: str) -> tuple[str, str]:
    return live.found[name]["onnx_model"].data_version, live.evidence[name].data_version


def test_a_crash_at_any_step_leaves_the_old_model_or_the_new_and_the_next_run_completes(
    live: Live, made: dict[str, Made]
) -> None:
    old, new = made["first"], made["better"]
    process = script(CRASH, live.store.root, *names(live, "better"), "promote")
    out, err = process.communicate()
    assert process.returncode == 0, err
    outcomes = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [code for code, _ in outcomes[:-1]] == ["9"] * (len(outcomes) - 1)
    assert outcomes[-1][0] == "0"
    assert len(outcomes) > 12
    seen = set()
    for _, root in outcomes:
        crashed = Live(Works(ArtifactStore(Path(root))), live.found, live.evidence)
        link = crashed.production / "binary"
        version = link.readlink().name
        expected = {one.version: one for one in (old, new)}[version]
        assert (link / "model.onnx").read_bytes() == expected.exported.model
        scorer = Scorer("onnx", model_path=link / "model.onnx", model_version=version)
        assert scorer.path == "onnx"
        decided = Ledger.read(crashed.production).live("binary")
        assert decided is not None
        seen.add((decided.version == new.version, version == new.version))
        promotion = promote(
            crashed.store.find("onnx_model", names(live, "better")[0]),
            crashed.store.find("champion_comparison", names(live, "better")[1]),
            store=crashed.store, run_id="again",
        )  # fmt: skip
        assert promotion.entry.version == new.version
        assert verify(crashed.store) == []
        assert len(Ledger.read(crashed.production).entries) == 2
        leftovers = [path.name for path in crashed.production.rglob(".*") if path.name != ".lock"]
        assert leftovers == []
    # Undecided; decided but not swung; done. Never live without a line.
    assert seen == {(False, False), (True, False), (True, True)}


def test_a_crash_at_any_step_of_a_rollback_is_completed_too(
    live: Live, made: dict[str, Made]
) -> None:
    live.promote("better")
    process = script(CRASH, live.store.root, *names(live, "better"), "rollback")
    out, err = process.communicate()
    assert process.returncode == 0, err
    outcomes = [line.split(maxsplit=1) for line in out.splitlines()]
    assert {code for code, _ in outcomes[:-1]} == {"9"}
    seen = set()
    for _, root in outcomes:
        store = ArtifactStore(Path(root))
        link = store.root / "production" / "binary"
        version = link.readlink().name
        assert Scorer("onnx", model_path=link / "model.onnx", model_version=version).path == "onnx"
        with changing_production(store) as production:
            decided = production.ledger.live("binary")
        assert decided is not None
        assert link.readlink().name == decided.version
        assert verify(store) == []
        seen.add((version == made["first"].version, decided.version == made["first"].version))
    assert seen == {(False, False), (False, True), (True, True)}


def test_of_two_promotions_at_once_one_wins_and_the_ledger_stays_whole(
    made: dict[str, Made], tmp_path: Path
) -> None:
    works = Works(ArtifactStore(tmp_path / "empty"))
    pairs = []
    for name in ("first", "better"):
        found = works.add(made[name])
        evidence = works.compare(found, made[name].world.cache)
        pairs.append((found["onnx_model"].data_version, evidence.data_version))
    race = (
        PROMOTE
        + """
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("new" if go(sys.argv[1]).is_new else "old")
    except WebcamMLError as error:
        print(error)
    """
    )
    contenders = [
        script(race, works.store.root, *pair, stdin=subprocess.PIPE) for pair in pairs * 2
    ]
    for process in contenders:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in contenders:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate()[0].strip() for process in contenders)
    # Each model tries twice: the winner is new and then there already, the other is refused.
    assert said[:2] == ["new", "old"]
    assert all("came between" in one for one in said[2:])
    assert len(Ledger.read(works.store.root / "production").entries) == 1
    assert verify(works.store) == []


FULL = """
    import resource, signal
    from webcam_ml.live import rollback

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        go(sys.argv[1]) if sys.argv[5] == "promote" else rollback(ArtifactStore(Path(sys.argv[1])))
    except WebcamMLError as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [0, 5_000])
def test_a_disk_without_room_for_a_promotion_changes_nothing(live: Live, limit: int) -> None:
    before = bytes_below(live.production)
    process = script(PROMOTE + FULL, live.store.root, *names(live, "better"), limit, "promote")
    out, err = process.communicate()
    assert "cannot be written" in out, err
    assert "the old model or the new one" in out
    after = bytes_below(live.production)
    assert {name: after[name] for name in before} == before
    assert live.promote("better").is_new
    assert verify(live.store) == []


@pytest.mark.parametrize("limit", [0, 5_000])
def test_a_disk_without_room_for_the_ledger_changes_nothing(live: Live, limit: int) -> None:
    live.promote("better")
    before = bytes_below(live.production)
    process = script(PROMOTE + FULL, live.store.root, *names(live, "better"), limit, "rollback")
    out, err = process.communicate()
    assert "cannot be written" in out, err
    after = bytes_below(live.production)
    assert {name: after[name] for name in before} == before
    rollback(live.store)
    assert verify(live.store) == []


def test_every_line_of_the_ledger_has_what_an_auditor_asks(live: Live) -> None:
    live.promote("better")
    for line in (live.production / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert {"time", "action", "version", "digests", "verdicts", "run_id"} <= set(entry)
        assert set(entry["verdicts"]) == set(GATES)
        assert entry["verdicts"]["quality_floor"]["numbers"]["value"] > 0.7
        assert {"labels_raw", "onnx_model", "champion_comparison"} <= set(entry["lineage"])
