"""What a user asks of the label database: whose ratings count, and how many a snapshot needs."""

from dataclasses import dataclass
from typing import Literal, get_args

from webcam_ml.errors import WebcamMLError

LabelSource = Literal["manual_only", "public_aggregate"]
LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)


class LabelConfigError(WebcamMLError):
    """A setting of `LabelQuery` makes no sense, alone or beside the others."""


@dataclass(frozen=True)
class LabelQuery:
    """Which ratings make a label (DOMAIN §3).

    Attributes:
        label_source: `manual_only` takes the application's cached average `calculated_rating`, or,
            with `curator_sessions`, the average of those sessions' ratings; `public_aggregate`
            takes the average of all rating rows, computed afresh.
        min_rating_count: How many ratings a label must rest on, at least 1.
        curator_sessions: The only sessions whose ratings count; empty means everybody's. Kept
            sorted and without repetition, because their order means nothing.

    Raises:
        LabelConfigError: An unknown source, a minimum below 1, a blank session, or sessions
            together with `public_aggregate`.
    """

    label_source: LabelSource = "manual_only"
    min_rating_count: int = 1
    curator_sessions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.label_source not in LABEL_SOURCES:
            raise LabelConfigError(
                f"label_source is {self.label_source!r}; it must be one of "
                f"{', '.join(LABEL_SOURCES)}."
            )
        if type(self.min_rating_count) is not int or self.min_rating_count < 1:
            raise LabelConfigError(
                f"min_rating_count is {self.min_rating_count!r}; it must be a whole number of at "
                "least 1, since a label rests on at least one rating."
            )
        if any(not session.strip() for session in self.curator_sessions):
            raise LabelConfigError(
                "curator_sessions contains a blank session id; remove it, or leave the list empty "
                "to count everybody's ratings."
            )
        if self.curator_sessions and self.label_source == "public_aggregate":
            raise LabelConfigError(
                "curator_sessions is given together with label_source public_aggregate, which "
                "averages everybody's ratings. Choose label_source manual_only to count only "
                f"{_how_many(len(self.curator_sessions))}, or leave curator_sessions empty."
            )
        object.__setattr__(self, "curator_sessions", tuple(sorted(set(self.curator_sessions))))


def _how_many(sessions: int) -> str:
    return "that session" if sessions == 1 else f"those {sessions} sessions"
