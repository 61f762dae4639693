"""Models and the verdicts on them, as the page shows them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dagster import MarkdownMetadataValue, MetadataValue

from webcam_ml.contracts import target_of
from webcam_ml.orchestration.markdown import (
    counts_table,
    picture,
    table,
)
from webcam_ml.orchestration.presentation._cells import Metadata, rounded

if TYPE_CHECKING:
    from webcam_ml.evaluation import EvalReport, Verdict
    from webcam_ml.export import ExportedModel
    from webcam_ml.judging import Comparison, ComparisonResult, Judged
    from webcam_ml.live import LiveModel, Promotion, Refusal
    from webcam_ml.metrics import Interval
    from webcam_ml.training import Choice, TrainingResult

# Why a model may not go live must be readable to its end.
LONGEST_SENTENCE = 2_000


def of_training(result: "TrainingResult") -> Metadata:
    """What was learned from how much, and how much of the work was new."""
    summary = result.checkpoint.summary
    target_type = summary["target_type"]
    best = min(step["out_of_fold_loss"] for step in summary["head"]["search"])
    loss = target_of(target_type).loss_name
    shown: Metadata = {
        "features computed": result.features_computed,
        "features reused": result.features_reused,
        "train rows": summary["rows"]["train"],
        "val rows": summary["rows"]["val"],
        f"{target_type}/out-of-fold {loss}": rounded(best),
        "head": f"{summary['head']['kind']}, penalty {summary['head']['penalty']:g}",
        "model": f"{summary['model_name']}, weights {summary['weights']}, {summary['image_size']} px, "
        f"stages: {summary['feature_stages']}",
        "left out": counts_table(
            {
                f"{split}: {reason}": count
                for split, reasons in summary["left_out"].items()
                for reason, count in reasons.items()
            },
            "split and reason",
        ),
    }
    if summary["decision_threshold"] is not None:
        shown[f"{target_type}/decision threshold"] = rounded(summary["decision_threshold"])
    if result.choice is not None:
        shown |= _of_choice(result.choice, loss)
    if result.checkpoint.loss_curve is not None:
        tuning = summary["finetune"]
        shown["fine-tuning"] = f"stopped: {tuning['stopped']}. {tuning['verdict']}"
        if tuning["gain"] is not None and tuning["gain"]["value"] is not None:
            shown[f"{target_type}/validation gain of fine-tuning"] = tuning["gain"]["value"]
        shown["loss curve"] = picture(result.checkpoint.loss_curve)
    return shown


def _of_choice(choice: "Choice", loss: str) -> Metadata:
    """Why this backbone: each candidate with its cost and its loss beside the best."""
    rows = []
    for one in choice.account["candidates"]:
        difference = one["difference_to_best"]
        rows.append(
            {
                "candidate": f"{one['model_name']}, {one['image_size']} px",
                "ms a picture": one["milliseconds"],
                "MB": one["megabytes"],
                f"out-of-fold {loss}": one["out_of_fold_loss"],
                "more than the best (95 %)": "–"
                if difference is None or difference["low"] is None
                else f"{difference['value']:.4f} ({difference['low']:.4f} to {difference['high']:.4f})",
                "within budget": "yes" if one["within_budget"] else "no",
                "chosen": "chosen" if one["chosen"] else "",
            }
        )
    kept = "" if choice.kept_from is None else f", kept from {choice.kept_from}"
    return {
        "backbone": f"{choice.account['verdict']}{kept}",
        "candidates": table(rows),
    }


def of_evaluation(report: "EvalReport") -> Metadata:
    """Test metrics as numbers that plot over time, their intervals, and the plots themselves."""
    document = report.document
    target_type = document.target_type
    shown: Metadata = {}
    rows = []
    for name, interval in document.metrics.items():
        if interval.value is None:
            continue
        shown[f"{target_type}/{name}"] = rounded(interval.value)
        low, high = interval.low, interval.high
        rows.append(
            {
                "metric": name,
                "value": f"{interval.value:.3f}",
                "95 % interval": "–" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            }
        )
    split = document.test_split
    shown["test metrics"] = table(rows)
    shown["test rows"] = split.rows
    shown["test webcams"] = split.webcams
    shown["effective test webcams"] = rounded(split.effective_webcams)
    if document.judges is not None:
        shown["judges beside the model"] = table(
            [
                {
                    "judge": one.name,
                    "rows": one.rows,
                    document.primary_metric: _with_interval(one.judge),
                    "of the model": _with_interval(one.model),
                    "model better by": _with_interval(one.improvement),
                }
                for one in document.judges
            ]
        )
        shown["judges beside one person"] = table(
            [
                {
                    "judge": one.name,
                    "ratings": one.raters.ratings,
                    document.primary_metric: _with_interval(one.raters.judge),
                    "of one person": _with_interval(one.raters.one_person),
                    "of the model": _with_interval(one.raters.model),
                }
                for one in document.judges
            ]
        )
    for name, png in report.plots.items():
        shown[name.removesuffix(".png").replace("_", " ")] = picture(png)
    return shown


def of_model(exported: "ExportedModel") -> Metadata:
    """Which candidate this is."""
    meta = exported.meta
    return {
        "model_version": meta.model_version,
        "megabytes": rounded(meta.size / 1e6),
        "opset": meta.opset,
        "licence of the weights": meta.weights_licence or "not known: seeded, or of a file",
        f"{meta.target_type}/largest difference from torch": exported.parity.at_most,
    }


def of_verdict(verdict: "Verdict") -> Metadata:
    """The numbers behind a verdict; its sentence is the description of the check's result."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in verdict.numbers.items()
        if value is not None
    }


def of_comparison(result: "ComparisonResult") -> Metadata:
    """The candidate beside the live model, the verdict of each gate, and the plot."""
    comparison = result.comparison
    shown: Metadata = {
        **_compared(comparison),
        "verdicts": verdict_table(comparison.verdicts),
        "comparison": picture(comparison.plot),
    }
    if result.milliseconds is not None:
        shown["milliseconds a picture"] = rounded(result.milliseconds)
    return shown


def _compared(comparison: "Comparison") -> Metadata:
    """A table for each model and for the difference: the page cuts off the end of a wider one."""
    champion, own = comparison.evidence.champion, comparison.evidence.candidate.metrics
    tables: dict[str, Mapping[str, Interval]] = {"candidate": own}
    if champion is not None and champion.metrics:
        paired = champion.metrics.items()
        tables = {
            "candidate": {name: one.candidate for name, one in paired},
            "live model": {name: one.rival for name, one in paired},
            "difference": {name: one.difference for name, one in paired},
        }
    return {
        what: table(
            [
                {"metric": name, "95 % interval": _with_interval(one)}
                for name, one in metrics.items()
            ]
        )
        for what, metrics in tables.items()
    }


def _with_interval(one: "Interval") -> str:
    if one.value is None:
        return one.reason or "–"
    if one.low is None or one.high is None:
        return f"{one.value:.3f}"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def of_refusal(live: "LiveModel", refusal: "Refusal") -> Metadata:
    """What stays live, which candidate was refused, and why.

    No table: it would be wider than the page, which would cut off the sentence in it.
    """
    return {
        "live": live.model_version or "no model",
        "refused": refusal.version,
        "refused because": MetadataValue.text(refusal.reason),
        "to let it go live all the same": override_command(refusal.version),
    }


def override_command(model_version: str) -> str:
    """What a person types who decides against the gates."""
    return f'webcam-ml promote {model_version} --override "REASON"'


def of_promotion(promotion: "Promotion", both: str | None) -> Metadata:
    """Which model is live, since when, and where the application finds it.

    Args:
        promotion: What went live, or was live already.
        both: What is to be said of the file with both heads; None while one is missing.
    """
    return {
        "model_version": promotion.entry.version,
        "live since": promotion.entry.time,
        "promoted now": promotion.is_new,
        "live path": MetadataValue.path(str(promotion.link)),
        "relaxed": promotion.entry.relaxed or "no",
        **({} if both is None else {"both heads": both}),
        "verdicts": verdict_table(promotion.verdicts),
    }


def verdict_table(verdicts: Mapping[str, "Verdict | Judged"]) -> MarkdownMetadataValue:
    """Show gates, those that say no first, with the whole sentence of each."""
    rows = [
        {"gate": f"{name}: {'yes' if one.passed else 'NO'}", "reason": one.reason}
        for name, one in sorted(verdicts.items(), key=lambda item: item[1].passed)
    ]
    return table(rows, longest_cell=LONGEST_SENTENCE)
