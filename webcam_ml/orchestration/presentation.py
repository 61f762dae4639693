"""What a person sees of each artifact in the Dagster page: counts, previews, numbers over time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dagster import MarkdownMetadataValue, MetadataValue

from webcam_ml.contracts import target_of
from webcam_ml.orchestration.markdown import (
    PREVIEW_ROWS,
    counts_table,
    picture,
    preview,
    table,
)

if TYPE_CHECKING:
    from webcam_ml.dataset import Manifest
    from webcam_ml.dataset.duplicates import ComparedImages, NearDuplicates
    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.dataset.judges import ExternalRows, HeardJudge, JudgeComparison
    from webcam_ml.disagreement import DisagreementReport, ReportRow
    from webcam_ml.evaluation import EvalReport, Verdict
    from webcam_ml.export import ExportedModel
    from webcam_ml.judging import Comparison, ComparisonResult, Judged
    from webcam_ml.labels import Labels
    from webcam_ml.live import LiveModel, Promotion, Refusal
    from webcam_ml.metrics import Interval
    from webcam_ml.rating_queue import QueueResult
    from webcam_ml.training import TrainingResult

WORST_SHOWN = 10
# Of pictures in a table; a table with twenty of them stays below 100 kB.
SMALL_SIDE = 160
LARGEST_SMALL_BYTES = 4_000
# Why a model may not go live must be readable to its end.
LONGEST_SENTENCE = 2_000

Metadata = dict[str, Any]


def of_labels(labels: "Labels") -> Metadata:
    """Counts, what dropped out, how the ratings are spread, and the first rows."""
    import polars as pl

    frame = labels.frame
    stars = frame["label_value"].round().cast(pl.Int64)
    return {
        "rows": frame.height,
        "webcams": frame["webcam_id"].n_unique(),
        "mean rating": _rounded(frame["label_value"].mean()),
        "label distribution": counts_table(
            {f"{star} stars": int((stars == star).sum()) for star in range(1, 6)}, "rating"
        ),
        "dropped": counts_table(labels.drops, "reason"),
        "unused N votes": labels.counts.unused_no_votes or 0,
        **_of_judgements(labels),
        "preview": preview(
            frame,
            ("snapshot_id", "webcam_id", "label_value", "rating_count", "phase", "captured_at"),
        ),
    }


def _of_judgements(labels: "Labels") -> Metadata:
    if labels.judged is None:
        return {}
    judges = [{"judge": name, **numbers} for name, numbers in labels.judged.judges.items()]
    external = labels.judged.external
    return {
        "judges": table(judges),
        "votes of people, and what dropped out": counts_table(labels.judged.counts, "what"),
        "snapshots that only judges know": labels.judged.snapshots.height,
        **({} if external is None else {"pictures from elsewhere": external.height}),
    }


def of_manifest(manifest: "Manifest") -> Metadata:
    """Counts and targets, of every split for the whole manifest and of its own rows for a part."""
    frame, meta = manifest.frame, manifest.meta
    of_webcams = manifest.of_webcams.frame
    shown: Metadata = {
        "rows": frame.height,
        "webcams": of_webcams["webcam_id"].n_unique(),
        "target_type": meta.target_type,
    }
    people = manifest.of_people.frame
    shown[meta.asked.words.mean_label] = _rounded(people["target_label"].mean())
    if manifest.part == "full":
        shown["splits"] = table(
            [
                {
                    "split": name,
                    "rows": meta.counts[name],
                    "webcams": meta.webcams[name],
                    **{key: str(value) for key, value in meta.target_distribution[name].items()},
                }
                for name in ("train", "val", "test")
            ]
        )
    if meta.heard is not None:
        shown["judges"] = table([_of_judge(one) for one in meta.heard.judges])
        left_out = counts_table(meta.heard.left_out, "snapshots that only judges know")
        shown["left out"] = left_out
        if meta.heard.external is not None:
            shown |= _of_external(meta.heard.external)
    shown["preview"] = preview(
        of_webcams, ("snapshot_id", "webcam_id", "label_value", "target_label", "split", "phase")
    )
    return shown


def _of_external(external: "ExternalRows") -> Metadata:
    return {
        "pictures from elsewhere": external.rows,
        "pictures from elsewhere that the curator labelled": external.gold,
        "pictures from elsewhere of which no judge speaks": external.no_judge_speaks,
        "sources of pictures from elsewhere": counts_table(external.sources, "source"),
        "licences of pictures from elsewhere": counts_table(external.licences, "licence"),
    }


def _of_judge(heard: "HeardJudge") -> dict[str, Any]:
    judge = heard.calibration
    return {
        "judge": judge.name,
        "speaks": judge.reason or "yes",
        "training rows": heard.rows,
        "weight": judge.weight,
        "common snapshots": judge.overlap.rows,
        "webcams": judge.overlap.webcams,
        "cut": judge.cut,
        "rank correlation": None if judge.spearman is None else judge.spearman.value,
        "stars off": None if judge.mae is None else judge.mae.value,
        "drift": heard.drift,
    }


def judge_table(judges: Sequence["JudgeComparison"]) -> MarkdownMetadataValue:
    """Show what judges say beside what they said when the live model was trained."""
    return table(
        [
            {
                "judge": one.judge,
                "apart": one.apart,
                "by chance": one.apart_by_chance,
                "weight": f"{one.weight_before:.3f} → {one.weight_now:.3f}",
                "weight by chance": one.weight_by_chance,
                "cut": f"{one.cut_before} → {one.cut_now}",
            }
            for one in judges
        ]
    )


def of_images(images: "ComparedImages") -> Metadata:
    """How many pictures there are, why others failed, and how many webcams show the same."""
    index, near_duplicates = images.index, images.near_duplicates
    usable = index.usable()
    return {
        "ok": usable.height,
        "failed": index.failed().height,
        "failed share": _rounded(index.failed_fraction),
        "megabytes": _rounded(float(usable["bytes"].sum()) / 1e6),
        "failures by reason": counts_table(index.failures_by_reason(), "reason"),
        "failures by host": counts_table(index.failures_by_host(), "host or folder"),
        "formats": counts_table(
            dict(usable["format"].value_counts().sort("format").iter_rows()), "format"
        ),
        "pairs of webcams with the same picture": near_duplicates.webcam_pairs().height,
        "placeholders": near_duplicates.placeholders.height,
        "snapshots left out as placeholders": index.left_out().height,
    }


def of_near_duplicates(found: "NearDuplicates", *, images: "ImageCache") -> Metadata:
    """Pairs of webcams across splits and the placeholders, with their pictures."""
    return {
        "across splits": table(
            [
                {
                    "webcams": f"{row['webcam_a']} and {row['webcam_b']}",
                    "splits": f"{row['split_a']} and {row['split_b']}",
                    "pairs of pictures": row["pictures"],
                    "snapshots": f"{row['snapshot_a']} and {row['snapshot_b']}",
                    "correlation": row["correlation"],
                    "one": _small(row["sha256_a"], images),
                    "other": _small(row["sha256_b"], images),
                }
                for row in found.across_splits().head(WORST_SHOWN).to_dicts()
            ]
        ),
        "placeholders": table(
            [
                {
                    "webcams": row["webcams"],
                    "snapshots": row["snapshots"],
                    "first snapshot": row["snapshot_id"],
                    "picture": _small(row["sha256"], images),
                }
                for row in found.placeholders.head(PREVIEW_ROWS).to_dicts()
            ]
        ),
    }


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
        f"{target_type}/out-of-fold {loss}": _rounded(best),
        "head": f"{summary['head']['kind']}, penalty {summary['head']['penalty']:g}",
        "model": f"{summary['model_name']}, weights {summary['weights']}, {summary['image_size']} px",
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
        shown[f"{target_type}/decision threshold"] = _rounded(summary["decision_threshold"])
    if result.checkpoint.loss_curve is not None:
        tuning = summary["finetune"]
        shown["fine-tuning"] = f"stopped: {tuning['stopped']}. {tuning['verdict']}"
        if tuning["gain"] is not None and tuning["gain"]["value"] is not None:
            shown[f"{target_type}/validation gain of fine-tuning"] = tuning["gain"]["value"]
        shown["loss curve"] = picture(result.checkpoint.loss_curve)
    return shown


def of_evaluation(report: "EvalReport") -> Metadata:
    """Test metrics as numbers that plot over time, their intervals, and the plots themselves."""
    document = report.document
    target_type = document.target_type
    shown: Metadata = {}
    rows = []
    for name, interval in document.metrics.items():
        if interval.value is None:
            continue
        shown[f"{target_type}/{name}"] = _rounded(interval.value)
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
    shown["effective test webcams"] = _rounded(split.effective_webcams)
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
        "megabytes": _rounded(meta.size / 1e6),
        "opset": meta.opset,
        f"{meta.target_type}/largest difference from torch": exported.parity.at_most,
    }


def of_verdict(verdict: "Verdict") -> Metadata:
    """The numbers behind a verdict; its sentence is the description of the check's result."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in verdict.numbers.items()
        if value is not None
    }


def of_disagreement(report: "DisagreementReport", *, images: "ImageCache") -> Metadata:
    """How far people and model are apart over all rows, and the worst of them with their pictures."""
    from webcam_ml.disagreement import draw_differences, small_pictures

    document = report.document
    everything = document.summary.all
    worst = document.worst[:WORST_SHOWN]
    pictures = small_pictures(worst, decode=images.decode)
    return {
        f"the {len(worst)} worst": table(
            [
                {
                    "picture": pictures.get(row.snapshot_id, "gone"),
                    "people": row.human_rating,
                    "model": row.ai_rating,
                    **_judges_of(row),
                    "may move": round(row.expected_correction, 2),
                    "webcam": row.webcam_title or row.webcam_id,
                    "snapshot": row.snapshot_id,
                    "prediction": row.prediction_kind,
                }
                for row in worst
            ]
        ),
        "differences by phase": picture(draw_differences(document)),
        "compared": document.counts.compared,
        "listed": document.counts.listed,
        "left out": counts_table(document.counts.left_out, "reason"),
        f"{document.target_type}/mean absolute difference": _rounded(
            everything.mean_abs_diff.value
        ),
        f"{document.target_type}/mean signed difference": _rounded(
            everything.mean_signed_diff.value
        ),
    }


def of_rating_queue(result: "QueueResult", *, images: "ImageCache") -> Metadata:
    """What to rate next with the first pictures, what the queue is made of, and what was left out."""
    queue = result.queue
    meta = queue.meta
    first = queue.frame.head(WORST_SHOWN).to_dicts()
    shown: Metadata = {
        "rows": queue.frame.height,
        f"the first {len(first)}": table(
            [
                {
                    "picture": _small(result.pictures[row["snapshot_id"]], images),
                    "snapshot": row["snapshot_id"],
                    "webcam": row["webcam_id"],
                    "split": row["split"],
                    "reason": row["reason"],
                }
                for row in first
            ]
        ),
        "made of": table([asdict(share) for share in meta.shares]),
        "unrated": meta.unrated,
        "rated": meta.rated,
        "rated since the labels were read, or dropped there": meta.rated_since_or_dropped,
        "not shown": counts_table(meta.not_shown, "reason"),
        "scored by the model": meta.scored,
        "features computed": result.features_computed,
        "features reused": result.features_reused,
    }
    if meta.shortfall is not None:
        shown["shorter than asked for"] = MetadataValue.text(meta.shortfall)
    return shown


def _judges_of(row: "ReportRow") -> Metadata:
    """What judges said, in a column of its own where any is heard."""
    if row.said is None:
        return {}
    judges = (
        f"{one.judge} {one.score:g}" + ("" if one.stars is None else f" = {one.stars:g} stars")
        for one in row.said.judges
    )
    return {"judges": ", ".join(judges)}


def of_comparison(result: "ComparisonResult") -> Metadata:
    """The candidate beside the live model, the verdict of each gate, and the plot."""
    comparison = result.comparison
    shown: Metadata = {
        **_compared(comparison),
        "verdicts": verdict_table(comparison.verdicts),
        "comparison": picture(comparison.plot),
    }
    if result.milliseconds is not None:
        shown["milliseconds a picture"] = _rounded(result.milliseconds)
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


def of_promotion(promotion: "Promotion") -> Metadata:
    """Which model is live, since when, and where the application finds it."""
    return {
        "model_version": promotion.entry.version,
        "live since": promotion.entry.time,
        "promoted now": promotion.is_new,
        "live path": MetadataValue.path(str(promotion.link)),
        "relaxed": promotion.entry.relaxed or "no",
        "verdicts": verdict_table(promotion.verdicts),
    }


def verdict_table(verdicts: Mapping[str, "Verdict | Judged"]) -> MarkdownMetadataValue:
    """Show gates, those that say no first, with the whole sentence of each."""
    rows = [
        {"gate": f"{name}: {'yes' if one.passed else 'NO'}", "reason": one.reason}
        for name, one in sorted(verdicts.items(), key=lambda item: item[1].passed)
    ]
    return table(rows, longest_cell=LONGEST_SENTENCE)


def _small(sha256: str, images: "ImageCache") -> bytes | str:
    from webcam_ml.dataset.images import DamagedImageError
    from webcam_ml.disagreement import thumbnail_jpeg

    try:
        pixels = images.decode(sha256)
    except DamagedImageError:
        return "gone from the cache"
    return thumbnail_jpeg(pixels, side=SMALL_SIDE, max_bytes=LARGEST_SMALL_BYTES)


def _rounded(value: object) -> float:
    return round(float(value), 4) if isinstance(value, (int, float)) else float("nan")
