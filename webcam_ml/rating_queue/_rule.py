"""Which frames are rated next: a pure function of what is known of each.

Cameras of validation and test are judged on, so their frames are drawn at random, whatever the model
thinks: a test split of pictures that a model is undecided about would make it look as good as a coin.
Cameras of training are asked where the model is undecided and little of the camera is rated.
What that was worth in a simulated world stands in ``docs/curating.md``.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from webcam_ml.dataset import SPLIT_NAMES, SplitConfig, SplitName

PickedBy: TypeAlias = Literal["random", "uncertain"]
RANDOM: PickedBy = "random"
UNCERTAIN: PickedBy = "uncertain"
# How many frames of a queue come from which split, and by which way of picking.
Shares: TypeAlias = Mapping[tuple[SplitName, PickedBy], int]

LOTS_SEED = 0


def shares_of(
    size: int, *, split: SplitConfig, random_share: float, has_model: bool = True
) -> Shares:
    """Divide a queue among splits and ways of picking.

    >>> shares = shares_of(200, split=SplitConfig(), random_share=0.1)
    >>> [shares[key] for key in shares]
    [14, 126, 30, 30]

    Args:
        size: Frames in the queue.
        split: How webcams are divided; the queue is divided by the same percentages.
        random_share: Of the frames of training webcams, how many are drawn at random.
        has_model: Whether there is a model that could be undecided; if not, all are drawn at random.
    """
    val, test = (round(size * percent / 100) for percent in (split.val_pct, split.test_pct))
    train = size - val - test
    drawn = round(train * random_share) if has_model else train
    return {
        ("train", RANDOM): drawn,
        ("train", UNCERTAIN): train - drawn,
        ("val", RANDOM): val,
        ("test", RANDOM): test,
    }


def newest_in_turn(frames: pl.DataFrame, size: int) -> pl.DataFrame:
    """Take the newest frame of each camera, then the second newest of each, and so on.

    Args:
        frames: With `snapshot_id`, `camera_id` and `captured_at` (ISO 8601 in UTC; null counts as the
            oldest).
        size: How many at most.
    """
    newest_first = frames.sort("captured_at", "snapshot_id", descending=True, nulls_last=True)
    return (
        newest_first.with_columns(turn=pl.col("snapshot_id").cum_count().over("camera_id"))
        .sort("turn", maintain_order=True)
        .head(size)
        .drop("turn")
    )


def with_lots(frames: pl.DataFrame) -> pl.DataFrame:
    """Give each frame a `lot` and each camera a `camera_lot`: the order in which chance takes them.

    Equal frames get equal lots, in whatever order they come.

    Args:
        frames: With `snapshot_id` and `camera_id`.
    """
    rng = np.random.default_rng(LOTS_SEED)
    ids = frames["snapshot_id"].sort()
    cameras = frames["camera_id"].unique().sort()
    return frames.join(
        pl.DataFrame({"snapshot_id": ids, "lot": rng.permutation(len(ids))}),
        on="snapshot_id",
        how="left",
        maintain_order="left",
    ).join(
        pl.DataFrame({"camera_id": cameras, "camera_lot": rng.permutation(len(cameras))}),
        on="camera_id",
        how="left",
        maintain_order="left",
    )


def uncertainty(raw_score: pl.Expr) -> pl.Expr:
    """Give p(1 − p) of a score p in 0–1.

    For a probability it is the variance of the answer. For a rating scaled to 0–1 it is the largest
    variance that ratings with this mean can have (Bhatia and Davis 2000).
    """
    return raw_score * (1 - raw_score)


def choose(candidates: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """Choose the frames to rate next, at most one of a camera.

    At random: the cameras with the fewest rated frames first, a frame of each by lot. Undecided: the
    frames with the largest p(1 − p) / (1 + rated frames of the camera).

    Args:
        candidates: Frames that may be shown, in any order: `snapshot_id`, `camera_id`, `split`, `rated`
            (rated frames of the camera), `uncertainty` (null: the model has not looked at it), and what
            `with_lots` gives.
        shares: How many of each kind; where there are too few cameras, there are fewer.

    Returns:
        The chosen rows with `picked_by`, in the order in which to rate them: each beginning of the queue
        has every kind in its share.
    """
    of_each_camera = (
        candidates.sort("lot")
        .unique("camera_id", keep="first", maintain_order=True)
        .sort("rated", "camera_lot")
    )
    drawn = pl.concat(
        of_each_camera.filter(pl.col("split") == split).head(shares[split, RANDOM])
        for split in SPLIT_NAMES
    )
    undecided = (
        candidates.filter(pl.col("split") == "train", pl.col("uncertainty").is_not_null())
        .join(drawn, on="camera_id", how="anti")
        .with_columns(worth=pl.col("uncertainty") / (1 + pl.col("rated")))
        .sort(["worth", "camera_lot", "lot"], descending=[True, False, False])
        .unique("camera_id", keep="first", maintain_order=True)
        .head(shares["train", UNCERTAIN])
        .drop("worth")
    )
    kind = pl.struct("split", "picked_by")
    return (
        pl.concat(
            [
                drawn.with_columns(picked_by=pl.lit(RANDOM)),
                undecided.with_columns(picked_by=pl.lit(UNCERTAIN)),
            ]
        )
        .with_columns(
            place=(pl.col("snapshot_id").cum_count().over(kind) - 0.5) / pl.len().over(kind)
        )
        .sort("place", "split", "picked_by")
        .drop("place")
    )
