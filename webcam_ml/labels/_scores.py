"""What judges that are not people said: the scores that language models gave pictures.

Each `llm_model` is a judge of its own, because each has a scale of its own. A picture holds the
last score only: where another model judges it anew, the earlier judge knows it no longer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import polars as pl
import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._stream import fetch
from webcam_ml.printable import printable

# Where scores stand, and the sign of the keys there: see `EXTERNAL_IMAGES_TABLE`.
SCORED, EXTERNAL_SCORED = (
    sa.table(name, sa.column("id"), sa.column("llm_model", sa.Text), sa.column("llm_quality"))
    for name in ("webcam_snapshots", "external_images")
)
SIGNS: Mapping[sa.TableClause, int] = {SCORED: 1, EXTERNAL_SCORED: -1}
SCHEMA: Mapping[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "judge": pl.String,
    "score": pl.Float64,
}
LOWEST_SCORE, HIGHEST_SCORE = 0.0, 1.0
DECIMALS = 6
JUDGES_SHOWN = 8


@dataclass(frozen=True)
class Scores:
    """What judges said.

    Attributes:
        frame: `snapshot_id`, `judge`, `score` (0–1) of those that were asked for.
        nameless: Scores without a name of their judge: several judges might be one there.
        not_asked: Scores of judges that were not asked for.
    """

    frame: pl.DataFrame
    nameless: int
    not_asked: int


def read_scores(
    connection: sa.Connection,
    database: LabelDatabase,
    judges: Sequence[str],
    *,
    external_images: bool = False,
) -> Scores:
    """Read the scores of the judges that are asked for.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read; one without the columns has no such judges.
        judges: Names or patterns like `gemini-*`; empty: all.
        external_images: Whether scores of pictures from elsewhere are read, too.

    Raises:
        LabelDatabaseError: A pattern names no judge, or a score of one that is asked for is no number
            from 0 to 1.
    """
    tables = [SCORED, EXTERNAL_SCORED] if external_images else [SCORED]
    there = [table for table in tables if database.has_columns(connection, table)]
    numbers = Counter[str]()
    nameless = 0
    for table in there:
        name = _name(table)
        rows = sa.select(name, sa.func.count()).where(_has_score(table)).group_by(name)
        for judge, number in connection.execute(rows).all():
            if judge is None:
                nameless += number
            else:
                numbers[judge] += number
    _require_known(judges, list(numbers), database=database)
    asked = [one for one in numbers if not judges or any(_is_named(one, p) for p in judges)]
    frames = [_read(connection, table, asked, total=sum(numbers.values())) for table in there]
    return Scores(
        pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).sort("snapshot_id"),
        nameless=nameless,
        not_asked=sum(number for one, number in numbers.items() if one not in asked),
    )


def _name(table: sa.TableClause) -> sa.ColumnElement[str | None]:
    return sa.func.nullif(sa.func.trim(table.c.llm_model), "")


def _has_score(table: sa.TableClause) -> sa.ColumnElement[bool]:
    return table.c.llm_quality.is_not(None)


def _read(
    connection: sa.Connection, table: sa.TableClause, judges: Sequence[str], *, total: int
) -> pl.DataFrame:
    name = _name(table)
    statement = sa.select(table.c.id, name, table.c.llm_quality)
    statement = statement.where(_has_score(table), name.in_(judges))
    frame = fetch(connection, statement, SCHEMA, total=total, what="scores of judges")
    # PostgreSQL can hold NaN, SQLite a text that says so: neither says anything. And a `real` of PostgreSQL
    # has 24 bits, one of SQLite 53: to six decimals they are the same number.
    frame = frame.filter(pl.col("score").is_not_nan()).with_columns(pl.col("score").round(DECIMALS))
    _require_on_scale(frame, table=table.name)
    return frame.with_columns(pl.col("snapshot_id") * SIGNS[table])


def _is_named(judge: str, name: str) -> bool:
    """Whether a name of the config, or a pattern, means a judge; a name may look like a pattern."""
    return judge == name or fnmatchcase(judge, name)


def _require_known(judges: Sequence[str], found: Sequence[str], *, database: LabelDatabase) -> None:
    unknown = [p for p in judges if not any(_is_named(one, p) for one in found)]
    if not unknown:
        return
    near = get_close_matches(unknown[0], found, n=1)
    there = ", ".join(printable(one) for one in sorted(found)[:JUDGES_SHOWN])
    advice = f"did you mean {printable(near[0])}? " if near else ""
    raise LabelDatabaseError(
        f"judges: {', '.join(unknown)} judged nothing in {database}; {advice}"
        + (f"There are {there}. " if found else "No language model judged anything there. ")
        + "Correct judges, or leave it empty to hear all that qualify."
    )


def _require_on_scale(frame: pl.DataFrame, *, table: str) -> None:
    off = frame.filter(~pl.col("score").is_between(LOWEST_SCORE, HIGHEST_SCORE))
    if off.is_empty():
        return
    row = off.row(0, named=True)
    low, high = off.select(pl.col("score").min(), high=pl.col("score").max()).row(0)
    raise LabelDatabaseError(
        f"Table {table}: llm_quality is {row['score']:g} at id {row['snapshot_id']} (llm_model "
        f"{printable(row['judge'])}), off the scale of 0 to 1. So it is in {off.height:,} of "
        f"{frame.height:,} rows, where it runs from {low:g} to {high:g}. Nothing was read. Mend "
        "llm_quality (NULL where nothing was judged), or name only other judges in judges."
    )
