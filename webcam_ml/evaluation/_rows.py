"""The rows of one split, checked and as arrays on the metric's own scale."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import (
    DETAILS_TABLE,
    MANIFEST_TABLE,
    RATING_SCALE,
    STAR_COLUMNS,
    Target,
    TargetType,
    target_of,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.metrics import (
    METRICS,
    FloatArray,
    Metric,
    WebcamBootstrap,
    effective_webcams,
)

# Column → what its slices are called.
SLICED_COLUMNS = {
    column.name: column.sliced_as
    for table in (MANIFEST_TABLE, DETAILS_TABLE)
    for column in table.columns
    if column.sliced_as is not None
}
COLUMNS = (
    "snapshot_id", "webcam_id", "split", "captured_at", "target_label", "label_value",
    "raw_score", "channel_means_score", "uncalibrated_score", *SLICED_COLUMNS, *STAR_COLUMNS,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Rows of one split, ordered by snapshot_id.

    Attributes:
        frame: The rows with the columns of ``COLUMNS``.
        target_type: What the targets are.
        bootstrap_samples: Resamples of the webcams for every interval.
        random_state: Seed of all of them.
    """

    frame: pl.DataFrame
    target_type: TargetType
    bootstrap_samples: int
    random_state: int

    @property
    def asked(self) -> Target:
        """What the model is asked."""
        return target_of(self.target_type)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics, in the order of reports."""
        return tuple(METRICS[name] for name in self.asked.metrics)

    @cached_property
    def target(self) -> FloatArray:
        """[rows] 0 or 1 (binary), 1–5 stars (regression)."""
        return self._floats("target_label")

    @cached_property
    def prediction(self) -> FloatArray:
        """[rows] the model's prediction, on the scale of the targets."""
        return self.asked.prediction(self._floats("raw_score"))

    @cached_property
    def channel_means(self) -> FloatArray | None:
        """[rows] the channel-mean baseline's prediction, or None if no pictures were at hand."""
        return self._prediction_if_any("channel_means_score")

    @cached_property
    def uncalibrated(self) -> FloatArray | None:
        """[rows] the score before calibration, or None if there is none."""
        return self._prediction_if_any("uncalibrated_score")

    @cached_property
    def label_value(self) -> FloatArray:
        """[rows] the rating, 1 to 5."""
        return self._floats("label_value")

    @cached_property
    def webcam_id(self) -> NDArray[np.int64]:
        """[rows] the webcam."""
        return self.frame["webcam_id"].cast(pl.Int64).to_numpy()

    @cached_property
    def positive(self) -> NDArray[np.bool_]:
        """[rows] the positive class, or for regression the upper half of the scale."""
        return self.target >= self.asked.positive_label

    @cached_property
    def bootstrap(self) -> WebcamBootstrap:
        """The resamples of these rows' webcams."""
        return WebcamBootstrap(
            self.webcam_id,
            bootstrap_samples=self.bootstrap_samples,
            random_state=self.random_state,
        )

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.frame.height

    @property
    def webcams(self) -> int:
        """From how many webcams."""
        return int(self.frame["webcam_id"].n_unique())

    @property
    def effective_webcams(self) -> float:
        """To how many webcams of equal size the rows amount, to two decimals."""
        return round(effective_webcams(self.webcam_id), 2)

    @property
    def webcams_with_a_positive(self) -> int:
        """How many webcams have at least one positive row."""
        return len(np.unique(self.webcam_id[self.positive]))

    @property
    def primary_metric(self) -> Metric:
        """The metric that gates compare."""
        return METRICS[self.asked.primary_metric]

    def where(self, mask: NDArray[np.bool_]) -> "SplitRows":
        """Keep some rows, for a slice; its webcams are resampled by themselves."""
        return SplitRows(
            self.frame.filter(pl.Series(mask)),
            self.target_type,
            self.bootstrap_samples,
            self.random_state,
        )

    def _prediction_if_any(self, column: str) -> FloatArray | None:
        if self.frame[column].null_count() == self.rows:
            return None
        return self.asked.prediction(self._floats(column))

    def _floats(self, column: str) -> FloatArray:
        return self.frame[column].cast(pl.Float64).to_numpy()


def split_rows(
    predictions: pl.DataFrame,
    split: str,
    *,
    target_type: TargetType,
    left_out: dict[str, int],
    bootstrap_samples: int,
    random_state: int,
) -> SplitRows:
    """Take one split out of the predictions and refuse what cannot be measured.

    Raises:
        WebcamMLError: The split has no rows, or values that are missing, not finite or off scale.
        ValueError: A column is missing.
    """
    missing = [column for column in COLUMNS if column not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {', '.join(missing)}")
    frame = predictions.filter(pl.col("split") == split).select(COLUMNS).sort("snapshot_id")
    if frame.is_empty():
        gone = ", ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items()))
        raise WebcamMLError(
            f"the {split} split has no row to evaluate (left out: {gone or 'none'}). Rate more "
            "webcams, or give the split a larger percentage in the config of manifest_full."
        )
    on_scale = {
        "target_label": target_of(target_type).scale,
        "label_value": RATING_SCALE,
        "raw_score": (0.0, 1.0),
        **dict.fromkeys(STAR_COLUMNS, (0.0, float("inf"))),
    }
    for column in ("channel_means_score", "uncalibrated_score"):
        if frame[column].null_count() < frame.height:
            on_scale[column] = (0.0, 1.0)
    for column, (low, high) in on_scale.items():
        value = pl.col(column).cast(pl.Float64)
        good = (value.is_finite() & value.is_between(low, high)).fill_null(False)
        _refuse(frame.filter(~good), column, f"not a number from {low:g} to {high:g}", split, frame)
    if target_of(target_type).has_classes:
        class_label = pl.col("target_label").cast(pl.Float64).is_in([0.0, 1.0])
        _refuse(frame.filter(~class_label), "target_label", "neither 0 nor 1", split, frame)
    return SplitRows(frame, target_type, bootstrap_samples, random_state)


def _refuse(bad: pl.DataFrame, column: str, what: str, split: str, frame: pl.DataFrame) -> None:
    if bad.is_empty():
        return
    first = bad.row(0, named=True)
    raise WebcamMLError(
        f"{bad.height} of {frame.height} {split} rows have a {column} that is {what}, first of all "
        f"snapshot {first['snapshot_id']} with {first[column]}. Manifests and checkpoint may not "
        "belong together: materialize manifest_full and checkpoint anew, and look at that snapshot."
    )
