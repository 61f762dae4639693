"""Labels, manifests and pictures, as the page shows them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dagster import MarkdownMetadataValue

from webcam_ml.orchestration.markdown import (
    PREVIEW_ROWS,
    counts_table,
    preview,
    table,
)
from webcam_ml.orchestration.presentation._cells import (
    WORST_SHOWN,
    Metadata,
    rounded,
    small_picture,
)

if TYPE_CHECKING:
    from webcam_ml.dataset import Manifest
    from webcam_ml.dataset.duplicates import ComparedImages, NearDuplicates
    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.dataset.judges import ExternalRows, HeardJudge, JudgeComparison
    from webcam_ml.labels import Labels


def of_labels(labels: "Labels") -> Metadata:
    """Counts, what dropped out, how the ratings are spread, and the first rows."""
    import polars as pl

    frame = labels.frame
    stars = frame["label_value"].round().cast(pl.Int64)
    return {
        "rows": frame.height,
        "webcams": frame["webcam_id"].n_unique(),
        "mean rating": rounded(frame["label_value"].mean()),
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
    shown[meta.asked.words.mean_label] = rounded(people["target_label"].mean())
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
        "failed share": rounded(index.failed_fraction),
        **({"failed from elsewhere": elsewhere} if (elsewhere := index.failed_elsewhere) else {}),
        "megabytes": rounded(float(usable["bytes"].sum()) / 1e6),
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
                    "one": small_picture(row["sha256_a"], images),
                    "other": small_picture(row["sha256_b"], images),
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
                    "picture": small_picture(row["sha256"], images),
                }
                for row in found.placeholders.head(PREVIEW_ROWS).to_dicts()
            ]
        ),
    }
