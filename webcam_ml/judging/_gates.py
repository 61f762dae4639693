"""The gates of promotion: pure functions from stored evidence to a verdict, all in one list.

Here are those that look at the candidate alone; `_beside_live` has those that look at the live
model. Whoever adds a gate writes a function and enters it at the end of `GATES`; then the comparison
shows it, the promotion insists on it, and ``webcam-ml verify`` repeats it. Nothing here reads a file
or a clock.
The list is all that Dagster needs of this module when it loads, so evidence is imported where it is
judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from webcam_ml.contracts import target_of
from webcam_ml.evaluation import Verdict
from webcam_ml.judging._beside_live import (
    no_demo_over_real,
    no_looser_than_before,
    not_worse_on_live_labels,
    not_worse_than_best_ever,
    not_worse_than_champion,
    same_definition,
    same_pictures,
)

if TYPE_CHECKING:
    from webcam_ml.judging._evidence import Comparison, JudgedBy, TestRows
    from webcam_ml.judging._settings import ComparisonSettings

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
    split = evidence.test_split
    pair = None if evidence.champion is None else evidence.champion.pair
    of_val = split.val_missing / max(split.val_missing + split.val_rows, 1)
    if pair is not None and "val" in pair.splits and of_val > settings.max_test_rows_missing:
        numbers |= {"val_missing": split.val_missing, "val_share": round(of_val, 6)}
        return Verdict(
            False,
            f"{found}, and {split.val_missing} of {split.val_missing + split.val_rows} validation "
            f"rows, {of_val:.1%}, which count beside the live model; max_test_rows_missing allows "
            f"{settings.max_test_rows_missing:.1%}. Look at the failures in image_index.",
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
        return _as_many_placeholders(split, before, settings, found, numbers)
    return Verdict(True, f"{found}.", numbers)


def _as_many_placeholders(
    split: TestRows,
    before: JudgedBy,
    settings: ComparisonSettings,
    found: str,
    numbers: Numbers,
) -> Verdict:
    """Judge whether not many more rows than for the live model are left out as cards."""
    rows, rows_then = (
        max(side.rows + missing + side.placeholders, 1)
        for side, missing in ((split, split.missing), (before, before.rows_missing))
    )
    allowed = before.placeholders / rows_then + settings.max_test_rows_missing
    numbers |= {"placeholders": split.placeholders, "placeholders_of_live": before.placeholders}
    if split.placeholders <= allowed * rows + ROWS_OF_CHANCE or settings.relaxed_because:
        return Verdict(True, f"{found}.", numbers)
    return Verdict(
        False,
        f"{found}. But {split.placeholders} of {rows} show a placeholder, and "
        f"{before.placeholders} of {rows_then} for the live model. Look at placeholders.csv in "
        "image_index; if they are cards, give champion_comparison the config relaxed_because with "
        "the reason; it goes into the ledger.",
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
    "same_pictures": same_pictures,
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
