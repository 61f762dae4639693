"""A judge that says the same as before is left alone whatever people rate, and one that moved is not."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from webcam_ml.dataset import TargetConfig
from webcam_ml.dataset.judges import (
    Calibration,
    HeardJudge,
    HeardJudges,
    JudgeComparison,
    calibrate_judge,
    compare_judges,
)
from webcam_ml_tests.dataset.judges.test_calibration import common, distorted

TARGETS = [TargetConfig(), TargetConfig(target_type="regression")]
BY_TYPE = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.target_type)


def world(seed: int) -> pl.DataFrame:
    return common(distorted, rows=2400, webcams=300, seed=seed)


def heard(*judges: Calibration) -> HeardJudges:
    return HeardJudges(tuple(HeardJudge(one, 9, None) for one in judges), {})


def compared(before: pl.DataFrame, now: pl.DataFrame, target: TargetConfig) -> JudgeComparison:
    sides = (heard(calibrate_judge("one", rows, target=target)) for rows in (before, now))
    (found,) = compare_judges(*sides, same_target=True)
    return found


@BY_TYPE
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_more_ratings_move_no_judge(target: TargetConfig, seed: int) -> None:
    rows = world(seed)
    webcams = rows["camera_id"].unique().to_list()[::2]
    half = rows.filter(pl.col("camera_id").is_in(webcams))
    found = compared(half, rows, target)
    assert found.differs is None
    assert not found.moved
    assert found.apart is not None
    assert found.apart_by_chance is not None
    assert 0 < found.apart < found.apart_by_chance


MOVES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "scores are higher": lambda rows: rows.with_columns((pl.col("score") + 0.1).clip(0, 1)),
    "people are stricter": lambda rows: rows.with_columns((pl.col("label_value") - 1).clip(1, 5)),
    "it guesses more": lambda rows: rows.with_columns(
        score=pl.col("score")
        + pl.Series(np.random.default_rng(0).normal(scale=0.25, size=rows.height))
    ),
}


@BY_TYPE
@pytest.mark.parametrize("name", MOVES)
def test_a_judge_that_moved_is_named_with_figures(target: TargetConfig, name: str) -> None:
    found = compared(world(0), MOVES[name](world(1)), target)
    assert found.moved
    assert found.differs is not None
    assert found.differs.startswith("one has moved: ")
    assert f"{found.apart:.3f} apart" in found.differs or f"{found.weight_now:.3f}" in found.differs


def test_who_speaks_now_and_did_not_or_the_other_way_round_is_told() -> None:
    sure = calibrate_judge("one", world(0), target=TARGETS[0])
    few = calibrate_judge("one", world(0).head(9), target=TARGETS[0])
    told = {
        (None, sure): "one speaks and was not heard before",
        (few, sure): f"one speaks and did not before: {few.reason}",
        (sure, None): "one spoke and is not heard any more",
        (sure, few): f"one spoke and does not any more: {few.reason}",
    }
    for sides, sentence in told.items():
        of_sides = (None if one is None else heard(one) for one in sides)
        (found,) = compare_judges(*of_sides, same_target=True)
        assert (found.differs, found.moved) == (sentence, False)
    assert compare_judges(None, heard(few), same_target=True) == []
    assert compare_judges(None, None, same_target=True) == []


def test_maps_of_different_targets_are_not_compared() -> None:
    before, now = (calibrate_judge("one", world(0), target=target) for target in TARGETS)
    (found,) = compare_judges(heard(before), heard(now), same_target=False)
    assert found.is_not_compared
    assert not found.moved


def test_the_digest_is_of_what_makes_labels_and_of_nothing_else() -> None:
    sure = calibrate_judge("one", world(0), target=TARGETS[0])
    silent = calibrate_judge("two", world(0).head(9), target=TARGETS[0])
    assert (
        heard(sure).calibration_sha256
        == HeardJudges(
            (HeardJudge(sure, 7, 0.3), HeardJudge(silent, 0, None)), {"val": 3}
        ).calibration_sha256
    )
    other = calibrate_judge("one", world(1), target=TARGETS[0])
    assert heard(other).calibration_sha256 != heard(sure).calibration_sha256
    assert heard(sure).weights == {"one": sure.weight}
