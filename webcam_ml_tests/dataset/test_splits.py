import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.contracts import SettingsError
from webcam_ml.dataset import SplitConfig


@pytest.mark.parametrize(
    ("webcam", "split"), [(8190097, "val"), (11150763, "train"), (3512997, "test")]
)
def test_frozen_splits_of_existing_users_are_reproduced(webcam: int, split: str) -> None:
    assert SplitConfig().split_of(webcam) == split


@given(st.integers(0, 2**40), st.integers(0, 2**32), st.integers(1, 98), st.data())
def test_assignment_follows_the_published_rule(
    webcam: int, seed: int, train: int, data: st.DataObject
) -> None:
    val = data.draw(st.integers(1, 99 - train))
    config = SplitConfig(seed=seed, train_pct=train, val_pct=val, test_pct=100 - train - val)
    text = str(webcam) + "|" + str(seed)
    bucket = int(hashlib.new("sha256", text.encode("ascii")).hexdigest()[0:8], 16) % 100
    expected = "train" if bucket < train else "val" if bucket < train + val else "test"
    assert config.split_of(webcam) == expected


@given(st.lists(st.integers(1, 10**6), min_size=1), st.lists(st.integers(1, 10**6)))
def test_a_webcam_never_moves_when_labels_grow(before: list[int], added: list[int]) -> None:
    config = SplitConfig()
    earlier = dict(config.assign(before).iter_rows())
    later = dict(config.assign(before + added).iter_rows())
    assert earlier.items() <= later.items()


@pytest.mark.parametrize(
    ("percentages", "message"),
    [
        ((70, 20, 15), "train_pct 70 \\+ val_pct 20 \\+ test_pct 15 = 105: .* sum to 100"),
        ((85, 15, 0), "test_pct is 0; it must be a whole number from 1 to 98"),
        ((120, -10, -10), "(?s)train_pct is 120.*val_pct is -10.*test_pct is -10"),
    ],
)
def test_percentages_that_do_not_divide_are_refused(
    percentages: tuple[int, int, int], message: str
) -> None:
    train, val, test = percentages
    with pytest.raises(SettingsError, match=message):
        SplitConfig(train_pct=train, val_pct=val, test_pct=test)
