"""Is the model weak somewhere? The test split by what is known of its rows, camera size and month.

Columns whose values are the slices are marked where they are declared (`sliced_as`, in
`contracts`); here are the slices that have to be computed.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.evaluation._document import Slice
from webcam_ml.evaluation._rows import SLICED_COLUMNS, SplitRows
from webcam_ml.metrics import METRICS, Interval

MIN_ROWS = 30
# Webcams with at most this many labelled pictures, in all splits, count as having few.
FEW_LABELS = 10


def slices(
    rows: SplitRows,
    *,
    overall: Interval,
    decision_threshold: float | None,
    webcam_label_counts: Mapping[int, int],
) -> list[Slice]:
    """Measure each slice of a split and judge the ones with enough rows.

    Args:
        rows: The split.
        overall: Its primary metric on all rows.
        decision_threshold: Binary: the threshold in use.
        webcam_label_counts: Labelled pictures of each webcam, in all splits.
    """
    return [
        _slice(part, by, group, overall=overall, decision_threshold=decision_threshold)
        for by, group, part in _groups(rows, webcam_label_counts)
    ]


def _groups(
    rows: SplitRows, webcam_label_counts: Mapping[int, int]
) -> Iterator[tuple[str, str, SplitRows]]:
    for by, group, mask in slices_of(rows.frame, webcam_label_counts):
        yield by, group, rows.where(mask)


def slices_of(
    frame: pl.DataFrame, webcam_label_counts: Mapping[int, int]
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield each slice as what it is by, its name, and which rows are in it.

    Args:
        frame: `webcam_id`, `captured_at` and the columns that are marked as `sliced_as`.
        webcam_label_counts: Labelled pictures of each webcam, in all splits.
    """
    counts = [webcam_label_counts.get(int(webcam), 0) for webcam in frame["webcam_id"]]
    size = [
        f"over {FEW_LABELS} labels" if count > FEW_LABELS else f"up to {FEW_LABELS} labels"
        for count in counts
    ]
    columns = {
        **{by: frame[name].cast(pl.String) for name, by in SLICED_COLUMNS.items()},
        "labels of the webcam": pl.Series(size, dtype=pl.String),
        "month": frame["captured_at"].cast(pl.String).str.slice(0, 7),
    }
    for by, column in columns.items():
        values = column.fill_null("unknown").to_numpy()
        for group in sorted(set(values.tolist())):
            yield by, group, np.asarray(values == group)


def _slice(
    part: SplitRows, by: str, group: str, *, overall: Interval, decision_threshold: float | None
) -> Slice:
    metrics = {
        name: part.bootstrap.estimate(
            METRICS[name], part.target, part.prediction, threshold=decision_threshold
        ).interval()
        for name in part.asked.slice_metrics
    }
    weak, reason = _judge(part, metrics[part.primary_metric.name], overall)
    return Slice(
        by=by,
        group=group,
        rows=part.rows,
        webcams=part.webcams,
        effective_webcams=part.effective_webcams,
        positives=int(part.positive.sum()),
        mean_target=round(float(part.target.mean()), 6),
        mean_prediction=round(float(part.prediction.mean()), 6),
        metrics=metrics,
        weak=weak,
        reason=reason,
    )


def _judge(part: SplitRows, primary: Interval, overall: Interval) -> tuple[bool | None, str]:
    metric = part.primary_metric
    if part.rows < MIN_ROWS:
        return None, f"{part.rows} rows, too few to judge ({MIN_ROWS} are needed)"
    if primary.low is None or primary.high is None or overall.value is None:
        return None, primary.reason or overall.reason or "no interval"
    margin = part.asked.slice_margin
    if metric.higher_is_better:
        limit = overall.value - margin
        best, weak = primary.high, primary.high < limit
    else:
        limit = overall.value + margin
        best, weak = primary.low, primary.low > limit
    return weak, (
        f"at best {metric.name} {best:.3f}, {'worse than' if weak else 'not worse than'} {limit:.3f}"
    )
