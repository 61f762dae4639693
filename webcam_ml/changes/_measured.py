"""Metrics of two models on the same rows, as a whole and by slice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from webcam_ml.contracts import target_of
from webcam_ml.evaluation import slices_of
from webcam_ml.judging import CANDIDATE, RIVAL, ScoredRows
from webcam_ml.metrics import Interval


@dataclass(frozen=True)
class SideBySide:
    """One metric of A and B on the same rows.

    Attributes:
        of: The metric, or the slice.
        group: What the slice is by; empty for the whole.
        a, b, difference: With 95 % intervals; the difference is B − A.
        rows, webcams: What it was measured on.
    """

    of: str
    group: str
    a: Interval
    b: Interval
    difference: Interval
    rows: int
    webcams: int


def by_slice(
    rows: ScoredRows, details: pl.DataFrame, webcam_label_counts: Mapping[int, int]
) -> Iterator[SideBySide]:
    """Measure the primary metric of both on each slice of the test rows.

    Args:
        rows: With the scores of both, at least one.
        details: What the manifest says of snapshots beside its columns.
        webcam_label_counts: Camera → labelled pictures in all splits.
    """
    metric = target_of(rows.target_type).primary_metric
    known = rows.frame.join(details, on="snapshot_id", how="left", maintain_order="left")
    frame = known.with_columns(webcam_id=pl.col("camera_id"))
    for by, group, mask in slices_of(frame, webcam_label_counts):
        part = rows.where(mask)
        yield SideBySide(
            of=group,
            group=by,
            a=part.estimate(metric, RIVAL, None).interval(),
            b=part.estimate(metric, CANDIDATE, None).interval(),
            difference=part.difference(metric, CANDIDATE, RIVAL).interval(),
            rows=part.rows,
            webcams=part.n_cameras,
        )
