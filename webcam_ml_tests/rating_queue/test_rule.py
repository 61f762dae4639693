"""The rule by which frames are chosen, against a plain Python reference and its own promises."""

import random
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.dataset import SplitConfig
from webcam_ml.rating_queue import (
    RANDOM,
    UNCERTAIN,
    Shares,
    choose,
    newest_in_turn,
    shares_of,
    with_lots,
)

Row = dict[str, object]
SPLITS = ("train", "val", "test")
SCHEMA = {
    "snapshot_id": pl.Int64,
    "camera_id": pl.Int64,
    "split": pl.String,
    "rated": pl.Int64,
    "uncertainty": pl.Float64,
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Frames of a few cameras; the model has looked at some of those of training cameras."""
    cameras = draw(
        st.dictionaries(
            st.integers(1, 30), st.tuples(st.sampled_from(SPLITS), st.integers(0, 4)), max_size=15
        )
    )
    rows = []
    for snapshot, camera in enumerate(
        draw(st.lists(st.sampled_from(sorted(cameras)), max_size=40)) if cameras else []
    ):
        split, rated = cameras[camera]
        seen = split == "train" and draw(st.booleans())
        uncertainty = draw(st.sampled_from([0.01, 0.1, 0.2, 0.25])) if seen else None
        rows.append((snapshot + 1, camera, split, rated, uncertainty))
    return with_lots(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def shares(train: int = 2, uncertain: int = 4, val: int = 2, test: int = 2) -> Shares:
    return {
        ("train", RANDOM): train,
        ("train", UNCERTAIN): uncertain,
        ("val", RANDOM): val,
        ("test", RANDOM): test,
    }


def reference(rows: list[Row], wanted: Shares) -> dict[tuple[object, object], list[object]]:
    """Split and way of picking → snapshots, by loops over cameras."""
    by_camera: dict[object, list[Row]] = {}
    for row in rows:
        by_camera.setdefault(row["camera_id"], []).append(row)
    first = {camera: min(mine, key=lambda row: row["lot"]) for camera, mine in by_camera.items()}
    found: dict[tuple[object, object], list[object]] = {}
    taken = set()
    for split in SPLITS:
        mine = [row for row in first.values() if row["split"] == split]
        mine.sort(key=lambda row: (row["rated"], row["camera_lot"]))
        found[split, RANDOM] = [row["snapshot_id"] for row in mine[: wanted[split, RANDOM]]]
        taken |= {row["camera_id"] for row in mine[: wanted[split, RANDOM]]}
    best = []
    for camera, mine in by_camera.items():
        seen = [row for row in mine if row["uncertainty"] is not None]
        if camera not in taken and seen:
            best.append(min(seen, key=lambda row: (-row["uncertainty"], row["lot"])))
    best.sort(key=lambda row: (-row["uncertainty"] / (1 + row["rated"]), row["camera_lot"]))
    found["train", UNCERTAIN] = [row["snapshot_id"] for row in best[: wanted["train", UNCERTAIN]]]
    return found


def by_kind(picks: pl.DataFrame) -> dict[tuple[object, object], list[object]]:
    kinds: dict[tuple[object, object], list[object]] = {kind: [] for kind in shares()}
    for row in picks.iter_rows(named=True):
        kinds[row["split"], row["picked_by"]].append(row["snapshot_id"])
    return kinds


@given(frames())
def test_the_choice_is_that_of_a_plain_reference(candidates: pl.DataFrame) -> None:
    assert by_kind(choose(candidates, shares())) == reference(candidates.to_dicts(), shares())


@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_decides_nothing(
    candidates: pl.DataFrame, rng: random.Random
) -> None:
    order = list(range(candidates.height))
    rng.shuffle(order)
    assert choose(with_lots(candidates.drop("lot", "camera_lot")[order]), shares()).equals(
        choose(candidates, shares())
    )


@given(frames())
def test_a_camera_has_at_most_one_frame_in_a_queue(candidates: pl.DataFrame) -> None:
    assert choose(candidates, shares(9, 9, 9, 9))["camera_id"].is_unique().all()


@given(frames(), st.integers(0, 99))
def test_what_the_model_thinks_moves_no_frame_that_is_drawn_at_random(
    candidates: pl.DataFrame, seed: int
) -> None:
    others = pl.Series(np.random.default_rng(seed).uniform(0, 0.25, candidates.height))
    thought = candidates.with_columns(uncertainty=pl.when(pl.col("split") == "train").then(others))
    drawn = pl.col("picked_by") == RANDOM
    before, after = (choose(one, shares()).filter(drawn) for one in (candidates, thought))
    assert before["snapshot_id"].to_list() == after["snapshot_id"].to_list()


def test_each_frame_of_a_camera_is_as_likely_to_be_drawn() -> None:
    cameras, of_each = 4_000, 5
    candidates = with_lots(
        pl.DataFrame(
            {
                "snapshot_id": np.arange(cameras * of_each),
                "camera_id": np.repeat(np.arange(cameras), of_each),
                "split": "test",
                "rated": 0,
                "uncertainty": None,
            },
            schema=SCHEMA,
        )
    )
    picks = choose(candidates, shares(0, 0, 0, cameras))
    counts = Counter((picks["snapshot_id"] % of_each).to_list())
    # Five standard deviations of a binomial around what is expected.
    expected, deviation = cameras / of_each, (cameras * 0.2 * 0.8) ** 0.5
    assert all(abs(counts[i] - expected) < 5 * deviation for i in range(of_each))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 33, 200, 201, 10_000])
@pytest.mark.parametrize("random_share", [0.0, 0.1, 1.0])
def test_a_queue_is_divided_as_the_webcams_are(size: int, random_share: float) -> None:
    split = SplitConfig(train_pct=60, val_pct=25, test_pct=15)
    found = shares_of(size, split=split, random_share=random_share)
    assert sum(found.values()) == size
    assert min(found.values()) >= 0
    assert abs(found["val", RANDOM] - 0.25 * size) <= 0.5
    assert abs(found["test", RANDOM] - 0.15 * size) <= 0.5
    train = found["train", RANDOM] + found["train", UNCERTAIN]
    assert abs(found["train", RANDOM] - random_share * train) <= 0.5


def test_without_a_model_everything_is_drawn_at_random() -> None:
    found = shares_of(200, split=SplitConfig(), random_share=0.1, has_model=False)
    assert found == shares(140, 0, 30, 30)


def test_each_beginning_of_a_queue_has_every_kind_in_its_share() -> None:
    candidates = with_lots(
        pl.DataFrame(
            {
                "snapshot_id": np.arange(1_000),
                "camera_id": np.arange(1_000),
                "split": ["train"] * 700 + ["val"] * 150 + ["test"] * 150,
                "rated": 0,
                "uncertainty": [0.2] * 700 + [None] * 300,
            },
            schema=SCHEMA,
        )
    )
    wanted = shares_of(200, split=SplitConfig(), random_share=0.1)
    picks = choose(candidates, wanted)
    for rows in (20, 50, 100, 200):
        counts = Counter(picks.head(rows).select("split", "picked_by").iter_rows())
        assert all(abs(counts[kind] - n * rows / 200) <= 1 for kind, n in wanted.items()), rows


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.none() | st.integers(10, 28).map("2026-02-{}".format)),
        max_size=20,
    ),
    st.integers(1, 12),
)
def test_the_pool_is_the_newest_of_each_camera_in_turn(
    rows: list[tuple[int, str | None]], size: int
) -> None:
    pool = newest_in_turn(
        pl.DataFrame(
            [(number, *row) for number, row in enumerate(rows)],
            schema={"snapshot_id": pl.Int64, "camera_id": pl.Int64, "captured_at": pl.String},
            orient="row",
        ),
        size,
    )
    newest_first = sorted(
        ((at or "", number, camera) for number, (camera, at) in enumerate(rows)), reverse=True
    )
    seen: Counter[int] = Counter()
    turns = []
    for place, (_, number, camera) in enumerate(newest_first):
        seen[camera] += 1
        turns.append((seen[camera], place, number))
    assert pool["snapshot_id"].to_list() == [number for *_, number in sorted(turns)][:size]
