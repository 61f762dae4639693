"""What a user asks of the label database: whose ratings count, and how many a snapshot needs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels._sources import LABEL_SOURCES, LabelSource


class LabelConfigError(WebcamMLError):
    """A setting of `LabelQuery` makes no sense, alone or beside the others."""


@dataclass(frozen=True)
class LabelQuery:
    """Which ratings make a label.

    Attributes:
        label_source: Name of one of `LABEL_SOURCES`, which say what each makes of the ratings.
        min_rating_count: How many ratings a label must rest on, at least 1.
        curator_sessions: The only sessions whose ratings count; empty means everybody's. Kept
            sorted and without repetition, because their order means nothing.

    Raises:
        LabelConfigError: An unknown source, a minimum below 1, a blank session, or sessions
            together with a source that counts everybody's ratings.
    """

    label_source: str = "manual_only"
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
        if self.curator_sessions and not self.source.takes_sessions:
            others = [source.name for source in LABEL_SOURCES.values() if source.takes_sessions]
            raise LabelConfigError(
                f"curator_sessions is given together with label_source {self.label_source}, which "
                f"counts everybody's ratings. Choose label_source {' or '.join(others)} to count "
                f"only {_how_many(len(self.curator_sessions))}, or leave curator_sessions empty."
            )
        object.__setattr__(self, "curator_sessions", tuple(sorted(set(self.curator_sessions))))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON, by which stored documents name the query."""
        return asdict(self) | {"curator_sessions": list(self.curator_sessions)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Take the query out of a document, which may hold more beside it.

        What came later and is not in an older document has its default. Nothing is judged again: a
        store outlives a label source that was in use once.
        """
        query = cls.__new__(cls)
        for field in fields(cls):
            value = values.get(field.name, field.default)
            object.__setattr__(query, field.name, tuple(value) if type(value) is list else value)
        return query

    @property
    def source(self) -> LabelSource:
        """What `label_source` names."""
        return LABEL_SOURCES[self.label_source]

    @property
    def takes_cached(self) -> bool:
        """Whether labels are the application's cached averages instead of rating rows."""
        return self.source.prefers_cached and not self.curator_sessions


def _how_many(sessions: int) -> str:
    return "that session" if sessions == 1 else f"those {sessions} sessions"
