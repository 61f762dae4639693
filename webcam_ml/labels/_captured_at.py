"""Time stamps as databases write them, brought to one format."""

import polars as pl

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


def _offset() -> pl.Expr:
    hours = pl.col("hours").cast(pl.Int64).fill_null(0)
    minutes = pl.col("minutes").cast(pl.Int64).fill_null(0)
    forward = pl.duration(hours=hours, minutes=minutes)
    return pl.when(pl.col("sign") == "-").then(-forward).otherwise(forward)


def _fraction() -> pl.Expr:
    digits = pl.col("fraction").str.strip_chars_end("0").fill_null("")
    return pl.when(digits == "").then(pl.lit("")).otherwise("." + digits)
