"""What judges that are not people said: the scores that language models gave snapshots.

Each `llm_model` is a judge of its own, because each has a scale of its own. The snapshot holds the
last score only: where another model judges it anew, the earlier judge knows it no longer.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import polars as pl
import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._stream import fetch
from webcam_ml.printable import printable

logger = logging.getLogger(__name__)

SCORED = sa.table(
    "webcam_snapshots",
    sa.column("id"),
    sa.column("llm_model", sa.Text),
    sa.column("llm_quality"),
)
HAS_SCORE = SCORED.c.llm_quality.is_not(None)
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
    connection: sa.Connection, database: LabelDatabase, judges: Sequence[str]
) -> Scores:
    """Read the scores of the judges that are asked for.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read; one without the columns has no such judges.
        judges: Names or patterns like `gemini-*`; empty: all.

    Raises:
        LabelDatabaseError: A pattern names no judge, or a score of one that is asked for is no number
            from 0 to 1.
    """
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "judge": pl.String,
        "score": pl.Float64,
    }
    if not database.has_columns(connection, SCORED):
        _require_known(judges, [], database=database)
        return Scores(pl.DataFrame(schema=schema), nameless=0, not_asked=0)
    name = sa.func.nullif(sa.func.trim(SCORED.c.llm_model), "")
    rows = sa.select(name, sa.func.count()).where(HAS_SCORE).group_by(name)
    numbers = {judge: number for judge, number in connection.execute(rows).all() if judge}
    scored = connection.scalar(sa.select(sa.func.count()).where(HAS_SCORE)) or 0
    nameless = scored - sum(numbers.values())
    _require_known(judges, list(numbers), database=database)
    asked = [one for one in numbers if not judges or any(fnmatchcase(one, p) for p in judges)]
    statement = sa.select(SCORED.c.id, name, SCORED.c.llm_quality).where(HAS_SCORE, name.in_(asked))
    frame = fetch(
        connection, statement, schema, total=sum(numbers.values()), what="scores of judges"
    )
    # PostgreSQL can hold NaN, SQLite cannot: to both it says nothing. And a `real` of PostgreSQL has
    # 24 bits, one of SQLite 53: to six decimals they are the same number.
    frame = frame.filter(pl.col("score").is_not_nan()).with_columns(pl.col("score").round(DECIMALS))
    _require_on_scale(frame)
    return Scores(
        frame.sort("snapshot_id"),
        nameless=nameless,
        not_asked=sum(number for one, number in numbers.items() if one not in asked),
    )


def _require_known(judges: Sequence[str], found: Sequence[str], *, database: LabelDatabase) -> None:
    unknown = [p for p in judges if not any(fnmatchcase(one, p) for one in found)]
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


def _require_on_scale(frame: pl.DataFrame) -> None:
    off = frame.filter(~pl.col("score").is_between(LOWEST_SCORE, HIGHEST_SCORE))
    if off.is_empty():
        return
    row = off.row(0, named=True)
    low, high = off.select(pl.col("score").min(), high=pl.col("score").max()).row(0)
    raise LabelDatabaseError(
        f"Table {SCORED.name}: llm_quality is {row['score']:g} at id {row['snapshot_id']} (llm_model "
        f"{printable(row['judge'])}), off the scale of 0 to 1. So it is in {off.height:,} of "
        f"{frame.height:,} rows, where it runs from {low:g} to {high:g}. Nothing was read. Mend "
        "llm_quality (NULL where nothing was judged), or name only other judges in judges."
    )
