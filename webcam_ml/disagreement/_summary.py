"""The differences over all compared rows, whole and by phase, split, star and webcam."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from webcam_ml.contracts import STARS
from webcam_ml.disagreement._document import Group, Summary, WebcamGroup
from webcam_ml.disagreement._rows import SPLITS
from webcam_ml.disagreement._settings import DisagreementSettings
from webcam_ml.metrics import Interval, paired_difference, webcam_interval

CONFIDENCE = 0.95
INTERVAL_METHOD = (
    "bootstrap over webcams: standard error × √(k/(k−1)) × Student t with k−1 degrees of freedom, k "
    "effective webcams; on the log scale for mean_abs_diff"
)
UNKNOWN_PHASE = "unknown"


def summarise(frame: pl.DataFrame, settings: DisagreementSettings) -> Summary:
    """Measure the mean differences of all rows and of each part of them.

    Args:
        frame: [rows] with differences and ``is_near_threshold`` (all null where nothing is decided).
        settings: Of the intervals.

    Returns:
        Groups that together hold each row once in each of phase, split, star and webcam.
    """
    phase = frame["phase"].fill_null(UNKNOWN_PHASE)
    phases = sorted(set(phase.to_list()), key=lambda name: (name == UNKNOWN_PHASE, name))
    return Summary(
        all=_group("all", frame, settings),
        phase=_groups(frame, phase, phases, settings),
        split=_groups(frame, frame["split"], SPLITS, settings),
        star=_groups(frame, frame["star"], STARS, settings),
        webcam=_webcams(frame),
    )


def _groups(
    frame: pl.DataFrame,
    column: pl.Series,
    values: Sequence[str] | Sequence[int],
    settings: DisagreementSettings,
) -> list[Group]:
    parts = ((str(value), frame.filter(column == value)) for value in values)
    return [_group(name, part, settings) for name, part in parts if part.height]


def _group(name: str, part: pl.DataFrame, settings: DisagreementSettings) -> Group:
    people, model = part["human_rating"].to_numpy(), part["ai_rating"].to_numpy()
    camera_id = part["camera_id"].to_numpy()
    absolute = webcam_interval(
        "mae",
        people,
        model,
        webcam_id=camera_id,
        confidence=CONFIDENCE,
        bootstrap_samples=settings.bootstrap_samples,
        random_state=settings.random_state,
    )
    # Measured against 0 stars the mean error is the mean rating, so this is the difference of the
    # two mean ratings, on the identity scale and paired by webcam.
    signed = paired_difference(
        "mae",
        np.zeros(part.height),
        model,
        people,
        webcam_id=camera_id,
        bootstrap_samples=settings.bootstrap_samples,
        random_state=settings.random_state,
    )
    return Group(
        group=name,
        count=part.height,
        webcams=part["webcam_id"].n_unique(),
        mean_abs_diff=absolute,
        mean_signed_diff=signed.interval(CONFIDENCE),
        near_threshold=_near(part["is_near_threshold"]),
    )


def _webcams(frame: pl.DataFrame) -> list[WebcamGroup]:
    by_webcam = (
        frame.group_by("webcam_id")
        .agg(
            pl.col("webcam_title").drop_nulls().first(),
            pl.len().alias("count"),
            pl.col("abs_diff", "signed_diff").mean().round(6) + 0.0,
            pl.col("is_near_threshold").sum().alias("near"),
            pl.col("is_near_threshold").count().alias("decided"),
        )
        .sort("count", "webcam_id", descending=[True, False])
    )
    return [
        WebcamGroup(
            webcam_id=row["webcam_id"],
            webcam_title=row["webcam_title"],
            count=row["count"],
            mean_abs_diff=_without_bounds(row["abs_diff"]),
            mean_signed_diff=_without_bounds(row["signed_diff"]),
            near_threshold=row["near"] if row["decided"] else None,
        )
        for row in by_webcam.iter_rows(named=True)
    ]


def _without_bounds(value: float) -> Interval:
    return Interval(value=value, low=None, high=None)


def _near(flags: pl.Series) -> int | None:
    return int(flags.sum()) if flags.count() else None
