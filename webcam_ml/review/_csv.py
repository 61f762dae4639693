"""CSV files that people made or edited: whatever a spreadsheet does to one and still means the same.

A byte order mark, semicolons or tabs, quotes, columns in another order or more of them, empty lines, a
first line that names the delimiter, numbers that are formulas.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from webcam_ml.contracts import from_spreadsheets
from webcam_ml.errors import WebcamMLError
from webcam_ml.printable import printable

DELIMITERS = ",;\t"
# 12, and 12.0 or 12,0 as a spreadsheet or pandas may write it. Not 1.234: that may be 1234.
WHOLE_NUMBER = re.compile(r"\s*(\d{1,18})([.,]0+)?\s*")
# What Excel takes for the delimiter.
SEPARATOR_LINE = re.compile(r"sep=[,;\t][,;\s]*", re.IGNORECASE)
# How a number is kept from being read as one.
FORMULA = re.compile(r'\s*="([^"]*)"\s*')
SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Line:
    """One row of a file.

    Attributes:
        number: Its line, counted from 1 as an editor does.
        cells: Column → text; "" where it is empty.
    """

    number: int
    cells: dict[str, str]


def read_lines(path: Path, *, needed: Sequence[str]) -> list[Line]:
    """Read a CSV file as texts.

    Args:
        path: The file.
        needed: Columns that must be there; names are read without blanks, in lower case.

    Raises:
        WebcamMLError: The file cannot be read, is not UTF-8, lacks a column, or has a row with a quote
            that is not closed or with more cells than there are columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WebcamMLError(
            f"{path} is not UTF-8. In the spreadsheet choose Save as, CSV UTF-8"
        ) from error
    except OSError as error:
        raise WebcamMLError(f"{path} cannot be read: {error.strerror}") from error
    delimiter = _delimiter(text, needed)
    try:
        rows = list(_rows(text, delimiter))
    except csv.Error as error:
        raise WebcamMLError(f"{path}, {error}") from error
    names = _names(rows[0][1]) if rows else []
    missing = [name for name in needed if name not in names]
    if missing:
        found = ", ".join(printable(name[:SHOWN_CHARACTERS]) for name in names if name)
        raise WebcamMLError(
            f"{path} has no column {' and no column '.join(missing)}. The first line names the columns; "
            + (f"there are: {found}" if found else "it is empty")
        )
    repeated = [name for name in needed if names.count(name) > 1]
    if repeated:
        raise WebcamMLError(f"{path} has the column {repeated[0]} {names.count(repeated[0])} times")
    lines = []
    for number, cells in rows[1:]:
        if any(cell.strip() for cell in cells[len(names) :]):
            raise WebcamMLError(
                f"{path}, line {number} has {len(cells)} cells, and there are {len(names)} columns. A cell "
                f"that holds what separates cells ({delimiter!r}) stands in double quotes"
            )
        padded = [*cells, *[""] * (len(names) - len(cells))]
        texts = map(_without_formula, padded)
        lines.append(Line(number, dict(zip(names, texts, strict=False))))
    return _without_apostrophes(lines, names)


def _delimiter(text: str, needed: Sequence[str]) -> str:
    """Find what separates cells: what gives the columns that are needed, and then the most."""

    def gives(delimiter: str) -> tuple[int, int]:
        try:
            names = _names(next(_rows(text, delimiter), (0, []))[1])
        except csv.Error:
            return 0, 0
        return len(set(needed) & set(names)), len(names)

    return max(DELIMITERS, key=gives)


def _names(header: Sequence[str]) -> list[str]:
    return [name.strip().lower() for name in header]


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give each row that says something, with its first line; not one that names the delimiter alone.

    Raises:
        csv.Error: Where a quote is opened and not closed, or a cell is too long.
    """
    # Not `splitlines`: a title or an address may hold what that takes for the end of a line.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(
                f"line {first}: the row that begins there cannot be read ({error}). A cell that begins with "
                "a double quote must end with one, and each in between stands twice"
            ) from error
        names_delimiter = first == 1 and SEPARATOR_LINE.fullmatch(delimiter.join(cells))
        if any(cell.strip() for cell in cells) and not names_delimiter:
            yield first, cells
        first = reader.line_num + 1


def whole_number(text: str) -> int | None:
    """Read an id; None for what is none."""
    match = WHOLE_NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def _without_formula(cell: str) -> str:
    match = FORMULA.fullmatch(cell)
    return match[1] if match else cell


def _without_apostrophes(lines: list[Line], names: list[str]) -> list[Line]:
    """Take away what stands before a text that a spreadsheet would run."""
    schema = dict.fromkeys(names, pl.String)
    rows = [[line.cells[name] for name in schema] for line in lines]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(from_spreadsheets())
    return [
        Line(line.number, row) for line, row in zip(lines, frame.iter_rows(named=True), strict=True)
    ]
