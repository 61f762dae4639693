"""From a statement to a data frame, block by block, the quickest way that each driver has.

Either way only one block at a time is held as text or Python objects, and the rest as columns. What
a statement asks belongs in `_read`.
"""

import math
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import psycopg2.extensions
import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabaseError
from webcam_ml.progress import track

Schema = Mapping[str, type[pl.DataType]]

# COPY sends text that polars parses by itself: large blocks. On a million rows it takes a third of
# the time of a server-side cursor, and one round trip instead of one a block.
COPY_BLOCK_ROWS = 50_000
# SQLite's rows become Python tuples: few enough at once that they die before the garbage collector
# looks at them (its threshold is 700); blocks of 5,000 take half as long again.
TUPLE_BLOCK_ROWS = 500

PYTHON_TYPES: Mapping[type[pl.DataType], type] = {
    pl.Int64: int,
    pl.Float64: float,
    pl.String: str,
}


def fetch(
    connection: sa.Connection, statement: sa.Select[Any], schema: Schema, *, total: int, what: str
) -> pl.DataFrame:
    """Run a statement and return its rows.

    Args:
        connection: An open connection to PostgreSQL (psycopg2) or SQLite.
        statement: What to select.
        schema: Names and types of the selected columns, in their order: Int64, Float64 or String.
        total: About how many rows there will be, for the progress that is shown.
        what: What the rows are, in a word or two.

    Raises:
        LabelDatabaseError: A value does not fit the type of its column.
    """
    compiled = statement.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        rows = driver.execute(str(compiled), compiled.params)
        frames = _in_blocks(rows, schema, total=total, what=what)
    else:
        assert isinstance(driver, psycopg2.extensions.connection)
        frames = _copy(driver, str(compiled), compiled.params, schema, total=total, what=what)
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _copy(
    driver: psycopg2.extensions.connection,
    statement: str,
    parameters: Mapping[str, object],
    schema: Schema,
    *,
    total: int,
    what: str,
) -> list[pl.DataFrame]:
    blocks = math.ceil(total / COPY_BLOCK_ROWS)
    ticks = track(
        range(blocks),
        total=blocks,
        what=f"reading {what}",
        unit=f"blocks of {COPY_BLOCK_ROWS:,} rows",
    )
    parser = _CsvParser(schema, ticks, table=what)
    with driver.cursor() as cursor:
        query = cursor.mogrify(statement, parameters).decode()
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)", parser)
    parser.finish_block()
    return parser.frames


class _CsvParser:
    """What COPY writes to: it comes one whole row a call (libpq's promise), whatever is quoted."""

    def __init__(self, schema: Schema, ticks: Iterator[int], *, table: str) -> None:
        self.frames: list[pl.DataFrame] = []
        self._schema = schema
        self._ticks = ticks
        self._table = table
        self._rows: list[bytes] = []

    def write(self, row: bytes) -> None:
        self._rows.append(row)
        if len(self._rows) == COPY_BLOCK_ROWS:
            self.finish_block()

    def finish_block(self) -> None:
        if not self._rows:
            return
        text = b"".join(self._rows)
        self._rows.clear()
        try:
            frame = pl.read_csv(text, has_header=False, schema=self._schema)
        except pl.exceptions.ComputeError as error:
            reason = str(error).splitlines()[0]
            raise LabelDatabaseError(f"Table {self._table}: {reason}.") from None
        self.frames.append(frame)
        next(self._ticks, None)


def _in_blocks(
    rows: sqlite3.Cursor, schema: Schema, *, total: int, what: str
) -> list[pl.DataFrame]:
    blocks = track(
        iter(lambda: rows.fetchmany(TUPLE_BLOCK_ROWS), []),
        total=math.ceil(total / TUPLE_BLOCK_ROWS),
        what=f"reading {what}",
        unit=f"blocks of {TUPLE_BLOCK_ROWS:,} rows",
    )
    return [
        pl.DataFrame(
            [
                _column(name, values, dtype, table=what)
                for (name, dtype), values in zip(
                    schema.items(), zip(*block, strict=True), strict=True
                )
            ]
        )
        for block in blocks
    ]


def _column(
    name: str, values: tuple[object, ...], dtype: type[pl.DataType], *, table: str
) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=dtype)
    except TypeError:
        expected = PYTHON_TYPES[dtype]
    wrong = next(v for v in values if v is not None and not isinstance(v, expected))
    raise LabelDatabaseError(
        f"Table {table}: {name} holds {wrong!r}, which is no {dtype.__name__}."
    )
