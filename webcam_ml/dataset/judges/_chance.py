"""How far a calibration may be off by chance: learned again from webcams drawn anew.

Two calibrations of one judge are never equal, since people rate more every day. By what chance
alone moves, one can tell whether the judge has.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.judges._monotone import MonotoneMap, fit_mean, fit_sums

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

TYPICAL_SCORES = 20
DRAWS = 200
RANDOM_STATE = 0
# Two things may move, so together they do by chance in 5 of 100 calibrations of other webcams.
CERTAINTY = 0.975


@dataclass(frozen=True)
class Chance:
    """What 975 of 1,000 draws stay within.

    Attributes:
        target: Distance of the map of targets, as `distance` has it.
        skill: Distance of the skill.
    """

    target: float
    skill: float


def typical_scores(score: Array) -> Array:
    """Take scores of which each stands for an equal part of all, [rows] → [TYPICAL_SCORES]."""
    middles = (np.arange(TYPICAL_SCORES) + 0.5) / TYPICAL_SCORES
    return np.asarray(np.quantile(score, middles, method="inverted_cdf"), dtype=np.float64)


def distance(one: MonotoneMap, other: MonotoneMap, *, at: Array) -> float:
    """Measure how far two maps are apart: the root mean square over some scores."""
    return float(np.sqrt(np.mean((one(at) - other(at)) ** 2)))


def skill(target: Array, predicted: Array) -> float:
    """Compute 1 − squared error / variance, and 0 where that is below or nothing varies.

    Args:
        target: [rows].
        predicted: [rows].
    """
    variance = float(target.var())
    if variance == 0:
        return 0.0
    return max(0.0, 1.0 - float(np.mean((target - predicted) ** 2)) / variance)


def chance_of(
    score: Array, target: Array, unseen: Array, cameras: Groups, *, typical: Array
) -> Chance:
    """Draw webcams anew and see how far the map of targets and the skill move.

    Args:
        score: [rows] of the judge.
        target: [rows] of people.
        unseen: [rows] what maps that have not seen the row's webcam give.
        cameras: [rows] the webcam.
        typical: Where maps are compared.
    """
    _, camera = np.unique(cameras, return_inverse=True)
    webcams = int(camera.max()) + 1
    times = np.random.default_rng(RANDOM_STATE).multinomial(
        webcams, np.full(webcams, 1 / webcams), size=DRAWS
    )
    maps = _distances(score, target, camera, times, typical=typical)
    skills = np.abs(_skills(target, unseen, camera, times) - skill(target, unseen))
    return Chance(float(np.quantile(maps, CERTAINTY)), float(np.quantile(skills, CERTAINTY)))


def _distances(
    score: Array, target: Array, camera: Groups, times: Groups, *, typical: Array
) -> Array:
    """[draws] how far the map of the webcams that are drawn is from that of all."""
    from scipy.sparse import csr_array

    whole = fit_mean(score, target)
    at, code = np.unique(score, return_inverse=True)
    shape = (times.shape[1], len(at))
    rows, totals = (
        csr_array((values, (camera, code)), shape=shape) for values in (np.ones(len(score)), target)
    )
    drawn = (fit_sums(at, weight @ rows, weight @ totals) for weight in times.astype(np.float64))
    return np.array([distance(one, whole, at=typical) for one in drawn])


def _skills(target: Array, unseen: Array, camera: Groups, times: Groups) -> Array:
    """[draws] the skill on the webcams that are drawn."""
    number, total, squares, errors = (
        times @ np.bincount(camera, weights=values)
        for values in (np.ones(len(target)), target, target**2, (target - unseen) ** 2)
    )
    variance = squares - total**2 / number
    varies = variance > 0
    return np.where(varies, np.maximum(0.0, 1.0 - errors / np.where(varies, variance, 1.0)), 0.0)
