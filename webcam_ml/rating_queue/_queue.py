"""The artifact of this package: the frames to rate next, and an account of what was left out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import JUDGE_CONFLICTS_TABLE, RATING_QUEUE_TABLE, Document
from webcam_ml.rating_queue._files import JUDGE_CONFLICTS_FILE, META_FILE, RATING_QUEUE_FILE

META = Document(META_FILE, made_by="rating_queue")


@dataclass(frozen=True)
class Share:
    """How many frames of one kind a queue has.

    Attributes:
        split: Of their webcams.
        picked_by: `random` or `uncertain`.
        wanted: How many there should be.
        found: How many there are: fewer where too few cameras have a frame to show.
    """

    split: str
    picked_by: str
    wanted: int
    found: int


@dataclass(frozen=True)
class QueueMeta:
    """The content of rating_queue.json.

    Attributes:
        size, pool, random_share: As they were asked for.
        rated: Snapshots that somebody voted on.
        rated_since_or_dropped: Those of them that have no label of people in the manifest: rated since
            the labels were read, or dropped there.
        unrated: Snapshots that nobody voted on.
        scored: Frames that the model looked at.
        shares: What the queue is made of.
        not_shown: Reason → unrated snapshots that were not chosen because of it; of pictures, among
            those that were looked at.
        unreadable: Why pictures could not be read → how many.
        conflicts: Snapshots on which people and judges differ by a star or more, of which the list has
            the first `size`; None where the labels hear no judges.
    """

    size: int
    pool: int
    random_share: float
    rated: int
    rated_since_or_dropped: int
    unrated: int
    scored: int
    shares: tuple[Share, ...]
    not_shown: Mapping[str, int]
    unreadable: Mapping[str, int]
    conflicts: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        names = cls.__dataclass_fields__
        found = {name: value for name, value in values.items() if name in names}
        return cls(**{**found, "shares": tuple(Share(**one) for one in values["shares"])})

    @property
    def shortfall(self) -> str | None:
        """Why the queue is shorter than was asked for, in a sentence; None if it is not."""
        found = sum(share.found for share in self.shares)
        if found == self.size:
            return None
        if not self.unrated:
            return f"There is nothing to rate: all {self.rated:,} snapshots are rated."
        left_out = ", ".join(
            f"{count:,} {reason}" for reason, count in self.not_shown.items() if count
        )
        why = f" Not shown: {left_out}." if left_out else ""
        if failures := ", ".join(f"{count:,} {why}" for why, count in self.unreadable.items()):
            why += f" Unreadable: {failures}; the log names examples and settings."
        if not found:
            return f"None of the {self.unrated:,} unrated snapshots can be shown.{why}"
        short = ", ".join(
            f"{share.found} of {share.wanted} of {share.split} ({share.picked_by})"
            for share in self.shares
            if share.found < share.wanted
        )
        return (
            f"The queue has {found:,} of {self.size:,} frames, since one has at most one frame of a "
            f"camera and too few cameras have one to show: {short}.{why}"
        )


@dataclass(frozen=True, eq=False)
class RatingQueue:
    """The frames to rate next.

    Attributes:
        frame: The columns of `RATING_QUEUE_TABLE`, in the order in which to rate.
        meta: What it was made of.
        conflicts: Where people and judges differ most, the columns of `JUDGE_CONFLICTS_TABLE`; None
            where the labels hear no judges.
    """

    frame: pl.DataFrame
    meta: QueueMeta
    conflicts: pl.DataFrame | None = None

    def save(self, folder: Path) -> None:
        """Write rating_queue.csv, rating_queue.json and, where judges are heard, judge_conflicts.csv.

        Equal queues give equal bytes.
        """
        RATING_QUEUE_TABLE.write(self.frame, folder / RATING_QUEUE_FILE)
        if self.conflicts is not None:
            JUDGE_CONFLICTS_TABLE.write(self.conflicts, folder / JUDGE_CONFLICTS_FILE)
        META.write(folder, self.meta.to_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            TableError: A table lacks a column that is needed.
            DocumentError: rating_queue.json cannot be read.
        """
        conflicts = folder / JUDGE_CONFLICTS_FILE
        return cls(
            frame=RATING_QUEUE_TABLE.read(folder / RATING_QUEUE_FILE),
            meta=META.read_as(folder, QueueMeta.from_dict),
            conflicts=JUDGE_CONFLICTS_TABLE.read(conflicts) if conflicts.exists() else None,
        )
