"""Calibration of judges, against scikit-learn and in a simulated world where the truth is known."""

import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import polars as pl
import pytest
from scipy.optimize import linprog
from scipy.sparse import block_array, csr_array, diags_array, eye_array
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import f1_score

from webcam_ml.dataset import TargetConfig
from webcam_ml.dataset.judges import (
    MIN_POSITIVES,
    MIN_ROWS,
    MIN_WEBCAMS,
    Calibration,
    calibrate_judge,
    fit_mean,
    fit_median,
    population_stability,
)

Array = np.ndarray
BINARY, REGRESSION = TargetConfig(), TargetConfig(target_type="regression")
T = TypeVar("T", pl.Expr, pl.Series)
Judge = Callable[[Array, np.random.Generator], Array]


def distorted(beauty: Array, random: np.random.Generator) -> Array:
    """A judge with a scale of its own in steps of .05: what is ordinary is all zero to it."""
    seen = beauty + random.normal(scale=0.6, size=len(beauty))
    return np.round(np.clip(0.25 + 0.2 * seen, 0, 1) ** 1.5 / 0.05) * 0.05


JUDGES: dict[str, Judge] = {
    "distorted": distorted,
    "noise": lambda beauty, random: np.round(random.uniform(size=len(beauty)), 2),
    "constant": lambda beauty, random: np.full(len(beauty), 0.4),
    "inverted": lambda beauty, random: 1 - distorted(beauty, random),
}


def common(judge: Judge, *, webcams: int = 150, seed: int = 0, rows: int = 1200) -> pl.DataFrame:
    """Snapshots that people and a judge judged; webcams differ in size and in beauty."""
    random = np.random.default_rng(seed)
    share = random.pareto(1.2, webcams) + 0.2
    camera = np.sort(random.choice(webcams, rows, p=share / share.sum()))
    beauty = 0.6 * random.normal(size=webcams)[camera] + random.normal(size=rows)
    stars = np.clip(np.round(2 + 1.4 * beauty + random.normal(scale=0.5, size=rows)), 1, 5)
    return pl.DataFrame({"camera_id": camera, "label_value": stars, "score": judge(beauty, random)})


@pytest.mark.parametrize("seed", range(4))
def test_the_map_of_means_is_the_isotonic_regression_of_scikit_learn(seed: int) -> None:
    frame = common(distorted, seed=seed)
    score, stars = frame["score"].to_numpy(), frame["label_value"].to_numpy()
    reference = IsotonicRegression().fit(score, stars).predict(score)
    fitted = fit_mean(score, stars)
    np.testing.assert_allclose(fitted(score), reference, atol=1e-6)
    assert fitted(np.array([-9.0, 9.0])).tolist() == [
        reference.min().round(6),
        reference.max().round(6),
    ]
    values = [value for _, value in fitted.knots]
    assert values == sorted(values)


def least_absolute_error(score: Array, value: Array) -> float:
    """The least sum of distances that a non-decreasing map can have, by linear programming."""
    at, code = np.unique(score, return_inverse=True)
    rows, levels = len(value), len(at)
    picks = csr_array((np.ones(rows), (np.arange(rows), code)), shape=(rows, levels))
    rises = diags_array([-np.ones(levels), np.ones(levels - 1)], offsets=[0, 1])
    rises = rises.tocsr()[: levels - 1]
    no_distance = csr_array((levels - 1, rows))
    found = linprog(
        np.concatenate([np.zeros(levels), np.ones(rows)]),
        A_ub=block_array(
            [[picks, -eye_array(rows)], [-picks, -eye_array(rows)], [-rises, no_distance]]
        ),
        b_ub=np.concatenate([value, -value, np.zeros(levels - 1)]),
        bounds=(None, None),
    )
    return float(found.fun)


@pytest.mark.parametrize("seed", range(4))
def test_no_map_that_never_falls_is_nearer_to_the_stars_than_that_of_medians(seed: int) -> None:
    frame = common(distorted, seed=seed, rows=400)
    score, stars = frame["score"].to_numpy(), frame["label_value"].to_numpy()
    fitted = fit_median(score, stars)
    assert np.abs(fitted(score) - stars).sum() == pytest.approx(least_absolute_error(score, stars))
    values = [value for _, value in fitted.knots]
    assert values == sorted(values)
    # Of one score alone it is the median, the middle of two of an even number.
    for rows in (7, 8):
        alone = np.arange(rows, dtype=np.float64) ** 2
        assert fit_median(np.zeros(rows), alone).knots == ((0.0, np.median(alone)),)


def test_between_two_scores_lies_the_mean_of_both_and_on_a_level_the_level() -> None:
    fitted = fit_mean(np.array([0.0, 0.2, 0.4, 1.0]), np.array([1.0, 3.0, 2.0, 5.0]))
    assert fitted.knots == ((0.0, 1.0), (0.2, 2.5), (0.4, 2.5), (1.0, 5.0))
    found = fitted(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.99]))
    assert found.tolist() == [1.0, 1.75, 2.5, 2.5, 2.5, 3.75]


def _bend(score: T) -> T:
    """Increasing, and the same to the last bit for one number and for many."""
    return score * score * score + score * 2 - 7


@pytest.mark.parametrize("target", [BINARY, REGRESSION], ids=["binary", "regression"])
def test_an_increasing_distortion_of_all_scores_changes_no_value(target: TargetConfig) -> None:
    frame = common(distorted)
    bent = frame.with_columns(_bend(pl.col("score")))
    one, two = (calibrate_judge("one", rows, target=target) for rows in (frame, bent))
    assert one.stars is not None
    assert two.stars is not None
    assert one.target is not None
    assert two.target is not None
    seen = frame["score"].unique().sort()
    new = pl.concat([seen, seen + 0.02, seen - 0.89])
    for before, after in ((one.stars, two.stars), (one.target, two.target)):
        assert before(new.to_numpy()).tolist() == after(_bend(new).to_numpy()).tolist()
    assert (one.weight, one.spread, one.mae) == (two.weight, two.spread, two.mae)


@pytest.mark.parametrize("target", [BINARY, REGRESSION], ids=["binary", "regression"])
def test_a_distorted_judge_speaks_in_stars_that_hold_on_other_webcams(target: TargetConfig) -> None:
    judged = calibrate_judge("one", common(distorted, rows=3000, webcams=200), target=target)
    assert judged.speaks
    assert judged.stars is not None
    unseen = common(distorted, rows=3000, webcams=200, seed=1)
    said = judged.stars(unseen["score"].to_numpy())
    people = unseen["label_value"].to_numpy()
    assert abs((said - people).mean()) < 0.15
    assert judged.spread is not None
    assert judged.spread == pytest.approx(np.sqrt(((said - people) ** 2).mean()), rel=0.15)
    assert judged.mae is not None
    assert judged.mae.value == pytest.approx(np.abs(said - people).mean(), rel=0.15)
    # As if its scores were stars on a scale of 0 to 1, it would be far off.
    as_stars = 1 + 4 * unseen["score"].to_numpy()
    assert ((as_stars - people) ** 2).mean() > 1.1 * ((said - people) ** 2).mean()
    assert abs((as_stars - people).mean()) > 0.15
    assert 0 < judged.weight < 0.5


@pytest.mark.parametrize("name", ["noise", "constant", "inverted"])
@pytest.mark.parametrize("seed", range(5))
def test_a_judge_without_a_relation_does_not_speak(name: str, seed: int) -> None:
    judged = calibrate_judge(name, common(JUDGES[name], seed=seed), target=BINARY)
    assert not judged.speaks
    assert judged.reason is not None
    assert "AUC" in judged.reason


def test_of_very_many_rows_the_maps_take_all_and_the_intervals_whole_webcams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = common(distorted, rows=3000)
    whole = calibrate_judge("judge", frame, target=BINARY)
    monkeypatch.setattr("webcam_ml.dataset.judges._calibration.MEASURED_ROWS", 600)
    part = calibrate_judge("judge", frame, target=BINARY)
    for name in ("overlap", "stars", "target", "spread", "cut", "weight"):
        assert getattr(part, name) == getattr(whole, name)
    assert part.auc is not None
    assert whole.auc is not None
    assert part.auc.value == pytest.approx(whole.auc.value, abs=0.1)
    assert part.auc.high - part.auc.low > whole.auc.high - whole.auc.low


def test_stars_to_learn_from_rise_as_far_as_those_of_people() -> None:
    frame = common(distorted, rows=3000)
    judge = calibrate_judge("judge", frame, target=REGRESSION)
    stars, score = frame["label_value"].to_numpy(), frame["score"].to_numpy()
    assert judge.target is not None
    learned, means = judge.target(score), fit_mean(score, stars)(score)
    assert learned.mean() == pytest.approx(stars.mean(), abs=1e-4)
    # Where people's stars rise by one, means by score rise by less, what is learned from by one.
    assert np.polyfit(stars, means, 1)[0] < 0.8
    assert np.polyfit(stars, learned, 1)[0] == pytest.approx(1, abs=1e-4)
    assert np.corrcoef(learned, means)[0, 1] == pytest.approx(1)


def test_the_cut_is_the_score_with_the_best_f1() -> None:
    frame = common(distorted)
    score, positive = frame["score"].to_numpy(), frame["label_value"].to_numpy() >= 4
    judged = calibrate_judge("one", frame, target=BINARY)
    best = {cut: f1_score(positive, score >= cut) for cut in np.unique(score)}
    assert judged.cut == max(cut for cut, f1 in best.items() if f1 == max(best.values()))


def test_too_little_in_common_is_told_with_numbers() -> None:
    few = calibrate_judge("one", common(distorted, rows=5), target=BINARY)
    assert few.reason == (
        f"5 snapshots of training webcams that people judged too; {MIN_ROWS} are needed to learn its "
        "scale"
    )
    assert few.to_dict()["knots"] == []
    one_webcam = common(distorted).with_columns(camera_id=pl.lit(7))
    of_one = calibrate_judge("one", one_webcam, target=BINARY).reason
    assert of_one is not None
    assert of_one.startswith("1 training webcams")
    assert f"{MIN_WEBCAMS} are needed" in of_one
    dull = common(distorted).with_columns(pl.col("label_value").clip(upper_bound=3))
    without = calibrate_judge("one", dull, target=BINARY).reason
    assert without is not None
    assert without.startswith("0 of them that people gave at least 4 stars")
    assert f"{MIN_POSITIVES} are needed" in without
    none = calibrate_judge("one", common(distorted).head(0), target=BINARY)
    assert none.overlap.rows == 0
    assert not none.speaks


@pytest.mark.parametrize("name", JUDGES)
def test_what_is_stored_is_read_back(name: str) -> None:
    judged = calibrate_judge(name, common(JUDGES[name]), target=BINARY)
    assert Calibration.from_dict(json.loads(json.dumps(judged.to_dict()))) == judged
    few = calibrate_judge(name, common(JUDGES[name], rows=9), target=BINARY)
    assert Calibration.from_dict(json.loads(json.dumps(few.to_dict()))) == few


def test_scores_of_another_kind_of_picture_are_noticed() -> None:
    random = np.random.default_rng(0)
    seen = random.beta(2, 5, 4000)
    assert population_stability(seen[:2000], seen[2000:]) < 0.05
    assert population_stability(seen, random.beta(5, 2, 2000)) > 0.25
    assert population_stability(np.full(9, 0.4), np.full(5, 0.4)) == 0.0
