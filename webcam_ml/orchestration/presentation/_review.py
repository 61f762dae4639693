"""What people are asked to look at, as the page shows it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from dagster import MetadataValue

from webcam_ml.orchestration.markdown import (
    counts_table,
    picture,
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
    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.disagreement import DisagreementReport, ReportRow
    from webcam_ml.rating_queue import QueueResult


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
        f"{document.target_type}/mean absolute difference": rounded(everything.mean_abs_diff.value),
        f"{document.target_type}/mean signed difference": rounded(
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
                    "picture": small_picture(result.pictures[row["snapshot_id"]], images),
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
    if queue.conflicts is not None:
        shown["people and judges differ by a star or more"] = meta.conflicts
        columns = ("snapshot_id", "webcam_id", "difference", "reason")
        shown["where they differ most"] = preview(queue.conflicts, columns)
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
