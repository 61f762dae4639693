"""The gates of promotion: pure functions from stored evidence to a verdict, all in one list.

Whoever adds a gate writes a function and enters it in `GATES`; then the comparison shows it, the
promotion insists on it, and ``webcam-ml verify`` repeats it. Nothing here reads a file or a clock.
The list is all that Dagster needs of this module when it loads, so evidence is imported where it is
judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from webcam_ml.contracts import target_of
from webcam_ml.evaluation import Verdict

if TYPE_CHECKING:
    from webcam_ml.judging._evidence import Comparison, Rival

Gate = Callable[["Comparison"], Verdict]
Numbers = dict[str, float | int | str | None]

# Scores are served with six decimals; a step of 1e-5 holds the rounding and nothing else.
MAX_SERVED_DIFFERENCE = 1e-5


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
    """Judge whether the candidate is at most a margin worse than the live model, with 95 %."""
    champion = comparison.evidence.champion
    if champion is None:
        return Verdict(
            True, "No model was live to compare with; the floors decide alone.", {"champion": None}
        )
    return _within_margin(comparison, champion, "the live model")


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
    """Judge whether threshold and division of the webcams are those of the live model."""
    changes = [one for one in comparison.evidence.changes if one.kind == "definition"]
    numbers: Numbers = {one.what: f"{one.champion} → {one.candidate}" for one in changes}
    if not changes:
        return Verdict(True, "Threshold and division of the webcams are as before.", numbers)
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


GATES: Mapping[str, Gate] = {
    "enough_test_data": enough_test_data,
    "beats_trivial_baselines": beats_trivial_baselines,
    "matches_torch": matches_torch,
    "quality_floor": quality_floor,
    "not_worse_than_champion": not_worse_than_champion,
    "serves_in_runtime": serves_in_runtime,
    "same_definition": same_definition,
    "no_demo_over_real": no_demo_over_real,
}

WARNINGS: Mapping[str, Gate] = {"not_worse_than_best_ever": not_worse_than_best_ever}


def judge(comparison: Comparison) -> dict[str, Verdict]:
    """Ask every gate.

    Args:
        comparison: The stored evidence.

    Returns:
        Name of the gate → verdict, in the order of `GATES`.
    """
    return {name: gate(comparison) for name, gate in GATES.items()}


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
