"""When votes were given, and by whom: what tells that somebody has looked at a snapshot again.

What follows from the times belongs in `disagreement`, and what a label is in `_read`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import LOWEST_RATING
from webcam_ml.labels._captured_at import utc_text
from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._integrity import require_given, require_key
from webcam_ml.labels._no_votes import MEANING_OF_SOURCE
from webcam_ml.labels._read import REPEATED_RATINGS
from webcam_ml.labels._stream import fetch
from webcam_ml.labels._strict import shown
from webcam_ml.labels._votes import REPEATED_GOLD

VOTES = sa.table(
    "webcam_snapshot_ratings",
    sa.column("snapshot_id"),
    sa.column("user_session_id", sa.String),
    sa.column("rating"),
    sa.column("created_at"),
    sa.column("is_sunset_verdict", sa.Boolean),
)
# Not every database has a place for votes "no sunset".
NEEDED = [column.name for column in VOTES.c if column.name != "is_sunset_verdict"]
GOLD = sa.table(
    "manual_labels",
    sa.column("image_id"),
    sa.column("rating"),
    sa.column("labeled_at"),
    sa.column("source", sa.Text),
)
IS_NO = VOTES.c.is_sunset_verdict.is_(sa.false()) & VOTES.c.rating.is_(None)
OF_SNAPSHOT = GOLD.c.source == "webcam"
# SQLite takes some thousands of values in one statement at most.
IDS_A_STATEMENT = 1_000
COLUMNS: dict[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "rater": pl.String,
    "rating": pl.Float64,
    "voted_at": pl.String,
}
OF_GOLD = {name: kind for name, kind in COLUMNS.items() if name != "rater"}


def read_dated_votes(database: LabelDatabase, snapshot_ids: Sequence[int]) -> pl.DataFrame:
    """Read the votes on some snapshots with their times, whichever label source uses them.

    A vote N ("no sunset") counts as one star. A time without an offset is in UTC.

    Args:
        database: Where the votes are.
        snapshot_ids: Of which snapshots.

    Returns:
        `snapshot_id`, `rater` (null for the curator's gold label), `rating` (stars) and `voted_at`
        (UTC; null where the row has no time), ordered by snapshot, time and rater.

    Raises:
        LabelDatabaseError: The database cannot be read, the ratings have no `created_at`, or a time
            is none; or a vote stands there twice.
    """
    with database.reading() as connection:
        database.require_columns(connection, {VOTES.name: NEEDED})
        has_no = database.has_columns(connection, VOTES)
        has_gold = database.has_columns(connection, GOLD) and database.may_read(connection, GOLD)
        _require_keys(connection, has_no=has_no, has_gold=has_gold)
        found = [pl.DataFrame(schema=COLUMNS)]
        for ids in _batches(snapshot_ids):
            found.append(
                fetch(connection, _ratings(ids, has_no=has_no), COLUMNS, total=0, what="votes")
            )
            if has_gold:
                gold = fetch(connection, _gold(ids), OF_GOLD, total=0, what="gold labels")
                without_rater = gold.with_columns(rater=pl.lit(None, dtype=pl.String))
                found.append(without_rater.select(*COLUMNS))
    votes = pl.concat(found)
    texts = utc_text(votes["voted_at"])
    unreadable = votes.filter(texts.is_null() & votes["voted_at"].is_not_null())
    if unreadable.height:
        snapshot_id, text = unreadable.select("snapshot_id", "voted_at").row(0)
        raise LabelDatabaseError(
            f"{database}: the time of a vote on snapshot {snapshot_id} is no time stamp but "
            f"{shown(text)}. It stands in {VOTES.name}.created_at or {GOLD.name}.labeled_at: write it "
            "like 2026-02-12 10:15:00, in UTC, or leave it NULL."
        )
    moment = texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
    return votes.with_columns(voted_at=moment).sort("snapshot_id", "voted_at", "rater")


def _require_keys(connection: sa.Connection, *, has_no: bool, has_gold: bool) -> None:
    key = [VOTES.c.snapshot_id, VOTES.c.user_session_id]
    require_key(connection, key, among=_says_something(has_no=has_no), consequence=REPEATED_RATINGS)
    if has_gold:
        require_given(connection, GOLD.c.source, meaning=MEANING_OF_SOURCE)
        require_key(connection, [GOLD.c.image_id], among=OF_SNAPSHOT, consequence=REPEATED_GOLD)


def _says_something(*, has_no: bool) -> sa.ColumnElement[bool]:
    has_stars = VOTES.c.rating.is_not(None)
    return has_stars | IS_NO if has_no else has_stars


def _ratings(ids: Sequence[int], *, has_no: bool) -> sa.Select[Any]:
    stars: sa.ColumnElement[Any] = VOTES.c.rating
    if has_no:
        stars = sa.case((IS_NO, LOWEST_RATING), else_=stars)
    return sa.select(
        VOTES.c.snapshot_id,
        VOTES.c.user_session_id,
        stars,
        sa.cast(VOTES.c.created_at, sa.Text),
    ).where(VOTES.c.snapshot_id.in_(ids), _says_something(has_no=has_no))


def _gold(ids: Sequence[int]) -> sa.Select[Any]:
    # The ids as text: the column has numbers in one database and texts in another.
    return sa.select(
        GOLD.c.image_id,
        sa.func.coalesce(GOLD.c.rating, LOWEST_RATING),
        sa.cast(GOLD.c.labeled_at, sa.Text),
    ).where(
        OF_SNAPSHOT,
        sa.cast(GOLD.c.image_id, sa.Text).in_([str(one) for one in ids]),
    )


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + IDS_A_STATEMENT] for start in range(0, len(ids), IDS_A_STATEMENT))
