"""The gates that look at the live model: how a candidate stands beside it, and what has changed.

Pure functions from stored evidence to a verdict, entered in `GATES` and `WARNINGS` of `_gates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webcam_ml.contracts import target_of
from webcam_ml.evaluation import Verdict

if TYPE_CHECKING:
    from webcam_ml.contracts import TargetType
    from webcam_ml.judging._evidence import Comparison, Pair, PairedMetric, Rival
    from webcam_ml.judging._settings import ComparisonSettings

Numbers = dict[str, float | int | str | None]

# Pictures behind an address hardly ever change. Of real rows two in a hundred, and one in any case.
MAX_SHARE_OF_OTHER_PICTURES = 0.02


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


def same_pictures(comparison: Comparison) -> Verdict:
    """Judge whether rows that the live model was judged on show what they showed then."""
    champion, settings = comparison.evidence.champion, comparison.evidence.settings
    if champion is None:
        return Verdict(True, "No model was live to compare with.", {"rows": None})
    known = champion.known_pictures
    if known is None:
        return Verdict(
            False,
            "Which pictures the live model was judged on was not compared: the evidence was made by "
            "an older version of the program. Materialize champion_comparison again.",
            {"rows": None},
        )
    numbers: Numbers = {"rows": known.rows, "changed": known.changed}
    found = (
        f"Of {known.rows} snapshots of validation and test that the live model's image_index knows "
        f"{known.changed} show another picture now"
    )
    if known.changed <= max(1.0, MAX_SHARE_OF_OTHER_PICTURES * known.rows):
        return Verdict(True, f"{found}.", numbers)
    if settings.relaxed_because:
        return Verdict(
            True, f"{found}, on purpose. Reason given: {settings.relaxed_because}", numbers
        )
    return Verdict(
        False,
        f"{found}, and {MAX_SHARE_OF_OTHER_PICTURES:.0%} may: whoever writes into "
        "cache/images/sources could choose what a model is judged on. Delete that folder and "
        "materialize image_index and all after it again; if the pictures did change, give "
        "champion_comparison the config relaxed_because with the reason; it goes into the ledger.",
        numbers,
    )


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


def _pair_within_margin(comparison: Comparison, champion: Rival) -> Verdict:
    """Judge the bound of the difference on the pair, if there is one."""
    evidence = comparison.evidence
    numbers: Numbers = {
        "rival": champion.model_version,
        "rival_sha256": champion.model_sha256,
        "limit": target_of(evidence.target_type).margin(evidence.settings),
        "rows_left_out": champion.rows_left_out,
    }
    if champion.pair is None:
        return Verdict(
            False,
            f"Cannot be compared with the live model, {champion.model_version}: no row is left "
            "that it was not trained or tuned on.",
            numbers,
        )
    found = pair_within_margin(
        champion.pair,
        live=champion.model_version,
        on_test=champion.metrics.get(evidence.primary_metric),
        target_type=evidence.target_type,
        settings=evidence.settings,
    )
    return Verdict(found.passed, found.reason, numbers | dict(found.numbers))


def pair_within_margin(
    pair: Pair,
    *,
    live: str,
    on_test: PairedMetric | None,
    target_type: TargetType,
    settings: ComparisonSettings,
) -> Verdict:
    """Judge whether a pair can carry a verdict, and the bound of its difference.

    Args:
        pair: The rows that decide, and the difference on them.
        live: The model_version of the live model.
        on_test: The same metric on the test split alone, to be shown beside it.
        target_type: What both models predict.
        settings: With the margin.
    """
    from webcam_ml.judging._luck import allowed_error, bound_of

    asked = target_of(target_type)
    limit = asked.margin(settings)
    live = f"the live model, {live}"
    error = allowed_error(pair.candidate_number)
    numbers: Numbers = {
        "limit": limit,
        "rows": pair.rows,
        "webcams": pair.webcams,
        "effective_webcams": pair.effective_webcams,
        "candidate_number": pair.candidate_number,
        "allowed_error": error,
        "difference": pair.difference,
    }
    if on_test is not None:
        numbers |= {
            "candidate": on_test.candidate.value,
            "of_rival": on_test.rival.value,
            "difference_on_test": on_test.difference.value,
        }
    from webcam_ml.evaluation import DEFAULT_LIMITS

    if short := DEFAULT_LIMITS.shortage(pair):
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
        f"{pair.webcams} webcams of {' and '.join(pair.splits)}. As candidate "
        f"{pair.candidate_number} since that model went live it is judged one-sided with "
        f"{1 - error:.4g}."
    )
    if on_test is not None and on_test.difference.value is not None:
        sentence += f" On test alone: {on_test.difference.value:+.3f}."
    if not passed:
        sentence += " What helps is ratings of cameras that are new, or a person's override."
    return Verdict(passed, sentence, numbers)


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
