"""The CSV file that somebody brings: one score for each snapshot."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.errors import WebcamMLError
from webcam_ml.printable import printable

COLUMNS = ("snapshot_id", "score")
EXPECTED = "a CSV file whose first line has snapshot_id and score, with one line for each snapshot"


@dataclass(frozen=True, eq=False)
class ForeignPredictions:
    """Scores of a model that was made elsewhere.

    Attributes:
        frame: `snapshot_id`, once each, and `score` (0–1).
        sha256: SHA-256 of the file.
    """

    frame: pl.DataFrame
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of predictions; columns other than `snapshot_id` and `score` are ignored.

        Raises:
            WebcamMLError: It is missing, empty or no such table, a score is no number from 0 to 1,
                or an id is no whole number or there twice.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise WebcamMLError(
                f"{path} cannot be read ({error.strerror}): give {EXPECTED}"
            ) from error
        if not data.strip():
            raise WebcamMLError(f"{path} is empty: give {EXPECTED}")
        try:
            texts = pl.read_csv(io.BytesIO(data), infer_schema=False)
        except pl.exceptions.PolarsError as error:
            raise WebcamMLError(
                f"{path} is no table ({printable(str(error).splitlines()[0])}): give {EXPECTED}"
            ) from error
        missing = [name for name in COLUMNS if name not in texts.columns]
        if missing:
            found = printable(", ".join(texts.columns))
            raise WebcamMLError(
                f"{path} lacks the column {' and '.join(missing)}; it has {found}. Give {EXPECTED}"
            )
        repeated = [name for name in COLUMNS if f"{name}_duplicated_0" in texts.columns]
        if repeated:
            raise WebcamMLError(f"{path} has the column {repeated[0]} more than once: keep one")
        if texts.is_empty():
            raise WebcamMLError(f"{path} has no line below its first: give {EXPECTED}")
        return cls(_checked(path, texts), hashlib.sha256(data).hexdigest())


def _checked(path: Path, texts: pl.DataFrame) -> pl.DataFrame:
    frame = texts.with_row_index("line", offset=2).select(
        "line",
        *(pl.col(name).alias(f"{name}_text") for name in COLUMNS),
        pl.col("snapshot_id").str.strip_chars().cast(pl.Int64, strict=False),
        pl.col("score").str.strip_chars().cast(pl.Float64, strict=False),
    )
    is_id = pl.col("snapshot_id").is_not_null()
    is_number = pl.col("score").is_finite().fill_null(False)
    is_score = pl.col("score").is_between(0.0, 1.0)
    stars = " If these are stars, score = (stars - 1) / 4"
    rules: tuple[tuple[str, pl.Expr, str, str], ...] = (
        ("snapshot_id", is_id, "a snapshot_id that is no whole number", ""),
        ("score", is_number, "a score that is no finite number", ""),
        ("score", is_score, "a score that is not from 0 to 1", stars),
    )
    for name, good, what, advice in rules:
        bad = frame.filter(~good)
        if bad.height:
            line, text = bad.select("line", f"{name}_text").row(0)
            shown = "nothing" if text is None else repr(printable(text[:40]))
            raise WebcamMLError(
                f"{path}: {bad.height:,} of {frame.height:,} lines have {what}, the first is line "
                f"{line} with {shown}.{advice}"
            )
    twice = frame.filter(pl.col("snapshot_id").is_duplicated())
    if twice.height:
        one = twice["snapshot_id"][0]
        lines = twice.filter(pl.col("snapshot_id") == one)["line"].to_list()
        raise WebcamMLError(
            f"{path}: {twice['snapshot_id'].n_unique():,} snapshots have more than one line, the "
            f"first is {one} in lines {', '.join(map(str, lines[:5]))}. Which score counts cannot be "
            "told: leave one for each"
        )
    return frame.select(COLUMNS)
