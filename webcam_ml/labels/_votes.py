"""All votes of people: stars, N ("no sunset") and the curator's gold labels.

An N counts as one star of one person. A gold label is one more vote, unless the ratings of its snapshot
have the same already: the application writes what the curator presses into both tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import LOWEST_RATING
from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._integrity import require_given, require_key, require_stars, require_yes_or_no
from webcam_ml.labels._no_votes import (
    GOLD,
    IS_NO,
    MEANING_OF_SOURCE,
    OF_EXTERNAL_IMAGE,
    OF_SNAPSHOT,
    VERDICTS,
    read_no_votes,
)
from webcam_ml.labels._stream import fetch
from webcam_ml.printable import printable

# What a vote is, in the column `kind`.
STARS_KIND, NO_SUNSET, GOLD_STARS, GOLD_NO = "stars", "no_sunset", "gold", "gold_no_sunset"
VOTE_KINDS = (STARS_KIND, NO_SUNSET, GOLD_STARS, GOLD_NO)
# The rating that says the same as a gold label.
SAME_AS = {GOLD_STARS: STARS_KIND, GOLD_NO: NO_SUNSET}

REPEATED_VERDICTS = "One person says N of a snapshot once"
REPEATED_GOLD = "A picture has one gold label"


@dataclass(frozen=True)
class Votes:
    """What people said.

    Attributes:
        frame: One row a vote: `snapshot_id`, `rating` (stars; 1 for N), `kind` (of `VOTE_KINDS`).
        same_twice: Gold labels that the ratings of their snapshot have already; not in the frame.
        gone: Gold labels of snapshots that are no more; not in the frame either.
        gone_external: The same of pictures from elsewhere.
    """

    frame: pl.DataFrame
    same_twice: int
    gone: int = 0
    gone_external: int = 0

    def on(self, pictures: pl.DataFrame) -> "Votes":
        """Keep the votes on pictures that there are: a gold label outlives its snapshot."""
        kept = self.frame.join(pictures, on="snapshot_id", how="semi")
        gone = self.frame.join(pictures, on="snapshot_id", how="anti")
        gold = gone.filter(pl.col("kind").is_in([GOLD_STARS, GOLD_NO]))
        of_snapshots = gold.filter(pl.col("snapshot_id") >= 0).height
        return replace(
            self, frame=kept, gone=of_snapshots, gone_external=gold.height - of_snapshots
        )

    def counts(self) -> dict[str, int]:
        """Count votes on snapshots by kind."""
        of_snapshots = self.frame.filter(pl.col("snapshot_id") >= 0)
        found: Mapping[str, int] = dict(of_snapshots.group_by("kind").len().iter_rows())
        return {kind: found.get(kind, 0) for kind in VOTE_KINDS}


def read_votes(
    connection: sa.Connection,
    database: LabelDatabase,
    stars: pl.DataFrame,
    *,
    external_images: bool = False,
) -> Votes:
    """Read what people said beside stars, and put it together with them.

    Args:
        connection: Inside the transaction in which labels are read.
        database: What is read.
        stars: `snapshot_id` and `rating` of each rating row with stars.
        external_images: Whether gold labels of pictures from elsewhere are read, too.

    Raises:
        LabelDatabaseError: A verdict is neither true nor false, a vote contradicts itself, a gold label
            has no whole stars, no source or an id that no picture can have, or a vote stands in a table
            twice.
    """
    votes = [stars.with_columns(kind=pl.lit(STARS_KIND))]
    if database.has_columns(connection, VERDICTS):
        require_key(
            connection,
            [VERDICTS.c.snapshot_id, VERDICTS.c.user_session_id],
            among=IS_NO,
            consequence=REPEATED_VERDICTS,
        )
        _require_no_stars_of_no_sunset(connection)
        votes.append(_as_star(read_no_votes(connection), NO_SUNSET))
    rated = pl.concat(votes)
    if not database.has_columns(connection, GOLD):
        return Votes(rated, same_twice=0)
    require_given(connection, GOLD.c.source, meaning=MEANING_OF_SOURCE)
    gold = _read_gold(connection, OF_SNAPSHOT, lowest=0)
    if external_images:
        others = _read_gold(connection, OF_EXTERNAL_IMAGE, lowest=1)
        gold = pl.concat([gold, others.with_columns(-pl.col("snapshot_id"))])
    new = gold.with_columns(same_as=pl.col("kind").replace_strict(SAME_AS, return_dtype=pl.String))
    new = new.join(
        rated,
        left_on=["snapshot_id", "rating", "same_as"],
        right_on=["snapshot_id", "rating", "kind"],
        how="anti",
    )
    return Votes(pl.concat([rated, new.select(rated.columns)]), same_twice=gold.height - new.height)


def _require_no_stars_of_no_sunset(connection: sa.Connection) -> None:
    both = VERDICTS.c.is_sunset_verdict.is_(sa.false()) & VERDICTS.c.rating.is_not(None)
    found = sa.select(sa.func.count(), sa.func.min(VERDICTS.c.snapshot_id)).where(both)
    number, snapshot_id = connection.execute(found).one()
    if number:
        raise LabelDatabaseError(
            f"Table {VERDICTS.name}: {number:,} votes contradict themselves, one of them on snapshot_id "
            f"{snapshot_id}: is_sunset_verdict says no sunset, and rating has stars. Nothing was read. "
            "Store NULL in rating where it is none, and true in is_sunset_verdict where it is one."
        )


def _read_gold(
    connection: sa.Connection, among: sa.ColumnElement[bool], *, lowest: int
) -> pl.DataFrame:
    require_yes_or_no(connection, GOLD.c.is_sunset)
    require_key(connection, [GOLD.c.image_id], among=among, consequence=REPEATED_GOLD)
    is_sunset = sa.case((GOLD.c.is_sunset.is_(sa.true()), 1), else_=0)
    statement = sa.select(GOLD.c.image_id, GOLD.c.rating, is_sunset, GOLD.c.source).where(among)
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "rating": pl.Float64,
        "is_sunset": pl.Int64,
        "source": pl.String,
    }
    gold = fetch(connection, statement, schema, total=0, what="gold labels")
    below = gold.filter(pl.col("snapshot_id") < lowest)
    if below.height:
        row = below.sort("snapshot_id").row(0, named=True)
        raise LabelDatabaseError(
            f"Table {GOLD.name}: image_id is {row['snapshot_id']} where source is "
            f"{printable(row['source'])}, and {below.height:,} are below {lowest}. Nothing was read. "
            "An id like that is of no picture: correct it, or delete the label."
        )
    contradicted = gold.filter(pl.col("rating").is_not_null() != (pl.col("is_sunset") == 1))
    if contradicted.height:
        row = contradicted.sort("snapshot_id").row(0, named=True)
        said = "a sunset, and has no rating" if row["is_sunset"] else "no sunset, and has a rating"
        image = f"{printable(row['source'])} image_id {row['snapshot_id']}"
        raise LabelDatabaseError(
            f"Table {GOLD.name}: the label of {image} says {said}. "
            f"{contradicted.height:,} of {gold.height:,} labels contradict themselves like that, and "
            "nothing was read. Give each that is a sunset its rating, and store NULL there where it "
            "is none."
        )
    stars = gold.filter(pl.col("rating").is_not_null())
    require_stars(stars, table=GOLD.name)
    return pl.concat(
        [
            stars.select("snapshot_id", "rating", kind=pl.lit(GOLD_STARS)),
            _as_star(gold.filter(pl.col("rating").is_null()).select("snapshot_id"), GOLD_NO),
        ]
    )


def _as_star(ids: pl.DataFrame, kind: str) -> pl.DataFrame:
    return ids.with_columns(rating=pl.lit(LOWEST_RATING), kind=pl.lit(kind))
