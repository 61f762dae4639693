"""Predictions of a made-up model on made-up webcams, in the shape that eval_report takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from webcam_ml.contracts import TargetType
from webcam_ml.evaluation import EvalReport, build_eval_report
from webcam_ml.evaluation._measure import measure_splits
from webcam_ml.evaluation._rows import SLICED_COLUMNS, split_rows

# Like the demo's test split: a few busy cameras and many with a handful of pictures.
SIZES = (40, 25, 12, 10, 8, 6, *([3] * 20))
WITHIN_WEBCAM = 0.34
STAR_CUTS = stats.norm.ppf([0.62, 0.72, 0.80, 0.91])


def predictions(
    target_type: TargetType = "binary", *, sizes: Sequence[int] = SIZES, seed: int = 0
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for split, first_webcam, first_snapshot in (("val", 1_000, 1), ("test", 9_000, 100_001)):
        code = np.repeat(np.arange(len(sizes)), sizes)
        rows = len(code)

        def clustered(code=code, rows=rows):
            of_webcam = rng.normal(size=len(sizes))[code]
            return np.sqrt(WITHIN_WEBCAM) * of_webcam + np.sqrt(1 - WITHIN_WEBCAM) * rng.normal(
                size=rows
            )

        beauty = clustered()
        counts = np.zeros((rows, 5), dtype=np.int64)
        for row, raters in enumerate(1 + rng.poisson(0.5, rows)):
            seen = beauty[row] + 0.35 * rng.normal(size=raters)
            np.add.at(counts[row], np.searchsorted(STAR_CUTS, seen), 1)
        rating = counts @ np.arange(1, 6) / counts.sum(axis=1)
        noticed = 0.8 * beauty + 0.45 * clustered()
        colour = 0.45 * beauty + 0.9 * rng.normal(size=rows)
        if target_type == "binary":
            target = (rating >= 4.0).astype(np.float64)
            score = stats.norm.cdf((noticed - 0.75) / 0.5)
            colour_score = stats.norm.cdf((colour - 0.95) / 0.9)
            uncalibrated = stats.norm.cdf((noticed - 0.3) / 0.3)
        else:
            target = rating
            score = np.clip((0.9 + 1.2 * noticed) / 4, 0, 1)
            colour_score = np.clip((0.9 + 0.5 * colour) / 4, 0, 1)
            uncalibrated = None
        parts.append(
            pl.DataFrame(
                {
                    "snapshot_id": np.arange(first_snapshot, first_snapshot + rows),
                    "webcam_id": first_webcam + 17 * code,
                    **dict.fromkeys(SLICED_COLUMNS, "one"),
                    "split": split,
                    "phase": np.where(rng.random(rows) < 0.5, "sunrise", "sunset"),
                    "captured_at": [
                        f"2026-0{month}-03T16:20:00" for month in rng.integers(1, 4, rows)
                    ],
                    "target_label": target,
                    "label_value": rating,
                    "rating_count": counts.sum(axis=1),
                    "raw_score": score,
                    "channel_means_score": colour_score,
                    "uncalibrated_score": pl.Series(
                        uncalibrated if uncalibrated is not None else [None] * rows,
                        dtype=pl.Float64,
                    ),
                    "webcam_source": np.where(code % 5 == 0, "custom", "windy"),
                    **{f"stars_{star}": counts[:, star - 1] for star in range(1, 6)},
                }
            )
        )
    return pl.concat(parts)


def arguments(target_type: TargetType, frame: pl.DataFrame, **changes: Any) -> dict[str, Any]:
    """What `build_eval_report` takes beside the frame."""
    binary = target_type == "binary"
    return {
        "target_type": target_type,
        "decision_threshold": 0.35 if binary else None,
        "binary_threshold": 4.0 if binary else None,
        "baselines": {"prior": 0.2} if binary else {"median": 1.0, "mean": 1.9},
        "test_manifest_sha256": "a" * 64,
        "left_out": {"val": {}, "test": {"image missing": 2}},
        "webcam_label_counts": dict(frame.group_by("webcam_id").len().iter_rows()),
        "checkpoint": "0123456789ab",
        "bootstrap_samples": 200,
        "random_state": 5,
        **changes,
    }


def full_report(
    target_type: TargetType = "binary", frame: pl.DataFrame | None = None, **changes: Any
) -> EvalReport:
    frame = predictions(target_type) if frame is None else frame
    return build_eval_report(frame, **arguments(target_type, frame, **changes))


def report(
    target_type: TargetType = "binary", frame: pl.DataFrame | None = None, **changes: Any
) -> EvalReport:
    """A report without plots, which take most of the time."""
    frame = predictions(target_type) if frame is None else frame
    given = arguments(target_type, frame, **changes)
    del given["target_type"]
    resampling = {name: given.pop(name) for name in ("bootstrap_samples", "random_state")}
    rows = [
        split_rows(frame, split, target_type=target_type, left_out={}, **resampling)
        for split in ("val", "test")
    ]
    return EvalReport(document=measure_splits(*rows, **given), plots={})
