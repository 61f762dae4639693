import inspect
import re
from dataclasses import replace

import pytest

from webcam_ml.judging import (
    GATES,
    WARNINGS,
    Comparison,
    ComparisonSettings,
    ComparisonSettingsError,
    judge,
)
from webcam_ml.judging import _gates as gates_module
from webcam_ml.judging._evidence import Change, Serving
from webcam_ml.live import PromotionRefused
from webcam_ml.metrics import Interval
from webcam_ml_tests.live.fixtures import Live

# The gates of DESIGN §1's table of checks.
IN_THE_DESIGN = {
    "enough_test_data", "beats_trivial_baselines", "matches_torch", "quality_floor",
    "not_worse_than_champion", "serves_in_runtime",
}  # fmt: skip


@pytest.fixture(scope="module")
def good(prepared: Live) -> Comparison:
    return prepared.evidence["better"].load(Comparison)


def changed(comparison: Comparison, **parts: object) -> Comparison:
    return replace(comparison, evidence=comparison.evidence.model_copy(update=parts))


def candidate(comparison: Comparison, **parts: object) -> Comparison:
    return changed(comparison, candidate=comparison.evidence.candidate.model_copy(update=parts))


def champion(comparison: Comparison, **parts: object) -> Comparison:
    assert comparison.evidence.champion is not None
    return changed(comparison, champion=comparison.evidence.champion.model_copy(update=parts))


def difference(comparison: Comparison, metric: str, **parts: object) -> Comparison:
    assert comparison.evidence.champion is not None
    metrics = dict(comparison.evidence.champion.metrics)
    metrics[metric] = metrics[metric].model_copy(update=parts)
    return champion(comparison, metrics=metrics)


def test_every_gate_of_the_design_is_in_the_list_under_its_own_name() -> None:
    assert set(GATES) >= IN_THE_DESIGN
    assert all(gate.__name__ == name for name, gate in (GATES | WARNINGS).items())


def test_no_gate_that_is_written_is_missing_from_the_list() -> None:
    written = {
        name
        for name, value in vars(gates_module).items()
        if inspect.isfunction(value)
        and value.__module__ == gates_module.__name__
        and not name.startswith("_")
    }
    assert written == {*GATES, *WARNINGS, "judge"}


def test_a_good_candidate_passes_all(good: Comparison) -> None:
    verdicts = judge(good)
    assert list(verdicts) == list(GATES)
    assert [name for name, one in verdicts.items() if not one.passed] == []


def spoilt(good: Comparison) -> dict[str, Comparison]:
    """For each gate evidence on which it alone says no."""
    document = good.eval_document
    few = document.model_copy(
        update={"test_split": document.test_split.model_copy(update={"rows": 99})}
    )
    beaten = document.model_copy(
        update={
            "baselines": [
                one.model_copy(update={"improvement_lower_bound": 0.0})
                for one in document.baselines
            ]
        }
    )
    evidence = good.evidence
    weak = {**evidence.candidate.metrics, "roc_auc": Interval(value=0.699, low=0.6, high=0.8)}
    return {
        "enough_test_data": replace(good, eval_document=few),
        "beats_trivial_baselines": replace(good, eval_document=beaten),
        "matches_torch": changed(good, parity=evidence.parity.model_copy(update={"at_most": 2e-4})),
        "quality_floor": candidate(good, metrics=weak),
        "not_worse_than_champion": difference(good, "roc_auc", lower_bound=-0.02),
        "serves_in_runtime": changed(good, serving=Serving(pictures=8, at_most=2e-5, reason=None)),
        "same_definition": changed(
            good,
            changes=[
                Change(kind="definition", what="binary_threshold", champion=4.0, candidate=3.0)
            ],
        ),
        "no_demo_over_real": candidate(good, from_demo=True),
    }


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_alone_keeps_a_model_out(good: Comparison, live: Live, gate: str) -> None:
    comparison = spoilt(good)[gate]
    if comparison.eval_document != good.eval_document:
        from webcam_ml.judging._evidence import eval_report_sha256

        comparison = changed(
            comparison, eval_report_sha256=eval_report_sha256(comparison.eval_document)
        )
    failed = [name for name, one in judge(comparison).items() if not one.passed]
    assert failed == [gate]
    live.evidence["better"] = live.works.put_evidence(comparison, live.found["better"])
    with pytest.raises(PromotionRefused, match=re.escape(gate)):
        live.promote("better")


@pytest.mark.parametrize(
    ("value", "low", "passes"),
    [(0.70, 0.51, True), (0.6999, 0.6, False), (0.9, 0.5, False), (0.9, None, False)],
)
def test_the_floor_of_auc(good: Comparison, value: float, low: float | None, passes: bool) -> None:
    metrics = {"roc_auc": Interval(value=value, low=low, high=0.95, reason=None if low else "few")}
    assert GATES["quality_floor"](candidate(good, metrics=metrics)).passed is passes


@pytest.mark.parametrize(("bound", "passes"), [(-0.0199, True), (-0.02, False), (None, False)])
def test_the_margin_of_auc_is_met_by_the_bound_not_by_the_value(
    good: Comparison, bound: float | None, passes: bool
) -> None:
    assert (
        GATES["not_worse_than_champion"](difference(good, "roc_auc", lower_bound=bound)).passed
        is passes
    )


def test_a_model_that_was_not_measured_passes_nothing_that_needs_numbers(good: Comparison) -> None:
    silent = candidate(
        changed(good, serving=Serving(pictures=0, at_most=None, reason="no such file")), metrics={}
    )
    failed = {name for name, one in judge(silent).items() if not one.passed}
    assert {"quality_floor", "serves_in_runtime"} <= failed
    assert "no such file" in judge(silent)["quality_floor"].reason


def test_without_common_rows_there_is_no_comparison(good: Comparison) -> None:
    verdict = GATES["not_worse_than_champion"](
        champion(good, metrics={}, rows=0, rows_left_out=136)
    )
    assert not verdict.passed
    assert "136" in verdict.reason


def test_parity_of_another_file_is_no_parity(good: Comparison) -> None:
    parity = good.evidence.parity.model_copy(update={"model_sha256": "0" * 64})
    assert "another file" in GATES["matches_torch"](changed(good, parity=parity)).reason


def test_a_change_of_definition_needs_a_reason_that_the_verdict_repeats(good: Comparison) -> None:
    comparison = spoilt(good)["same_definition"]
    assert "definition_change" in judge(comparison)["same_definition"].reason
    given = changed(comparison, settings=ComparisonSettings(definition_change="fours are rare"))
    verdict = judge(given)["same_definition"]
    assert verdict.passed
    assert "fours are rare" in verdict.reason


def test_small_losses_that_add_up_are_warned_of(good: Comparison) -> None:
    assert good.evidence.champion is not None
    metrics = dict(good.evidence.champion.metrics)
    paired = metrics["roc_auc"]
    for value, passes in ((-0.03, False), (-0.01, True)):
        metrics["roc_auc"] = paired.model_copy(
            update={"difference": Interval(value=value, low=None, high=None)}
        )
        best = good.evidence.champion.model_copy(update={"metrics": metrics})
        warned = WARNINGS["not_worse_than_best_ever"](changed(good, best_ever_live=best))
        assert warned.passed is passes
        assert judge(changed(good, best_ever_live=best)).keys() == GATES.keys()


def test_reasons_are_sentences(good: Comparison) -> None:
    for comparison in (good, *spoilt(good).values()):
        for verdict in judge(comparison).values():
            assert verdict.reason[0].isupper()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_auc", 0.4), ("min_auc", 1.1), ("min_auc", float("nan")), ("min_spearman", -0.1),
        ("max_auc_loss", -0.02), ("max_mae_gain", 4.1), ("definition_change", "two\nlines"),
        ("definition_change", "x" * 501),
    ],
)  # fmt: skip
def test_settings_that_cannot_mean_anything_are_refused(field: str, value: object) -> None:
    with pytest.raises(ComparisonSettingsError, match=field):
        ComparisonSettings(**{field: value})
