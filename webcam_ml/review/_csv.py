"""CSV files that people made or edited: whatever a spreadsheet does to one and still means the same.

A byte order mark, semicolons or tabs, quotes, columns in another order or more of them, empty lines.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from webcam_ml.contracts import from_spreadsheets
from webcam_ml.errors import WebcamMLError
from webcam_ml.printable import printable

DELIMITERS = ",;\t"
# 12, and 12.0 or 12,0 as a spreadsheet or pandas may write it. Not 1.234: that may be 1234.
WHOLE_NUMBER = re.compile(r"\s*(\d{1,18})([.,]0+)?\s*")
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
        WebcamMLError: The file cannot be read, is not UTF-8, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WebcamMLError(
            f"{path} is not UTF-8. In the spreadsheet choose Save as, CSV UTF-8"
        ) from error
    except OSError as error:
        raise WebcamMLError(f"{path} cannot be read: {error.strerror}") from error
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=False)
    names = [name.strip().lower() for name in next(reader, [])]
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
    for cells in reader:
        if any(cell.strip() for cell in cells):
            padded = [*cells, *[""] * (len(names) - len(cells))]
            lines.append(Line(reader.line_num, dict(zip(names, padded, strict=False))))
    return _without_apostrophes(lines, names)


def whole_number(text: str) -> int | None:
    """Read an id; None for what is none."""
    match = WHOLE_NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def _without_apostrophes(lines: list[Line], names: list[str]) -> list[Line]:
    """Take away what stands before a text that a spreadsheet would run."""
    schema = dict.fromkeys(names, pl.String)
    rows = [[line.cells[name] for name in schema] for line in lines]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(from_spreadsheets())
    return [
        Line(line.number, row) for line, row in zip(lines, frame.iter_rows(named=True), strict=True)
    ]
