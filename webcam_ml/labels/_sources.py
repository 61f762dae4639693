"""Label sources: how the ratings of a snapshot become its label. A new one is one entry here.

What is read from the database, and which snapshots drop out, belongs in `_read`. The recipe is in
``docs/extending.md``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webcam_ml.contracts import by_name

if TYPE_CHECKING:
    import polars as pl


def mean(ratings: "pl.Expr") -> "pl.Expr":
    """Average; the sum of whole stars is exact, so it has the same bits on every database."""
    return ratings.sum() / ratings.len()


@dataclass(frozen=True, eq=False)
class LabelSource:
    """A way from the ratings of one snapshot to its label.

    Attributes:
        name: What the user writes as `label_source`.
        meaning: What the label is; a phrase that ends without a full stop.
        of_ratings: From the ratings of the rows that count (Float64, stars; at least one, in no
            order) to the label in stars.
        prefers_cached: Whether the application's cached average is the label as long as everybody's
            ratings count.
        takes_sessions: Whether `curator_sessions` may say whose ratings count.
        hears_judges: Whether everything that people said counts, N and gold labels too, and what
            judges said that are not people is read beside it.
    """

    name: str
    meaning: str
    of_ratings: "Callable[[pl.Expr], pl.Expr]"
    prefers_cached: bool = False
    takes_sessions: bool = False
    hears_judges: bool = False


LABEL_SOURCES = by_name(
    "label sources",
    (
        LabelSource(
            "manual_only",
            meaning="the app's calculated_rating, or the average over curator_sessions",
            of_ratings=mean,
            prefers_cached=True,
            takes_sessions=True,
        ),
        LabelSource(
            "public_aggregate",
            meaning="the average of all rating rows, computed afresh",
            of_ratings=mean,
        ),
        LabelSource(
            "all_judges",
            meaning="the average of all votes of people, an N as one star and gold labels among them; "
            "and beside it, for snapshots that no person judged, what language models said",
            hears_judges=True,
            of_ratings=mean,
        ),
    ),
)
