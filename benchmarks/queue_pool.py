"""The measured process: the unrated snapshots of a database, and those that the model would look at.

python -m benchmarks.queue_pool URL
"""

import hashlib
import sys
from collections.abc import Iterable

from benchmarks.measure import tell

POOL = 20_000


def main() -> None:
    from webcam_ml.dataset import SplitConfig
    from webcam_ml.labels import LabelDatabase, LabelQuery, read_unrated
    from webcam_ml.rating_queue import newest_in_turn

    unrated = read_unrated(LabelDatabase(sys.argv[1]), LabelQuery()).frame
    splits = SplitConfig().assign(unrated["webcam_id"].unique())
    train = unrated.join(splits.filter(split="train"), on="webcam_id", how="semi")
    chosen = newest_in_turn(train.with_columns(camera_id="webcam_id"), POOL)
    tell(pool=digest_of(chosen["snapshot_id"]))


def digest_of(ids: Iterable[int]) -> str:
    """Name a list of ids, to compare two ways of making it."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


if __name__ == "__main__":
    main()
