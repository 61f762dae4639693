"""What must hold of the rows that are read: keys that are unique, ratings that are on the scale.

Tables without keys, an import that ran twice and views that join give rows that the schema of the
application does not permit. Counted, they would give wrong numbers without notice.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import HIGHEST_RATING, LOWEST_RATING, STARS
from webcam_ml.labels._database import LabelDatabaseError


def require_key(
    connection: sa.Connection,
    columns: Sequence[sa.ColumnClause[Any]],
    *,
    among: sa.ColumnElement[bool] | None = None,
    consequence: str,
) -> None:
    """Check that columns tell the rows of their table apart, and that the first is never NULL.

    Args:
        connection: Inside the transaction in which the rows are read.
        columns: The key; all of one table.
        among: Which rows matter; all by default.
        consequence: What rows that come twice would do; begins with a capital, ends without a full
            stop.

    Raises:
        LabelDatabaseError: It does not hold; the message says of which table, which id, how many.
    """
    first = columns[0]
    table = first.table
    assert isinstance(table, sa.TableClause)
    name = table.name
    rows = sa.true() if among is None else among
    require_given(connection, first, among=rows, meaning="which row is which")
    repeated = (
        sa.select(*columns, sa.func.count().label("times"))
        .where(rows)
        .group_by(*columns)
        .having(sa.func.count() > 1)
    )
    inner = repeated.subquery()
    keys, found = connection.execute(
        sa.select(sa.func.count(), sa.func.sum(inner.c.times)).select_from(inner)
    ).one()
    if not keys:
        return
    *example, times = connection.execute(repeated.order_by(*columns).limit(1)).one()
    shown = ", ".join(
        f"{column.name} {value!r}" for column, value in zip(columns, example, strict=True)
    )
    what = " and ".join(column.name for column in columns)
    raise LabelDatabaseError(
        f"Table {name}: {keys:,} values of {what} stand in more than one row, {int(found):,} rows in "
        f"all; {shown} stands in {times:,}. {consequence}, so nothing was read. Has an import run "
        "twice, or does a view join another table? Delete the rows that are too many and declare "
        f"UNIQUE ({', '.join(column.name for column in columns)}), or let the view give each row "
        "once."
    )


def require_given(
    connection: sa.Connection,
    column: sa.ColumnClause[Any],
    *,
    among: sa.ColumnElement[bool] | None = None,
    meaning: str,
) -> None:
    """Check that a column is never NULL.

    Args:
        connection: Inside the transaction in which the rows are read.
        column: Which one.
        among: Which rows matter; all by default.
        meaning: What the column says.

    Raises:
        LabelDatabaseError: It is NULL somewhere; the message says in how many rows.
    """
    table = column.table
    assert isinstance(table, sa.TableClause)
    rows = sa.true() if among is None else among
    without = connection.scalar(
        sa.select(sa.func.count()).select_from(table).where(rows, column.is_(None))
    )
    if without:
        raise LabelDatabaseError(
            f"Table {table.name}: {column.name} is NULL in {_rows(without)}, and nothing was read. It "
            f"says {meaning}: delete those rows, or give each its {column.name}."
        )


def require_yes_or_no(connection: sa.Connection, column: sa.ColumnClause[Any]) -> None:
    """Check that a column says true, false or NULL; SQLite keeps anything else there, too.

    Raises:
        LabelDatabaseError: It does not; the message says in how many rows, and what one says.
    """
    table = column.table
    assert isinstance(table, sa.TableClause)
    strange = (
        # As text: SQLAlchemy would take the value for a yes or no, and PostgreSQL has no least one.
        sa.select(sa.cast(column, sa.Text).label("value"))
        .where(column.is_not(None), column.is_not(sa.true()), column.is_not(sa.false()))
        .subquery()
    )
    number, example = connection.execute(
        sa.select(sa.func.count(), sa.func.min(strange.c.value))
    ).one()
    if number:
        raise LabelDatabaseError(
            f"Table {table.name}: {column.name} is neither true nor false nor NULL in "
            f"{_rows(number)}, for example {example!r}. Nothing was read. Store 1 for yes and 0 for "
            "no there, and NULL where nobody said."
        )


def require_stars(ratings: pl.DataFrame, *, table: str) -> None:
    """Check that every rating is a whole number of stars.

    Args:
        ratings: snapshot_id and rating of each.
        table: Where they come from.

    Raises:
        LabelDatabaseError: One is not; it is named, with its row.
    """
    # `is_in` is false for NaN, so that is found too.
    off = ratings.filter(~pl.col("rating").is_in([float(stars) for stars in STARS]))
    if off.is_empty():
        return
    snapshot_id, value = off.sort("snapshot_id").select("snapshot_id", "rating").row(0)
    low, high = off.select(pl.col("rating").min(), high=pl.col("rating").max()).row(0)
    raise LabelDatabaseError(
        f"Table {table}: rating is {value:g} in a row of snapshot_id {snapshot_id}; that is no "
        f"whole number of stars from 1 to 5. So it is in {off.height:,} of {ratings.height:,} rows, "
        f"where it runs from {low:g} to {high:g}. Nothing was read. Mend those rows (NULL where "
        "nobody gave stars); if the application rates on another scale, let a view named "
        f"{table} turn it into 1 to 5."
    )


def require_averages_on_scale(labelled: pl.DataFrame, *, table: str, column: str) -> None:
    """Check labels that are the application's averages.

    Args:
        labelled: snapshot_id and label_value of each.
        table: The table that they come from.
        column: The column that they come from.

    Raises:
        LabelDatabaseError: One is off the scale of 1 to 5; it is named, with its row.
    """
    off = labelled.filter(~pl.col("label_value").is_between(LOWEST_RATING, HIGHEST_RATING))
    if off.is_empty():
        return
    snapshot_id, value = off.sort("snapshot_id").select("snapshot_id", "label_value").row(0)
    low, high = off.select(pl.col("label_value").min(), high=pl.col("label_value").max()).row(0)
    raise LabelDatabaseError(
        f"Table {table}: {column} is {value:g} at id {snapshot_id}, off the scale of 1 to 5 stars. So "
        f"it is in {off.height:,} of {labelled.height:,} rows, where it runs from {low:g} to "
        f"{high:g}. Nothing was read. Mend {column} in the database (NULL where there is no average), "
        "or let the rating rows decide with label_source: public_aggregate."
    )


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
