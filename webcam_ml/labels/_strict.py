"""Values that are what their column says, or refused with table, column, row and what to do.

SQLite keeps any text in a column of numbers, and reads '2,5' as 2.0 when it is asked for a number;
a column of numbers may also have been declared as text. Here a text is read as a number only if all
of it is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.sql import visitors

from webcam_ml.labels._database import LabelDatabaseError
from webcam_ml.printable import printable

# NaN is one, for PostgreSQL has it in columns of numbers: what it means is for whoever reads the column.
NUMBER = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN)\s*$"
# One way to write each number; otherwise two texts could be the same id.
WHOLE_NUMBER = r"^(0|-?[1-9][0-9]*)$"
DECIMAL_COMMA = r"^\s*[+-]?[0-9]*,[0-9]+\s*$"

CHARACTERS_SHOWN = 60


@dataclass(frozen=True)
class Origin:
    """Where a selected value stands."""

    table: str
    column: str


def origins(statement: sa.Select[Any]) -> list[Origin]:
    """Say for each selected value from which column it is made."""
    return [_origin(expression) for expression in statement.selected_columns]


def _origin(expression: sa.ColumnElement[Any]) -> Origin:
    for part in visitors.iterate(expression):
        if isinstance(part, sa.ColumnClause) and isinstance(part.table, sa.TableClause):
            return Origin(part.table.name, part.name)
    raise ValueError(f"{expression} is made from no column")


def numbers_of(texts: pl.Series, dtype: type[pl.DataType]) -> pl.Series:
    """Read texts as numbers; null where the whole text is not one number."""
    pattern = NUMBER if dtype is pl.Float64 else WHOLE_NUMBER
    whole = pl.DataFrame({"text": texts}).select(
        pl.when(pl.col("text").str.contains(pattern)).then(pl.col("text").str.strip_chars())
    )
    return whole.to_series().cast(dtype, strict=False).alias(texts.name)


def refusal(
    origin: Origin, value: object, *, dtype: type[pl.DataType], row: Origin, row_id: object
) -> LabelDatabaseError:
    """Make the error about a value that is not what its column is read as.

    Args:
        origin: Where it stands.
        value: What was found.
        dtype: What was wanted.
        row: The column that tells rows apart.
        row_id: Its value in this row.
    """
    kind = {pl.Int64: "whole number", pl.Float64: "number", pl.String: "text"}[dtype]
    where = "" if origin == row else f" where {row.column} is {_id(row_id)}"
    return LabelDatabaseError(
        f"Table {origin.table}: {origin.column} is {shown(value)}{where}, which is no {kind}. "
        f"Nothing was read. {_advice(origin, value, kind)}"
    )


def undecodable(origin: Origin, value: bytes | str, *, row: Origin, row_id: object) -> str:
    """Say which text is not UTF-8."""
    return (
        f"Table {origin.table}: {origin.column} is {shown(value)} where {row.column} is "
        f"{_id(row_id)}, and that is not UTF-8. Nothing was read. Write the text anew as UTF-8: a "
        "program with another encoding, Latin-1 for example, has stored it."
    )


def shown(value: object) -> str:
    """Show a value of the database: quoted, its control characters escaped, cut where it is long."""
    if isinstance(value, str | bytes) and len(value) > CHARACTERS_SHOWN:
        return f"{value[:CHARACTERS_SHOWN]!r}…"
    return repr(value)


def _id(value: object) -> str:
    """Show what tells a row apart: as a number, also where it was read as text."""
    return printable(str(value))[:CHARACTERS_SHOWN]


def _advice(origin: Origin, value: object, kind: str) -> str:
    table, column = origin.table, origin.column
    if isinstance(value, str):
        if not value.strip():
            return (
                "An empty text is not NULL. Where nothing is known, store NULL: "
                f"UPDATE {table} SET {column} = NULL WHERE trim({column}) = ''."
            )
        if _matches(value, DECIMAL_COMMA):
            return (
                "Numbers are stored with a decimal point: "
                f"UPDATE {table} SET {column} = replace({column}, ',', '.')."
            )
    return f"Store a {kind} there, or NULL where there is none."


def _matches(text: str, pattern: str) -> bool:
    return bool(pl.Series([text]).str.contains(pattern).item())


def first_wrong(texts: pl.Series, numbers: pl.Series) -> int | None:
    """Find the first text that is no number."""
    wrong = (numbers.is_null() & texts.is_not_null()).arg_true()
    return None if wrong.is_empty() else int(wrong[0])


def first_undecodable(cells: Sequence[object]) -> int | None:
    """Find the first cell whose bytes are not UTF-8."""
    for place, cell in enumerate(cells):
        if isinstance(cell, bytes):
            try:
                cell.decode()
            except UnicodeDecodeError:
                return place
    return None
