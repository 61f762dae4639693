"""The two CSV files, for spreadsheets and for whoever rates again."""

import polars as pl

from webcam_ml.disagreement._document import ReportRow

QUEUE_SCHEMA: dict[str, type[pl.DataType]] = {
    "position": pl.Int64,
    "snapshot_id": pl.Int64,
    "webcam_id": pl.Int64,
    "webcam_title": pl.String,
    "phase": pl.String,
    "captured_at": pl.String,
    "split": pl.String,
    "prediction_kind": pl.String,
    "human_rating": pl.Float64,
    "rating_count": pl.Int64,
    "ai_rating": pl.Float64,
    "expected_rating": pl.Float64,
    "direction": pl.String,
    "expected_correction": pl.Float64,
    "abs_diff": pl.Float64,
    "priority": pl.Float64,
    "image_path_or_url": pl.String,
}

# What makes a spreadsheet read a cell as a formula, full-width forms included (OWASP, "CSV
# Injection"); a leading apostrophe makes it text.
_FORMULA = r"^([=+\-@\t\r\n＝＋－＠])"


def relabel_queue(ranked: pl.DataFrame, *, by: str, limit: int) -> pl.DataFrame:
    """Put the labels to rate again in an order that does not dwell on one camera.

    Frames of one camera resemble each other and so do their errors: the second row of one
    counts half of its rank, the third a third, and so on. Rows without a picture cannot be rated
    again and are left out, as are those that would not move.

    Args:
        ranked: All compared rows, worst first, with the column ``by``.
        by: What worst means.
        limit: How many rows at most.

    Returns:
        The columns of `QUEUE_SCHEMA`, in order; text is safe for spreadsheets.
    """
    earlier = pl.col("snapshot_id").cum_count().over("camera_id")
    return (
        ranked.filter(pl.col("sha256").is_not_null() & (pl.col(by) > 0))
        .with_columns(priority=(pl.col(by) / earlier).round(6))
        .sort("priority", descending=True, maintain_order=True)
        .head(limit)
        .with_row_index("position", offset=1)
        .select(pl.col(column).cast(kind) for column, kind in QUEUE_SCHEMA.items())
        .with_columns(_without_formulas())
    )


def report_csv(rows: list[ReportRow]) -> bytes:
    """Serialise the listed rows for a spreadsheet."""
    schema = {
        name: _column_type(field.annotation) for name, field in ReportRow.model_fields.items()
    }
    frame = pl.DataFrame([row.model_dump() for row in rows], schema=schema, orient="row")
    return to_csv(frame.with_columns(_without_formulas()))


def to_csv(frame: pl.DataFrame) -> bytes:
    """Serialise with every text quoted, so that commas and line breaks stay inside their cell."""
    return frame.write_csv(line_terminator="\n", quote_style="non_numeric").encode()


def _column_type(annotation: object) -> type[pl.DataType]:
    if annotation is int:
        return pl.Int64
    return pl.Float64 if annotation is float else pl.String


def _without_formulas() -> pl.Expr:
    return pl.col(pl.String).str.replace(_FORMULA, "'${1}")
