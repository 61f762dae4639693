"""Which webcam goes into which split: deterministic, grouped, and frozen for ever."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.contracts import Settings, Why

if TYPE_CHECKING:
    import polars as pl

SplitName = Literal["train", "val", "test"]
# From the least to the most reserved.
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)

BUCKETS = 100


Percentage: TypeAlias = Annotated[
    int, Why("training, tuning and judging cannot share webcams, and the three sum to 100")
]


class SplitConfig(Settings):
    """How webcams are divided; users have frozen test splits made with these numbers."""

    seed: int = Field(
        default=20260212,
        description="Of the split. Another seed is another division of all webcams",
    )
    train_pct: Percentage = Field(default=70, ge=1, le=98, description="Percent of the webcams")
    val_pct: Percentage = Field(default=15, ge=1, le=98, description="Percent of the webcams")
    test_pct: Percentage = Field(default=15, ge=1, le=98, description="Percent of the webcams")

    @field_validator("test_pct")
    @classmethod
    def _sum_to_100(cls, test_pct: int, info: ValidationInfo) -> int:
        if {"train_pct", "val_pct"} <= info.data.keys():
            train_pct, val_pct = info.data["train_pct"], info.data["val_pct"]
            if (total := train_pct + val_pct + test_pct) != BUCKETS:
                raise ValueError(
                    f"train_pct {train_pct} + val_pct {val_pct} + test_pct {test_pct} = {total}: the "
                    "percentages must sum to 100"
                )
        return test_pct

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
