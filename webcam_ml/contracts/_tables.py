"""One way to write and to read the tables of the store.

A table outlives the release that wrote it. So a reader names the columns that it uses, and only
those have to be there: columns that it does not know are ignored, and one that came later, or may
be missing, takes the value that is declared for it.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NoReturn

import polars as pl

from webcam_ml.contracts._spreadsheet import for_spreadsheets, from_spreadsheets
from webcam_ml.errors import WebcamMLError

Schema = dict[str, type[pl.DataType]]

SHOWN_CHARACTERS = 40


class TableError(WebcamMLError):
    """A stored table lacks a column that is needed, has it twice, or with another type."""


@dataclass(frozen=True)
class Column:
    """One column of a stored table.

    Attributes:
        name: Its name in the first line of the file.
        dtype: Int64, Float64 or String.
        needed: Whether a reader that asks for it must find it. False for what describes a row and
            may be null in each of them anyway, and for what came later.
        default: Its value in all rows of a table that lacks it, if it is not needed.
        sliced_as: What an evaluation calls the slices that it makes by this column; None for no
            slices.
    """

    name: str
    dtype: type[pl.DataType]
    needed: bool = True
    default: int | float | str | None = None
    sliced_as: str | None = None


@dataclass(frozen=True)
class Table:
    """A kind of CSV file in the store.

    Attributes:
        columns: All columns, in the order in which they are written.
        made_by: The asset that writes it.
        quote_style: Which values are written in quotes.
    """

    columns: tuple[Column, ...]
    made_by: str
    quote_style: Literal["necessary", "non_numeric"] = "necessary"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def schema(self) -> Schema:
        """Name → type of all columns, in order."""
        return {column.name: column.dtype for column in self.columns}

    def schema_of(self, names: Iterable[str]) -> Schema:
        """Name → type of some columns."""
        schema = self.schema
        return {name: schema[name] for name in names}

    def write(self, frame: pl.DataFrame, to: Path | IO[bytes]) -> None:
        """Write the table's columns of a frame; equal rows give equal bytes.

        No cell starts as a formula would: what a spreadsheet might run gets an apostrophe in front.
        """
        frame.select(self.names).with_columns(for_spreadsheets()).write_csv(
            to, line_terminator="\n", quote_style=self.quote_style
        )

    def read(self, path: Path, *names: str) -> pl.DataFrame:
        """Read some columns of a table that this or another version wrote, or all of them.

        Args:
            path: The CSV file.
            *names: The columns that the caller uses, in the order in which it wants them; all if
                none is named.

        Raises:
            TableError: A column that is needed is missing, there twice or of another type, or the
                file is no table.
        """
        schema = self.schema
        wanted = [column for column in self.columns if not names or column.name in names]
        counts = Counter(self._header(path))
        twice = [column.name for column in wanted if counts[column.name] > 1]
        if twice:
            self._refuse(path, f"has the column {twice[0]} {counts[twice[0]]} times")
        missing = [column for column in wanted if not counts[column.name]]
        needed = [column.name for column in missing if column.needed]
        if needed:
            self._refuse(
                path,
                f"lacks {', '.join(needed)}; its columns are {', '.join(counts) or 'none at all'}",
            )
        found = [column for column in wanted if counts[column.name]]
        rows = pl.scan_csv(
            path,
            schema_overrides={column.name: column.dtype for column in found},
            infer_schema=False,
        ).with_columns(
            pl.lit(column.default, dtype=column.dtype).alias(column.name) for column in missing
        )
        try:
            frame = rows.select(names or list(schema)).collect()
        except pl.exceptions.PolarsError as error:
            self._refuse_values(path, found, error)
        return frame.with_columns(from_spreadsheets())

    def _header(self, path: Path) -> list[str]:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return next(csv.reader(file), [])
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._refuse(path, f"cannot be read ({error})")

    def _refuse_values(
        self, path: Path, columns: Sequence[Column], error: pl.exceptions.PolarsError
    ) -> NoReturn:
        """Say which value in which column is not of its type."""
        try:
            texts = pl.read_csv(path, infer_schema=False, columns=[one.name for one in columns])
        except pl.exceptions.PolarsError:
            self._refuse(path, f"is no table ({str(error).splitlines()[0]})")
        for column in columns:
            text = pl.col(column.name)
            wrong = texts.with_row_index("row", offset=1).filter(
                text.is_not_null() & text.cast(column.dtype, strict=False).is_null()
            )
            if wrong.height:
                row, value = wrong.select("row", column.name).row(0)
                self._refuse(
                    path,
                    f"has {value[:SHOWN_CHARACTERS]!r} in the column {column.name} (row {row}), "
                    f"where {column.dtype.__name__} is expected",
                )
        self._refuse(path, f"cannot be read ({str(error).splitlines()[0]})")

    def _refuse(self, path: Path, what: str) -> NoReturn:
        raise TableError(
            f"{path} {what}. Materialize {self.made_by} again; if a later version of webcam-ml wrote "
            "it (lineage.json beside it names the version), upgrade webcam-ml instead"
        )
