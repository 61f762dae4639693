"""Which webcam goes into which split: deterministic, grouped, and frozen for ever."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from webcam_ml.errors import WebcamMLError

if TYPE_CHECKING:
    import polars as pl

SplitName = Literal["train", "val", "test"]
# From the least to the most reserved.
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)

BUCKETS = 100


class SplitConfigError(WebcamMLError):
    """The percentages do not describe three splits."""


@dataclass(frozen=True)
class SplitConfig:
    """How webcams are divided; users have frozen test splits made with these numbers.

    Attributes:
        seed: Enters the hash of every webcam; another seed is another division.
        train_pct, val_pct, test_pct: Integer percentages of the webcams that sum to 100.

    Raises:
        SplitConfigError: A percentage is not in 1..98 or the sum is not 100.
    """

    seed: int = 20260212
    train_pct: int = 70
    val_pct: int = 15
    test_pct: int = 15

    def __post_init__(self) -> None:
        percentages = {
            "train_pct": self.train_pct,
            "val_pct": self.val_pct,
            "test_pct": self.test_pct,
        }
        found = " + ".join(f"{name} {value}" for name, value in percentages.items())
        if any(value < 1 for value in percentages.values()):
            raise SplitConfigError(
                f"{found}: each split needs at least 1 percent of the webcams; training, tuning and "
                "judging cannot share one"
            )
        if sum(percentages.values()) != BUCKETS:
            raise SplitConfigError(
                f"{found} = {sum(percentages.values())}: the percentages must sum to 100"
            )

    def split_of(self, webcam_id: int) -> SplitName:
        """Name the split of one webcam (by the SHA-256 of ``"<webcam_id>|<seed>"``).

        >>> [SplitConfig().split_of(webcam) for webcam in (8190097, 11150763, 3512997)]
        ['val', 'train', 'test']
        """
        digest = hashlib.sha256(f"{webcam_id}|{self.seed}".encode()).hexdigest()
        bucket = int(digest[:8], 16) % BUCKETS
        if bucket < self.train_pct:
            return "train"
        return "val" if bucket < self.train_pct + self.val_pct else "test"

    def assign(
        self, webcam_ids: Iterable[int], *, groups: Iterable[Sequence[int]] = ()
    ) -> "pl.DataFrame":
        """Name the split of each distinct webcam: a frame with `webcam_id` and `split`.

        Args:
            webcam_ids: Ids, repeats allowed.
            groups: Webcams that are one camera. All go where the most reserved of them goes by its
                own id, test before val before train: no camera ever leaves a test split that was
                reported on, and a group that gains a member can only move towards test.
        """
        import polars as pl

        splits = {webcam: self.split_of(webcam) for webcam in sorted(set(webcam_ids))}
        for group in groups:
            reserved = max((self.split_of(webcam) for webcam in group), key=SPLIT_NAMES.index)
            splits |= {webcam: reserved for webcam in group if webcam in splits}
        return pl.DataFrame(
            {"webcam_id": list(splits), "split": list(splits.values())},
            schema={"webcam_id": pl.Int64, "split": pl.String},
        )
