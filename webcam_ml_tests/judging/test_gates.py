import inspect
import re
from dataclasses import replace

import pytest
from scipy import stats

from webcam_ml.contracts import SettingsError
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import (
    DEFECTS,
    EVIDENCE_SCHEMA,
    GATES,
    GATES_OF_SCHEMA,
    WARNINGS,
    Comparison,
    ComparisonSettings,
    JudgedBy,
    allowed_error,
    judge,
)
from webcam_ml.judging import _beside_live as beside_live
from webcam_ml.judging import _gates as gates_module
from webcam_ml.judging._evidence import (
    Change,
    KnownPictures,
    OnLiveLabels,
    ReportAgreement,
    Serving,
)
from webcam_ml.live import PromotionRefused
from webcam_ml.live._ledger import LEDGER_SCHEMA
from webcam_ml.metrics import Interval
from webcam_ml_tests.live.fixtures import Live

# The gates that promotion must have, whatever is added.
NEVER_TO_BE_MISSED = {
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


def pair(comparison: Comparison, **parts: object) -> Comparison:
    assert comparison.evidence.champion is not None
    assert comparison.evidence.champion.pair is not None
    return champion(comparison, pair=comparison.evidence.champion.pair.model_copy(update=parts))


def test_every_gate_of_the_design_is_in_the_list_under_its_own_name() -> None:
    assert set(GATES) >= NEVER_TO_BE_MISSED
    assert all(gate.__name__ == name for name, gate in (GATES | WARNINGS).items())


def test_no_gate_that_is_written_is_missing_from_the_list() -> None:
    written = {
        name
        for module in (gates_module, beside_live)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert written == {*GATES, *WARNINGS, "judge", "pair_within_margin"}


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
        "not_worse_than_champion": pair(good, difference=-0.01),
        "serves_in_runtime": changed(good, serving=Serving(pictures=8, at_most=2e-5, reason=None)),
        "same_definition": changed(
            good,
            changes=[
                Change(kind="definition", what="binary_threshold", champion=4.0, candidate=3.0)
            ],
        ),
        "no_demo_over_real": candidate(good, from_demo=True),
        "scores_match_report": changed(
            good,
            report_agreement=ReportAgreement(rows=240, rows_unlike=0, at_most=2e-4, reason=None),
        ),
        "no_test_rows_left_out": changed(
            good,
            test_split=evidence.test_split.model_copy(update={"left_out": {"timeout": 9}}),
        ),
        "no_looser_than_before": changed(good, settings=ComparisonSettings(max_auc_loss=0.5)),
        "no_weak_slice": replace(
            changed(good, settings=ComparisonSettings(weak_slice="block")),
            eval_document=document.model_copy(
                update={
                    "slices": [one.model_copy(update={"weak": True}) for one in document.slices]
                }
            ),
        ),
        "same_pictures": champion(good, known_pictures=KnownPictures(rows=200, changed=5)),
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


@pytest.mark.parametrize(("error", "passes"), [(0.0001, True), (0.011, False), (None, False)])
def test_the_margin_of_auc_is_met_by_the_bound_not_by_the_value(
    good: Comparison, error: float | None, passes: bool
) -> None:
    """-0.001 is within the margin of 0.02; what it may be in truth is not, with a wide error."""
    comparison = pair(good, difference=-0.001, standard_error=error)
    assert GATES["not_worse_than_champion"](comparison).passed is passes


@pytest.mark.parametrize(
    "short",
    [
        {"rows": 99}, {"webcams": 19}, {"positives": 19}, {"webcams_with_a_positive": 7},
        {"effective_webcams": 4.9}, {"rows": 6, "webcams": 3, "positives": 2},
    ],
)  # fmt: skip
def test_a_pair_that_is_too_small_carries_no_verdict(
    good: Comparison, short: dict[str, float]
) -> None:
    """After a change of seed six rows of three webcams once passed."""
    verdict = GATES["not_worse_than_champion"](pair(good, **short))
    assert not verdict.passed
    assert "Cannot be judged" in verdict.reason


@pytest.mark.parametrize("same", [True, False])
def test_no_spread_is_a_verdict_only_where_both_models_say_the_same(
    good: Comparison, same: bool
) -> None:
    """Two models with an AUC of 1 on a few rows have a difference, and a bound, of 0."""
    comparison = pair(good, difference=0.0, standard_error=0.0, same_scores=same)
    assert GATES["not_worse_than_champion"](comparison).passed is same


def test_the_bound_widens_with_each_candidate_that_was_judged(good: Comparison) -> None:
    verdicts = [
        GATES["not_worse_than_champion"](
            pair(good, difference=0.02, standard_error=0.017, candidate_number=number)
        )
        for number in (1, 2, 30)
    ]
    bounds = [one.numbers["bound"] for one in verdicts]
    assert bounds == sorted(bounds, reverse=True)
    assert [one.passed for one in verdicts] == [True, False, False]
    assert [one.numbers["allowed_error"] for one in verdicts] == [0.025, 0.05 / 6, 0.05 / 930]
    assert "candidate 30" in verdicts[2].reason
    assert "override" in verdicts[2].reason


def test_the_bound_is_that_of_the_one_sided_t_interval(good: Comparison) -> None:
    k = 12.5
    comparison = pair(good, difference=0.01, standard_error=0.01, effective_webcams=k)
    bound = GATES["not_worse_than_champion"](comparison).numbers["bound"]
    assert bound == pytest.approx(0.01 - stats.t.isf(0.025, df=k - 1) * 0.01, abs=1e-6)


def test_errors_that_are_allowed_sum_to_five_percent_over_all_candidates() -> None:
    assert sum(allowed_error(number) for number in range(1, 20_000)) == pytest.approx(
        0.05, rel=1e-4
    )


@pytest.mark.parametrize(
    ("looser", "reasoned"),
    [({"max_auc_loss": 0.5, "min_auc": 0.5}, "labels were noisy"), ({"min_auc": 0.69}, "a drill"),
     ({"max_test_rows_missing": 0.1}, "a host is gone")],
)  # fmt: skip
def test_what_is_looser_than_usual_needs_a_reason(
    good: Comparison, looser: dict[str, float], reasoned: str
) -> None:
    """A margin of 0.5 once let a model go live that is .056 AUC worse, and nobody was asked why."""
    without = changed(good, settings=ComparisonSettings(**looser))
    verdict = GATES["no_looser_than_before"](without)
    assert not verdict.passed
    assert all(name in verdict.reason for name in looser)
    given = changed(good, settings=ComparisonSettings(**looser, relaxed_because=reasoned))
    assert reasoned in GATES["no_looser_than_before"](given).reason
    assert GATES["no_looser_than_before"](given).passed
    with pytest.raises(WebcamMLError, match="relaxed_because"):
        ComparisonSettings(**looser).judge_before_run()


def test_what_is_looser_than_for_the_live_model_needs_a_reason(good: Comparison) -> None:
    strict = JudgedBy(
        settings=ComparisonSettings(min_auc=0.8, weak_slice="block"), rows=100, rows_missing=0
    )
    verdict = GATES["no_looser_than_before"](champion(good, judged_by=strict))
    assert not verdict.passed
    assert "min_auc 0.7 instead of 0.8" in verdict.reason
    assert "weak_slice warn instead of block" in verdict.reason


def test_a_stricter_setting_needs_no_reason(good: Comparison) -> None:
    stricter = ComparisonSettings(min_auc=0.75, max_auc_loss=0.01, weak_slice="block")
    assert GATES["no_looser_than_before"](changed(good, settings=stricter)).passed
    stricter.judge_before_run()


@pytest.mark.parametrize(("missing", "passes"), [(1, True), (2, False)])
def test_more_missing_rows_than_for_the_live_model_need_a_reason(
    good: Comparison, missing: int, passes: bool
) -> None:
    assert good.evidence.champion is not None
    assert good.evidence.champion.judged_by is not None
    assert good.evidence.champion.judged_by.rows_missing == 0
    split = good.evidence.test_split.model_copy(update={"left_out": {"timeout": missing}})
    comparison = changed(good, test_split=split)
    assert GATES["no_test_rows_left_out"](comparison).passed is passes
    reasoned = changed(comparison, settings=ComparisonSettings(relaxed_because="a host is gone"))
    assert GATES["no_test_rows_left_out"](reasoned).passed


@pytest.mark.parametrize(("placeholders", "passes"), [(3, True), (4, True), (9, False)])
def test_many_more_placeholders_than_for_the_live_model_need_a_reason(
    good: Comparison, placeholders: int, passes: bool
) -> None:
    """Rows can be taken out of test by what makes them look like a card, too."""
    assert good.evidence.champion is not None
    before = good.evidence.champion.judged_by
    assert before is not None
    comparison = champion(
        changed(
            good,
            test_split=good.evidence.test_split.model_copy(
                update={"left_out": {"placeholder": placeholders}, "rows": 100}
            ),
        ),
        judged_by=before.model_copy(update={"rows": 100, "placeholders": 1}),
    )
    verdict = GATES["no_test_rows_left_out"](comparison)
    assert verdict.passed is passes
    assert verdict.numbers["placeholders_of_live"] == 1
    reasoned = changed(comparison, settings=ComparisonSettings(relaxed_because="a host is gone"))
    assert GATES["no_test_rows_left_out"](reasoned).passed


@pytest.mark.parametrize(
    ("rows", "changed_rows", "passes"),
    [(200, 4, True), (200, 5, False), (10, 1, True), (10, 2, False)],
)
def test_other_pictures_than_for_the_live_model_need_a_reason(
    good: Comparison, rows: int, changed_rows: int, passes: bool
) -> None:
    comparison = champion(good, known_pictures=KnownPictures(rows=rows, changed=changed_rows))
    assert GATES["same_pictures"](comparison).passed is passes
    reasoned = changed(comparison, settings=ComparisonSettings(relaxed_because="a new archive"))
    verdict = GATES["same_pictures"](reasoned)
    assert verdict.passed
    assert ("a new archive" in verdict.reason) is not passes


def test_evidence_that_compared_no_pictures_promotes_nothing(good: Comparison) -> None:
    verdict = GATES["same_pictures"](champion(good, known_pictures=None))
    assert not verdict.passed
    assert "Materialize champion_comparison again" in verdict.reason


def test_a_weak_slice_blocks_only_if_asked_and_thin_ones_are_named(good: Comparison) -> None:
    comparison = spoilt(good)["no_weak_slice"]
    warned = GATES["no_weak_slice"](changed(comparison, settings=ComparisonSettings()))
    assert warned.passed
    assert "Weak where it matters" in warned.reason
    document = good.eval_document
    thin = document.slices[0].model_copy(update={"weak": None})
    verdict = GATES["no_weak_slice"](
        replace(good, eval_document=document.model_copy(update={"slices": [thin]}))
    )
    assert f"Too thin to judge: {thin.by} {thin.group}" in verdict.reason


@pytest.mark.parametrize(("difference", "passes"), [(-0.01, False), (0.0, True)])
def test_being_worse_by_the_live_models_labels_is_said(
    good: Comparison, difference: float, passes: bool
) -> None:
    other = OnLiveLabels(
        rows=200, webcams=50, difference=Interval(value=difference, low=-0.1, high=0.1)
    )
    verdict = WARNINGS["not_worse_on_live_labels"](champion(good, on_live_labels=other))
    assert verdict.passed is passes
    assert "200 rows of 50 webcams" in verdict.reason


def test_evidence_of_the_first_schema_is_judged_as_it_was_then(good: Comparison) -> None:
    """By the eight gates that there were, and on the test split alone at 95 %."""
    assert good.evidence.champion is not None
    old = champion(
        changed(good, schema_version=1, report_agreement=None), pair=None, judged_by=None
    )
    verdicts = judge(old)
    assert set(verdicts) == GATES_OF_SCHEMA[1]
    assert verdicts["not_worse_than_champion"].numbers["bound"] == (
        good.evidence.champion.metrics["roc_auc"].lower_bound
    )
    for bound, passes in ((-0.0199, True), (-0.02, False), (None, False)):
        found = judge(difference(old, "roc_auc", lower_bound=bound))
        assert found["not_worse_than_champion"].passed is passes


def test_no_schema_asks_for_a_gate_that_is_not_there() -> None:
    assert GATES_OF_SCHEMA[1] < GATES_OF_SCHEMA[EVIDENCE_SCHEMA] <= set(GATES)
    assert EVIDENCE_SCHEMA == LEDGER_SCHEMA == max(GATES_OF_SCHEMA)
    assert set(GATES) > DEFECTS


def test_a_model_that_was_not_measured_passes_nothing_that_needs_numbers(good: Comparison) -> None:
    silent = candidate(
        changed(good, serving=Serving(pictures=0, at_most=None, reason="no such file")), metrics={}
    )
    failed = {name for name, one in judge(silent).items() if not one.passed}
    assert {"quality_floor", "serves_in_runtime"} <= failed
    assert "no such file" in judge(silent)["quality_floor"].reason


def test_without_common_rows_there_is_no_comparison(good: Comparison) -> None:
    verdict = GATES["not_worse_than_champion"](
        champion(good, metrics={}, pair=None, rows=0, rows_left_out=136)
    )
    assert not verdict.passed
    assert "no row is left" in verdict.reason


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
        ("definition_change", "x" * 501), ("relaxed_because", " "), ("weak_slice", "perhaps"),
        ("max_test_rows_missing", 1.1), ("relaxed_because", "\u2800"), ("relaxed_because", "…"),
        ("definition_change", "\u3164"), ("definition_change", "\u200b"),
    ],
)  # fmt: skip
def test_settings_that_cannot_mean_anything_are_refused(field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=field):
        ComparisonSettings(**{field: value})
