"""Time stamps as databases write them, brought to one format."""

import polars as pl

from webcam_ml.labels._database import LabelDatabaseError
from webcam_ml.labels._strict import shown

# After "2026-02-12 10:15:00": a fraction and an offset from UTC, both optional.
TAIL = r"^(?:\.(?<fraction>\d+))? ?(?:[Zz]|(?<sign>[+-])(?<hours>\d{2})(?::?(?<minutes>\d{2}))?)?$"
SECONDS_END = 19


def utc_text(texts: pl.Series) -> pl.Series:
    """Write time stamps as ISO 8601 in UTC, like `2026-02-12T10:15:00Z`.

    Without an offset a time stamp is in UTC already. A fraction of a second stays only where it is
    not zero. What is not a time stamp becomes null, like null itself.

    Args:
        texts: ISO 8601 with a blank or a T between date and time, as PostgreSQL and SQLite have it.
    """
    stripped = texts.str.strip_chars()
    moment = (
        stripped.str.head(SECONDS_END)
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    )
    tail = stripped.str.slice(SECONDS_END)
    if tail.is_in(["", "Z"]).all():
        return moment.dt.to_string("%Y-%m-%dT%H:%M:%SZ")
    parts = tail.str.extract_groups(TAIL).struct.unnest()
    return (
        pl.DataFrame({"moment": moment, "tail": tail})
        .hstack(parts)
        .select(
            pl.when(pl.col("tail").str.contains(TAIL)).then(
                (pl.col("moment") - _offset()).dt.to_string("%Y-%m-%dT%H:%M:%S") + _fraction() + "Z"
            )
        )
        .to_series()
    )


def with_utc_text(rows: pl.DataFrame, *, table: str) -> pl.DataFrame:
    """Bring the time stamps of rows to one format.

    Args:
        rows: With `snapshot_id` and `captured_at`, as the database has it.
        table: Where they come from.

    Raises:
        LabelDatabaseError: One is no time stamp; it is named, with its row.
    """
    captured_at = utc_text(rows["captured_at"])
    unreadable = rows.filter(captured_at.is_null() & rows["captured_at"].is_not_null())
    if unreadable.height:
        snapshot_id, text = unreadable.select("snapshot_id", "captured_at").row(0)
        raise LabelDatabaseError(
            f"Table {table}: captured_at is no time stamp in {unreadable.height:,} of the "
            f"rows; at id {snapshot_id} it is {shown(text)}. Write it like 2026-02-12 10:15:00, "
            "in UTC, or leave it NULL."
        )
    return rows.with_columns(captured_at=captured_at)


def _offset() -> pl.Expr:
    hours = pl.col("hours").cast(pl.Int64).fill_null(0)
    minutes = pl.col("minutes").cast(pl.Int64).fill_null(0)
    forward = pl.duration(hours=hours, minutes=minutes)
    return pl.when(pl.col("sign") == "-").then(-forward).otherwise(forward)


def _fraction() -> pl.Expr:
    digits = pl.col("fraction").str.strip_chars_end("0").fill_null("")
    return pl.when(digits == "").then(pl.lit("")).otherwise("." + digits)
