"""From a statement to a data frame, block by block, the quickest way that each driver has.

Either way only one block at a time is held as text or Python objects, and the rest as columns. What
a statement asks belongs in `_read`; which values are refused, and in what words, in `_strict`.
"""

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import psycopg2.extensions
import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabaseError
from webcam_ml.labels._strict import (
    Origin,
    first_undecodable,
    first_wrong,
    numbers_of,
    origins,
    refusal,
    undecodable,
)
from webcam_ml.printable import printable
from webcam_ml.progress import track

Schema = Mapping[str, type[pl.DataType]]

# COPY sends text that polars parses by itself: large blocks. On a million rows it takes a third of
# the time of a server-side cursor, and one round trip instead of one a block.
COPY_BLOCK_ROWS = 50_000
# SQLite's rows become Python tuples: few enough at once that they are freed before the garbage
# collector runs (its threshold is 700); blocks of 5,000 take half as long again.
TUPLE_BLOCK_ROWS = 500

# PostgreSQL's number types: bigint, smallint, integer, oid, real, double precision, numeric. Their
# values are read as numbers; values of any other type are read as text first.
NUMBER_TYPES = frozenset({20, 21, 23, 26, 700, 701, 1700})
NOT_UTF8_IN_SQLITE = "Could not decode to UTF-8"


def fetch(
    connection: sa.Connection, statement: sa.Select[Any], schema: Schema, *, total: int, what: str
) -> pl.DataFrame:
    """Run a statement and return its rows.

    Args:
        connection: An open connection to PostgreSQL (psycopg2) or SQLite.
        statement: What to select; the first column says in messages which row is meant. Numbers are
            selected as they are: a cast in the database would make a number of any text.
        schema: Names and types of the selected columns, in their order: Int64, Float64 or String.
        total: About how many rows there will be, for the progress that is shown.
        what: What the rows are, in a word or two.

    Raises:
        LabelDatabaseError: A value does not fit the type of its column, or a text is not UTF-8.
    """
    compiled = statement.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    driver = connection.connection.driver_connection
    columns = origins(statement)
    if isinstance(driver, sqlite3.Connection):
        frames = _in_blocks(
            driver, str(compiled), compiled.params, schema, columns, total=total, what=what
        )
    else:
        assert isinstance(driver, psycopg2.extensions.connection)
        frames = _copy(
            driver, str(compiled), compiled.params, schema, columns, total=total, what=what
        )
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _copy(
    driver: psycopg2.extensions.connection,
    statement: str,
    parameters: Mapping[str, object],
    schema: Schema,
    columns: Sequence[Origin],
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
    with driver.cursor() as cursor:
        query = cursor.mogrify(statement, parameters).decode()
        # What COPY sends has no types.
        cursor.execute(f"SELECT * FROM ({query}) AS typed LIMIT 0")
        assert cursor.description is not None
        types = [column.type_code for column in cursor.description]
        parser = _CsvParser(schema, types, columns, ticks)
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)", parser)
    parser.finish_block()
    return parser.frames


class _CsvParser:
    """What COPY writes to: each call gets one whole row (libpq's promise), whatever is quoted."""

    def __init__(
        self,
        schema: Schema,
        types: Sequence[int],
        columns: Sequence[Origin],
        ticks: Iterator[int],
    ) -> None:
        self.frames: list[pl.DataFrame] = []
        self._schema = schema
        self._sent: Schema = {
            name: dtype if code in NUMBER_TYPES else pl.String
            for (name, dtype), code in zip(schema.items(), types, strict=True)
        }
        self._columns = columns
        self._ticks = ticks
        self._rows: list[bytes] = []

    def write(self, row: bytes) -> None:
        self._rows.append(row)
        if len(self._rows) == COPY_BLOCK_ROWS:
            self.finish_block()

    def finish_block(self) -> None:
        if not self._rows:
            return
        text = b"".join(self._rows)
        try:
            frame = pl.read_csv(text, has_header=False, schema=self._sent)
        except pl.exceptions.ComputeError as error:
            raise self._explain(text, error) from None
        self._rows.clear()
        self.frames.append(self._typed(frame))
        next(self._ticks, None)

    def _typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Read as numbers what came as text and should be numbers."""
        for place, (name, dtype) in enumerate(self._schema.items()):
            texts = frame[name]
            if texts.dtype == dtype:
                continue
            numbers = numbers_of(texts, dtype)
            wrong = first_wrong(texts, numbers)
            if wrong is not None:
                raise refusal(
                    self._columns[place],
                    texts[wrong],
                    dtype=dtype,
                    row=self._columns[0],
                    row_id=frame[wrong, 0],
                )
            frame = frame.with_columns(numbers)
        return frame

    def _explain(self, text: bytes, error: Exception) -> LabelDatabaseError:
        """Find what polars could not read, in a block read again as nothing but text."""
        schema = dict.fromkeys(self._schema, pl.String)
        frame = pl.read_csv(text, has_header=False, schema=schema, encoding="utf8-lossy")
        row = first_undecodable(self._rows)
        if row is not None:
            cells = frame.row(row)
            place = next(i for i, cell in enumerate(cells) if cell and "\ufffd" in cell)
            return LabelDatabaseError(
                undecodable(
                    self._columns[place], cells[place], row=self._columns[0], row_id=cells[0]
                )
            )
        for place, (name, dtype) in enumerate(self._sent.items()):
            if dtype is pl.String:
                continue
            wrong = first_wrong(frame[name], frame[name].cast(dtype, strict=False))
            if wrong is not None:
                return refusal(
                    self._columns[place],
                    frame[wrong, place],
                    dtype=dtype,
                    row=self._columns[0],
                    row_id=frame[wrong, 0],
                )
        reason = printable(str(error).splitlines()[0])
        return LabelDatabaseError(f"Table {self._columns[0].table}: {reason}.")


def _in_blocks(
    driver: sqlite3.Connection,
    statement: str,
    parameters: Mapping[str, object],
    schema: Schema,
    columns: Sequence[Origin],
    *,
    total: int,
    what: str,
) -> list[pl.DataFrame]:
    rows = driver.execute(statement, parameters)
    blocks = track(
        iter(lambda: rows.fetchmany(TUPLE_BLOCK_ROWS), []),
        total=math.ceil(total / TUPLE_BLOCK_ROWS),
        what=f"reading {what}",
        unit=f"blocks of {TUPLE_BLOCK_ROWS:,} rows",
    )
    try:
        return [_frame(block, schema, columns) for block in blocks]
    except sqlite3.OperationalError as error:
        if NOT_UTF8_IN_SQLITE not in str(error):
            raise
    raise LabelDatabaseError(_undecodable_row(driver, statement, parameters, columns))


def _frame(
    block: Sequence[tuple[object, ...]], schema: Schema, columns: Sequence[Origin]
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            _column(name, values, dtype, origin=origin, rows=block, row=columns[0])
            for (name, dtype), values, origin in zip(
                schema.items(), zip(*block, strict=True), columns, strict=True
            )
        ]
    )


def _column(
    name: str,
    values: tuple[object, ...],
    dtype: type[pl.DataType],
    *,
    origin: Origin,
    rows: Sequence[tuple[object, ...]],
    row: Origin,
) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=dtype)
    except TypeError:
        pass  # Something among them is of another kind.
    fitting = int if dtype is pl.Int64 else int | float
    numbers: list[object] = []
    for place, value in enumerate(values):
        number = value
        if isinstance(value, str) and dtype is pl.Float64:
            number = numbers_of(pl.Series([value]), dtype).item()
        if value is not None and not isinstance(number, fitting):
            raise refusal(origin, value, dtype=dtype, row=row, row_id=rows[place][0])
        numbers.append(number)
    return pl.Series(name, numbers, dtype=dtype)


def _undecodable_row(
    driver: sqlite3.Connection,
    statement: str,
    parameters: Mapping[str, object],
    columns: Sequence[Origin],
) -> str:
    """Run a statement again, texts as their bytes, to find the first that is not UTF-8."""
    driver.text_factory = bytes
    try:
        for cells in driver.execute(statement, parameters):
            place = first_undecodable(cells)
            if place is not None:
                return undecodable(columns[place], cells[place], row=columns[0], row_id=cells[0])
    finally:
        driver.text_factory = str
    raise AssertionError("the same statement in one transaction gave other rows")
