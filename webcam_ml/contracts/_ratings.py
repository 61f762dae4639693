"""The scale of the ratings, 1 to 5 stars, and how it is converted to a model's 0 to 1 and back."""

from typing import Any, Protocol, TypeVar

STARS = (1, 2, 3, 4, 5)
# Columns with the number of ratings of each star behind a label.
STAR_COLUMNS = tuple(f"stars_{star}" for star in STARS)
# Whose label a row of a manifest has, if not a judge's.
PEOPLE = "people"
LOWEST_RATING = 1.0
HIGHEST_RATING = 5.0
RATING_SCALE = (LOWEST_RATING, HIGHEST_RATING)
RATING_SPAN = HIGHEST_RATING - LOWEST_RATING
# From here on a rating lies in the upper half of the scale.
UPPER_HALF = 3.0


class _Linear(Protocol):
    """A number, an array or a polars expression."""

    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...


_N = TypeVar("_N", bound=_Linear)


def rating_of(score: _N) -> _N:
    """From 0–1 to stars: 1 + 4 · score, of a number, an array or a polars expression."""
    rating: _N = score * RATING_SPAN + LOWEST_RATING
    return rating


def score_of(rating: _N) -> _N:
    """From stars to 0–1: (rating − 1) / 4, of a number, an array or a polars expression."""
    score: _N = (rating - LOWEST_RATING) / RATING_SPAN
    return score
