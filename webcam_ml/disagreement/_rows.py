"""The compared rows: what they must look like, and the columns that follow from them.

Nothing here looks at all rows together; what does is in `_ranking` and `_summary`.
"""

from collections.abc import Mapping

import polars as pl

from webcam_ml.contracts import DETAILS_TABLE, MANIFEST_TABLE, STARS, rating_of
from webcam_ml.errors import WebcamMLError

SPLITS = ("train", "val", "test")
PREDICTION_KINDS = (
    "out_of_fold",
    "out_of_fold_probe",
    "model",
    "recorded",
    "recorded_known_webcam",
)
RECORDED_KINDS = frozenset({"recorded", "recorded_known_webcam"})

SCHEMA: Mapping[str, type[pl.DataType]] = {
    **MANIFEST_TABLE.schema_of(
        (
            "snapshot_id",
            "webcam_id",
            "split",
            "phase",
            "captured_at",
            "label_value",
            "rating_count",
            "image_path_or_url",
        )
    ),
    **DETAILS_TABLE.schema,
    "camera_id": pl.Int64,
    "sha256": pl.String,
    "raw_score": pl.Float64,
    "prediction_kind": pl.String,
}


def checked_rows(rows: pl.DataFrame, *, left_out: Mapping[str, int]) -> pl.DataFrame:
    """Take the known columns, ordered by snapshot_id, and refuse what cannot be compared.

    Args:
        rows: The columns of `build_disagreement_report`; others are dropped.
        left_out: Rows that had no prediction, by reason; only for the message.

    Raises:
        WebcamMLError: There are no rows, or ratings or scores off their scale.
        ValueError: A column is missing, a snapshot appears twice, a split or kind of prediction is
            unknown, kinds are mixed that never may be, or a train row is predicted in-sample.
    """
    missing = [column for column in SCHEMA if column not in rows.columns]
    if missing:
        raise ValueError(f"rows to compare lack the columns {', '.join(missing)}")
    if rows.is_empty():
        gone = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(left_out.items()))
        raise WebcamMLError(
            "there is no picture with both a rating and a prediction, so nothing can be compared "
            f"(left out: {gone or 'none'}). Mend what was left out, or materialize checkpoint and "
            "onnx_model for the present manifest"
        )
    frame = rows.select(pl.col(column).cast(kind) for column, kind in SCHEMA.items())
    frame = frame.sort("snapshot_id")
    if frame["snapshot_id"].n_unique() != frame.height:
        raise ValueError("a snapshot appears more than once among the rows to compare")
    _require_between(frame, "label_value", 1.0, 5.0, "labels_raw")
    _require_between(frame, "raw_score", 0.0, 1.0, "onnx_model")
    _require_between(frame, "rating_count", 1, float("inf"), "labels_raw")
    for column, allowed in (("split", SPLITS), ("prediction_kind", PREDICTION_KINDS)):
        unknown = set(frame[column].unique().to_list()) - set(allowed)
        if unknown:
            raise ValueError(f"{column} must be one of {', '.join(allowed)}, got {unknown}")
    kinds = set(frame["prediction_kind"].unique().to_list())
    if kinds & RECORDED_KINDS and kinds - RECORDED_KINDS:
        raise ValueError("recorded predictions are never compared together with others")
    in_sample = frame.filter((pl.col("split") == "train") & (pl.col("prediction_kind") == "model"))
    if in_sample.height:
        raise ValueError(
            f"{in_sample.height} train rows are predicted by the model that was trained on them, "
            "which would hide their wrong labels; out-of-fold predictions are needed"
        )
    return frame


def with_differences(frame: pl.DataFrame) -> pl.DataFrame:
    """Add human_rating, ai_rating, signed_diff, abs_diff, direction and star.

    Args:
        frame: Checked rows.

    Returns:
        The rows with ``ai_rating`` = 1 + 4 · raw_score to two decimals, as the runtime gives it,
        ``signed_diff`` = ai_rating − human_rating, positive where the model is higher, ``direction``
        (null where both are equal), and ``star``, the human rating in whole stars, halves up.
    """
    ai_rating = pl.Series("ai_rating", rating_of(frame["raw_score"].to_numpy()).round(2))
    return (
        frame.with_columns(
            ai_rating,
            human_rating=pl.col("label_value").round(6),
            star=(pl.col("label_value") + 0.5).floor().cast(pl.Int64).clip(STARS[0], STARS[-1]),
        )
        .with_columns(signed_diff=(pl.col("ai_rating") - pl.col("human_rating")).round(6) + 0.0)
        .with_columns(
            abs_diff=pl.col("signed_diff").abs(),
            direction=pl.when(pl.col("signed_diff") > 0)
            .then(pl.lit("model_high"))
            .when(pl.col("signed_diff") < 0)
            .then(pl.lit("model_low")),
        )
    )


def _require_between(
    frame: pl.DataFrame, column: str, low: float, high: float, made_by: str
) -> None:
    off = frame.filter(~pl.col(column).is_between(low, high).fill_null(False))
    if off.height:
        first = off.row(0, named=True)
        raise WebcamMLError(
            f"{off.height:,} of {frame.height:,} compared rows have a {column} outside {low:g} to "
            f"{high:g} or none at all, first of all snapshot {first['snapshot_id']} with "
            f"{first[column]}. Materialize {made_by} anew; if it says the same, mend that snapshot"
        )
