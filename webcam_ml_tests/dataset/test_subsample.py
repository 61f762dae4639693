"""Training rows beyond what a head is trained on: of each camera equally many."""

import hashlib

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.dataset import RowsWithPictures


def rows_of(sizes: list[int]) -> RowsWithPictures:
    cameras = [camera for camera, size in enumerate(sizes) for _ in range(size)]
    digests = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(len(cameras))]
    return RowsWithPictures(
        pl.DataFrame({"camera_id": cameras, "sha256": digests}).sample(
            fraction=1.0, shuffle=True, seed=0
        ),
        {},
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 400))
def test_each_camera_has_the_same_part_or_all_that_it_has(sizes: list[int], limit: int) -> None:
    rows = rows_of(sizes)
    kept = rows.at_most(limit).frame
    found = dict(kept.group_by("camera_id").len().iter_rows())
    part = max(found.values())
    assert part == 1 or kept.height <= limit
    if sum(sizes) <= limit:
        assert kept.equals(rows.frame)
        return
    assert found == {camera: min(size, part) for camera, size in enumerate(sizes)}
    # One more of each would be too many.
    assert sum(min(size, part + 1) for size in sizes) > limit
    # The order stays, and so does who was there when there were fewer.
    assert kept.equals(rows.frame.filter(pl.col("sha256").is_in(kept["sha256"].to_list())))
    fewer = rows.at_most(max(1, limit // 2)).frame
    assert set(fewer["sha256"]) <= set(kept["sha256"])
