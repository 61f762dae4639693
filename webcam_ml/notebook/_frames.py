"""From the tables of the store to pandas: the only module that imports it."""

import pandas as pd
import polars as pl


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """Bring a stored table to pandas.

    Args:
        frame: Columns of Int64, Float64 or String.

    Returns:
        The same columns and rows. Whole numbers are int64, Int64 where one is missing; others
        float64; texts str. The column captured_at holds times in UTC.
    """
    return pd.DataFrame({series.name: _column(series) for series in frame.iter_columns()})


def _column(series: pl.Series) -> pd.Series:
    if series.name == "captured_at":
        # Written as ISO 8601 in UTC, with and without fractions of a second.
        return pd.to_datetime(pd.Series(series.to_list(), dtype="str"), utc=True, format="ISO8601")
    if series.dtype == pl.Int64:
        return pd.Series(series.to_list(), dtype="Int64" if series.null_count() else "int64")
    return pd.Series(series.to_list(), dtype="float64" if series.dtype == pl.Float64 else "str")
