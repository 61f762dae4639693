"""The gates of promotion: pure functions from stored evidence to a verdict, all in one list.

Whoever adds a gate writes a function and enters it at the end of `GATES`; then the comparison shows
it, the promotion insists on it, and ``webcam-ml verify`` repeats it. Nothing here reads a file or a
clock.
The list is all that Dagster needs of this module when it loads, so evidence is imported where it is
judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from webcam_ml.contracts import target_of
from webcam_ml.evaluation import Verdict

if TYPE_CHECKING:
    from webcam_ml.judging._evidence import Comparison, Pair, Rival

Gate = Callable[["Comparison"], Verdict]
Numbers = dict[str, float | int | str | None]

# Scores are served with six decimals; a step of 1e-5 holds the rounding and nothing else.
MAX_SERVED_DIFFERENCE = 1e-5
# eval_report predicts with torch's head on cached features, the runtime with the exported file.
MAX_REPORT_DIFFERENCE = 1e-4
# As many rows more than the live model's share of missing ones are chance: one dead picture.
ROWS_OF_CHANCE = 1


def enough_test_data(comparison: Comparison) -> Verdict:
    """Judge whether the test split can carry a verdict at all."""
    from webcam_ml.evaluation import EvalReport
    from webcam_ml.evaluation import enough_test_data as judge

    return judge(EvalReport(document=comparison.eval_document, plots={}))


def beats_trivial_baselines(comparison: Comparison) -> Verdict:
    """Judge whether the candidate has learned more than what is trivial."""
    from webcam_ml.evaluation import EvalReport
    from webcam_ml.evaluation import beats_trivial_baselines as judge

    return judge(EvalReport(document=comparison.eval_document, plots={}))


def matches_torch(comparison: Comparison) -> Verdict:
    """Judge whether the file says what the trained network says."""
    from webcam_ml.export import MAX_DIFFERENCE

    parity = comparison.evidence.parity
    numbers: Numbers = {
        "at_most": parity.at_most,
        "limit": MAX_DIFFERENCE,
        "pictures": parity.pictures,
    }
    if parity.model_sha256 != comparison.evidence.candidate.model_sha256:
        return Verdict(
            False,
            "The comparison with torch is of another file. Materialize onnx_model again.",
            numbers,
        )
    return Verdict(
        parity.at_most <= MAX_DIFFERENCE,
        f"On {parity.pictures} pictures raw_score differs from torch by at most {parity.at_most:g} "
        f"(limit {MAX_DIFFERENCE:g}).",
        numbers,
    )


def quality_floor(comparison: Comparison) -> Verdict:
    """Judge whether the candidate is good enough to be live, whatever else is."""
    evidence = comparison.evidence
    metrics = evidence.candidate.metrics
    if not metrics:
        return Verdict(False, f"Not measured: {evidence.serving.reason}.", {})
    baselines = {one.name: one.metrics for one in comparison.eval_document.baselines}
    floor = target_of(evidence.target_type).quality_floor(
        metrics, baselines=baselines, floors=evidence.settings
    )
    return Verdict(floor.passed, floor.reason, floor.numbers)


def not_worse_than_champion(comparison: Comparison) -> Verdict:
    """Judge whether the candidate is at most a margin worse than the live model.

    The bound is taken at .05 / (k (k + 1)) for the k-th candidate since the live model went live.
    """
    champion = comparison.evidence.champion
    if champion is None:
        return Verdict(
            True, "No model was live to compare with; the floors decide alone.", {"champion": None}
        )
    if comparison.evidence.schema_version == 1:
        return _within_margin(comparison, champion, "the live model")
    return _pair_within_margin(comparison, champion)


def scores_match_report(comparison: Comparison) -> Verdict:
    """Judge whether the runtime scores every row as the report says, which no cache can change."""
    agreement = comparison.evidence.report_agreement
    if agreement is None or agreement.at_most is None:
        reason = "nothing was compared" if agreement is None else agreement.reason
        return Verdict(
            False, f"The report's predictions cannot be compared with the file's: {reason}.", {}
        )
    numbers: Numbers = {
        "rows": agreement.rows,
        "rows_unlike": agreement.rows_unlike,
        "at_most": agreement.at_most,
        "limit": MAX_REPORT_DIFFERENCE,
    }
    if agreement.rows_unlike:
        return Verdict(
            False,
            f"The report was measured on other rows than were scored here: {agreement.rows_unlike} "
            "are in only one of the two. Materialize eval_report and onnx_model again.",
            numbers,
        )
    agree = agreement.at_most <= MAX_REPORT_DIFFERENCE
    return Verdict(
        agree,
        f"On {agreement.rows} rows the runtime scores what the report was measured on, at most "
        f"{agreement.at_most:g} off (limit {MAX_REPORT_DIFFERENCE:g})."
        if agree
        else f"The report was measured on other scores than this file gives: up to "
        f"{agreement.at_most:g} apart (limit {MAX_REPORT_DIFFERENCE:g}). Delete cache/features and "
        "materialize eval_report and onnx_model again.",
        numbers,
    )


def no_test_rows_left_out(comparison: Comparison) -> Verdict:
    """Judge whether the test rows that count were not chosen by what could be read of them."""
    evidence, settings = comparison.evidence, comparison.evidence.settings
    missing, rows = evidence.test_split.missing, evidence.test_split.rows
    share = missing / (missing + rows) if missing + rows else 1.0
    numbers: Numbers = {
        "missing": missing,
        "rows": rows,
        "share": round(share, 6),
        "max_test_rows_missing": settings.max_test_rows_missing,
    }
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(evidence.test_split.left_out.items()))
    found = f"Of {missing + rows} test rows {missing} have no readable picture"
    found += f" ({why})" if why else ""
    if share > settings.max_test_rows_missing:
        return Verdict(
            False,
            f"{found}, {share:.1%}, and max_test_rows_missing allows "
            f"{settings.max_test_rows_missing:.1%}. Look at the failures in image_index: a limit of "
            "size or time that chooses among the test pictures chooses the result.",
            numbers,
        )
    before = None if evidence.champion is None else evidence.champion.judged_by
    if before is not None:
        of_live = before.rows_missing / max(before.rows + before.rows_missing, 1)
        numbers["share_of_live"] = round(of_live, 6)
        if missing > of_live * (missing + rows) + ROWS_OF_CHANCE and not settings.relaxed_because:
            return Verdict(
                False,
                f"{found}, {share:.1%}, and {of_live:.1%} for the live model. If that is as it "
                "should be, give champion_comparison the config relaxed_because with the reason; it "
                "goes into the ledger.",
                numbers,
            )
    return Verdict(True, f"{found}.", numbers)


def no_looser_than_before(comparison: Comparison) -> Verdict:
    """Judge whether floors and margins are looser than usual, or than for the live model."""
    from webcam_ml.judging._settings import ComparisonSettings

    evidence, settings = comparison.evidence, comparison.evidence.settings
    before = None if evidence.champion is None else evidence.champion.judged_by
    looser = list(settings.looser_than(ComparisonSettings(), evidence.target_type))
    if before is not None:
        looser += [
            f"{what}, by which the live model was judged"
            for what in settings.looser_than(before.settings, evidence.target_type)
            if what not in looser
        ]
    numbers: Numbers = {"looser": len(looser)}
    if not looser:
        return Verdict(True, "Floors and margins are no looser than usual or before.", numbers)
    if not settings.relaxed_because:
        return Verdict(
            False,
            f"Judged by less than usual or before: {'; '.join(looser)}. If that is meant, give "
            "champion_comparison the config relaxed_because with the reason; it goes into the "
            "ledger.",
            numbers,
        )
    return Verdict(
        True,
        f"Relaxed on purpose: {'; '.join(looser)}. Reason given: {settings.relaxed_because}",
        numbers,
    )


def no_weak_slice(comparison: Comparison) -> Verdict:
    """Judge whether some part of the test pictures is served clearly worse than the whole."""
    from webcam_ml.evaluation import EvalReport
    from webcam_ml.evaluation import no_weak_slice as judge

    found = judge(EvalReport(document=comparison.eval_document, plots={}))
    if found.passed or comparison.evidence.settings.weak_slice == "block":
        return found
    return Verdict(True, f"{found.reason} This only warns (weak_slice: warn).", found.numbers)


def serves_in_runtime(comparison: Comparison) -> Verdict:
    """Judge whether the application's runtime loads the file and serves the scores judged here."""
    serving = comparison.evidence.serving
    numbers: Numbers = {
        "pictures": serving.pictures,
        "at_most": serving.at_most,
        "limit": MAX_SERVED_DIFFERENCE,
    }
    if serving.reason is not None or serving.at_most is None or not serving.pictures:
        return Verdict(False, f"The runtime does not serve it: {serving.reason}.", numbers)
    return Verdict(
        serving.at_most <= MAX_SERVED_DIFFERENCE,
        f"A fresh process served {serving.pictures} pictures, at most {serving.at_most:g} off the "
        f"scores judged here (limit {MAX_SERVED_DIFFERENCE:g}).",
        numbers,
    )


def same_definition(comparison: Comparison) -> Verdict:
    """Judge whether what is predicted and measured, and whose ratings count, is as before."""
    changes = [one for one in comparison.evidence.changes if one.kind == "definition"]
    numbers: Numbers = {one.what: f"{one.champion} → {one.candidate}" for one in changes}
    if not changes:
        return Verdict(
            True,
            "Threshold, division of the webcams and whose ratings count are as before.",
            numbers,
        )
    what = ", ".join(f"{one.what} from {one.champion} to {one.candidate}" for one in changes)
    given = comparison.evidence.settings.definition_change
    if not given:
        return Verdict(
            False,
            f"What is being predicted or measured changed: {what}. If that is meant, give "
            "champion_comparison the config definition_change with the reason; it goes into the "
            "ledger.",
            numbers,
        )
    return Verdict(True, f"Changed on purpose: {what}. Reason given: {given}", numbers)


def no_demo_over_real(comparison: Comparison) -> Verdict:
    """Judge that labels of the demo database do not replace a model made from another."""
    champion = comparison.evidence.champion
    numbers: Numbers = {
        "candidate": "demo" if comparison.evidence.candidate.from_demo else "real",
        "champion": None if champion is None else "demo" if champion.from_demo else "real",
    }
    if comparison.evidence.candidate.from_demo and champion and not champion.from_demo:
        return Verdict(
            False,
            f"The candidate learned from the demo database, and {champion.model_version} from real "
            "ratings. Keep the demo in a store of its own (WEBCAM_ML_ARTIFACTS).",
            numbers,
        )
    return Verdict(True, "No demo model would replace one made from real ratings.", numbers)


def not_worse_than_best_ever(comparison: Comparison) -> Verdict:
    """Judge whether small losses, each within the margin, have added up; a warning, not a gate."""
    best = comparison.evidence.best_ever_live
    if best is None:
        return Verdict(True, "No earlier model was better than the live one.", {"best": None})
    return _within_margin(comparison, best, "the best that was ever live", certain=True)


def not_worse_on_live_labels(comparison: Comparison) -> Verdict:
    """Judge whether the candidate is worse by the live model's labels; a warning, not a gate."""
    champion = comparison.evidence.champion
    found = None if champion is None else champion.on_live_labels
    if champion is None or found is None:
        return Verdict(True, "Candidate and live model mean the same by a label.", {})
    difference = found.difference
    numbers: Numbers = {
        "rows": found.rows,
        "webcams": found.webcams,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
    }
    if difference.value is None:
        return Verdict(
            False, f"By the live model's labels nothing can be said: {difference.reason}.", numbers
        )
    asked = target_of(comparison.evidence.target_type)
    worse = asked.is_better(0.0, difference.value)
    return Verdict(
        not worse,
        f"By the labels of the live model, {champion.model_version}, the candidate is "
        f"{'worse' if worse else 'not worse'}: {asked.primary_metric_name} "
        f"differs by {difference.value:+.3f}"
        + (
            ""
            if difference.low is None or difference.high is None
            else f" (95 % interval {difference.low:+.3f} to {difference.high:+.3f})"
        )
        + f" on {found.rows} rows of {found.webcams} webcams that have both labels.",
        numbers,
    )


GATES: Mapping[str, Gate] = {
    "enough_test_data": enough_test_data,
    "beats_trivial_baselines": beats_trivial_baselines,
    "matches_torch": matches_torch,
    "quality_floor": quality_floor,
    "not_worse_than_champion": not_worse_than_champion,
    "serves_in_runtime": serves_in_runtime,
    "same_definition": same_definition,
    "no_demo_over_real": no_demo_over_real,
    "scores_match_report": scores_match_report,
    "no_test_rows_left_out": no_test_rows_left_out,
    "no_looser_than_before": no_looser_than_before,
    "no_weak_slice": no_weak_slice,
}

# The gates that there were at least when evidence, or a line of the ledger, of a schema was made: an
# older decision is not undone by a gate that came later, and no line may say that fewer were asked.
# A gate that is added at the end of `GATES` needs no new schema.
GATES_OF_SCHEMA: Mapping[int, frozenset[str]] = {
    1: frozenset(list(GATES)[:8]),
    2: frozenset(list(GATES)[:12]),
}

# What makes a candidate defective: such a file is not what was trained or measured.
DEFECTS = frozenset({"matches_torch", "serves_in_runtime", "scores_match_report"})

WARNINGS: Mapping[str, Gate] = {
    "not_worse_than_best_ever": not_worse_than_best_ever,
    "not_worse_on_live_labels": not_worse_on_live_labels,
}


def judge(comparison: Comparison) -> dict[str, Verdict]:
    """Ask every gate that there was when the evidence was made.

    Args:
        comparison: The stored evidence.

    Returns:
        Name of the gate → verdict, in the order of `GATES`.
    """
    schema = comparison.evidence.schema_version
    asked = GATES if schema == max(GATES_OF_SCHEMA) else GATES_OF_SCHEMA[schema]
    return {name: gate(comparison) for name, gate in GATES.items() if name in asked}


def _pair_within_margin(comparison: Comparison, champion: Rival) -> Verdict:
    """Judge the bound of the difference on the pair, which must be able to carry a verdict."""
    from webcam_ml.judging._luck import allowed_error, bound_of

    evidence = comparison.evidence
    asked = target_of(evidence.target_type)
    limit = asked.margin(evidence.settings)
    live = f"the live model, {champion.model_version}"
    numbers: Numbers = {
        "rival": champion.model_version,
        "rival_sha256": champion.model_sha256,
        "limit": limit,
        "rows_left_out": champion.rows_left_out,
    }
    pair = champion.pair
    if pair is None:
        return Verdict(
            False,
            f"Cannot be compared with {live}: no row is left that it was not trained or tuned on.",
            numbers,
        )
    error = allowed_error(pair.candidate_number)
    numbers |= {
        "rows": pair.rows,
        "webcams": pair.webcams,
        "effective_webcams": pair.effective_webcams,
        "candidate_number": pair.candidate_number,
        "allowed_error": error,
        "difference": pair.difference,
    }
    on_test = champion.metrics.get(evidence.primary_metric)
    if on_test is not None:
        numbers |= {
            "candidate": on_test.candidate.value,
            "of_rival": on_test.rival.value,
            "difference_on_test": on_test.difference.value,
        }
    short = _too_small(pair)
    if short:
        return Verdict(
            False,
            f"Cannot be judged beside {live}: the rows that are new to both have {short} that are "
            "needed. Rate pictures of cameras that are new.",
            numbers,
        )
    if pair.difference is None or pair.standard_error is None:
        return Verdict(
            False, f"The difference to {live}, cannot be judged: {pair.reason}.", numbers
        )
    if pair.standard_error == 0.0 and not pair.same_scores:
        return Verdict(
            False,
            f"Cannot be judged beside {live}: the difference is the same in every resample of the "
            "cameras, although the two say different things, so these rows do not show how far it "
            "may be from the truth.",
            numbers,
        )
    bound = bound_of(pair, error, lower=asked.higher_is_better)
    numbers["bound"] = bound
    passed = asked.is_better(bound, limit)
    side = "above" if asked.higher_is_better else "below"
    sentence = (
        f"{asked.primary_metric_name} differs from {live}, by {pair.difference:+.3f}, perhaps "
        f"{bound:+.3f} ({side} {limit:+.3f} needed), on {pair.rows} rows of "
        f"{pair.webcams} webcams of {' and '.join(pair.splits)}. It is candidate "
        f"{pair.candidate_number} since that model went live, so the bound is one-sided with "
        f"{1 - error:.4g}."
    )
    if on_test is not None and on_test.difference.value is not None:
        sentence += f" On test alone: {on_test.difference.value:+.3f}."
    if not passed:
        sentence += " What helps is ratings of cameras that are new, or a person's override."
    return Verdict(passed, sentence, numbers)


def _too_small(pair: Pair) -> str:
    """Say what a pair lacks of the limits that hold for a test split; empty if nothing."""
    from webcam_ml.evaluation import DEFAULT_LIMITS as LIMITS

    found = {
        "rows": (pair.rows, LIMITS.min_rows),
        "webcams": (pair.webcams, LIMITS.min_webcams),
        "positives": (pair.positives, LIMITS.min_rows_of_each_class),
        "negatives": (pair.rows - pair.positives, LIMITS.min_rows_of_each_class),
        "webcams with a positive": (
            pair.webcams_with_a_positive,
            LIMITS.min_webcams_with_a_positive,
        ),
        "effective webcams": (pair.effective_webcams, LIMITS.min_effective_webcams),
    }
    return ", ".join(
        f"{value:g} of {needed:g} {what}"
        for what, (value, needed) in found.items()
        if value < needed
    )


def _within_margin(
    comparison: Comparison, rival: Rival, role: str, *, certain: bool = False
) -> Verdict:
    """Compare with a rival: by the bound, or (`certain`) by the value, for a mere warning."""
    evidence = comparison.evidence
    asked = target_of(evidence.target_type)
    limit = asked.margin(evidence.settings)
    numbers: Numbers = {
        "rival": rival.model_version,
        "rival_sha256": rival.model_sha256,
        "rows": rival.rows,
        "webcams": rival.webcams,
        "rows_left_out": rival.rows_left_out,
        "limit": limit,
    }
    paired = rival.metrics.get(evidence.primary_metric)
    if paired is None:
        return Verdict(
            False,
            f"Cannot be compared with {role}, {rival.model_version}: of the test rows "
            f"{rival.rows} are left that it was not trained or tuned on, and "
            f"{rival.rows_left_out} are not.",
            numbers,
        )
    difference = paired.difference.value
    bound = paired.lower_bound if asked.higher_is_better else paired.upper_bound
    numbers |= {"candidate": paired.candidate.value, "of_rival": paired.rival.value}
    numbers |= {"difference": difference, "bound": bound}
    judged = difference if certain else bound
    if difference is None or judged is None:
        return Verdict(
            False,
            f"The difference to {role}, {rival.model_version}, cannot be judged: "
            f"{paired.difference.reason}.",
            numbers,
        )
    side = "above" if asked.higher_is_better else "below"
    words = "the value decides" if bound is None or certain else f"perhaps {bound:+.3f}"
    return Verdict(
        asked.is_better(judged, limit),
        f"{asked.primary_metric_name} differs from {role}, {rival.model_version}, by "
        f"{difference:+.3f}, {words} (one-sided 95 %; {side} {limit:+.3f} needed) on {rival.rows} "
        f"rows of {rival.webcams} webcams.",
        numbers,
    )
