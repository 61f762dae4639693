"""The two CSV files, for spreadsheets and for whoever rates again."""

import io
from dataclasses import replace

import polars as pl

from webcam_ml.contracts import RELABEL_QUEUE_TABLE, Column, Table
from webcam_ml.disagreement._asked_before import AskedBefore
from webcam_ml.disagreement._document import ReportRow, Said
from webcam_ml.labels import VOTE_KINDS

VOTE_COLUMNS = {f"votes_{kind}": kind for kind in VOTE_KINDS}


def relabel_queue(ranked: pl.DataFrame, *, by: str, limit: int, asked: AskedBefore) -> pl.DataFrame:
    """Order the labels to rate again so that no single camera fills the beginning.

    Frames of one camera resemble each other and so do their errors: the second row of one counts
    half of its value in the column ``by``, the third a third, and so on. Rows without a picture
    cannot be rated again and are left out, as are those whose value is 0 and those that an earlier
    report asked for and somebody has rated again since.

    Args:
        ranked: All compared rows, worst first, with the column ``by``.
        by: What worst means.
        limit: How many rows at most.
        asked: What earlier reports asked for.

    Returns:
        The columns of `RELABEL_QUEUE_TABLE`, in order.
    """
    earlier = pl.col("snapshot_id").cum_count().over("camera_id")
    return (
        ranked.filter(
            pl.col("sha256").is_not_null(),
            pl.col(by) > 0,
            ~pl.col("snapshot_id").is_in(list(asked.answered)),
        )
        .with_columns(
            priority=(pl.col(by) / earlier).round(6),
            asked_again_because=pl.col("snapshot_id").replace_strict(
                asked.asked_again, default=None, return_dtype=pl.String
            ),
        )
        .sort("priority", descending=True, maintain_order=True)
        .head(limit)
        .with_row_index("position", offset=1)
        .select(pl.col(name).cast(dtype) for name, dtype in RELABEL_QUEUE_TABLE.schema.items())
    )


def report_csv(rows: list[ReportRow]) -> bytes:
    """Serialise the listed rows for a spreadsheet or a notebook.

    Where judges are heard, the columns of people's votes by kind follow, and two for each judge.
    """
    told = [_told(row.said) for row in rows if row.said is not None]
    judges = sorted({name for one in told for name in one if name not in VOTE_COLUMNS})
    added = [Column(name, pl.Int64) for name in VOTE_COLUMNS] if told else []
    added += [Column(name, pl.Float64) for name in judges]
    table = replace(REPORT_TABLE, columns=(*REPORT_TABLE.columns, *added))
    plain = (row.model_dump(exclude={"said"}) for row in rows)
    frame = pl.DataFrame(
        [{**row, **said} for row, said in zip(plain, told or [{}] * len(rows), strict=True)],
        schema=table.schema,
        orient="row",
    )
    buffer = io.BytesIO()
    table.write(frame, buffer)
    return buffer.getvalue()


def _told(said: Said) -> dict[str, int | float | None]:
    """Give what was said of a row by the names of columns."""
    judges: dict[str, int | float | None] = {}
    for one in said.judges:
        judges[f"judge:{one.judge} score"] = one.score
        judges[f"judge:{one.judge} stars"] = one.stars
    return {name: said.votes.get(kind, 0) for name, kind in VOTE_COLUMNS.items()} | judges


def _column_type(annotation: object) -> type[pl.DataType]:
    if annotation is int:
        return pl.Int64
    return pl.Float64 if annotation is float else pl.String


REPORT_TABLE = Table(
    tuple(
        Column(name, _column_type(field.annotation))
        for name, field in ReportRow.model_fields.items()
        if name != "said"
    ),
    made_by="disagreement_report",
    quote_style="non_numeric",
)
