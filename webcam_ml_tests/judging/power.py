"""How often candidates of known worth pass `not_worse_than_champion`, alone and as one of thirty.

The world is that of `webcam_ml_tests.metrics.coverage`: webcams of very unequal size, beauty and
mistakes that resemble each other within a webcam, stars distributed as in real data. The live model
has an AUC of 0.85. Print the tables of ``docs/promotion.md`` with

    python -m webcam_ml_tests.judging.power --repetitions 1000
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from webcam_ml.judging import MAX_ROWS_OF_A_CAMERA, ComparisonSettings, allowed_error
from webcam_ml.metrics import METRICS, WebcamBootstrap, WebcamEstimate, effective_webcams
from webcam_ml.progress import track
from webcam_ml_tests.metrics.coverage import INTRACLASS_CORRELATION, SIZES, STAR_CUTS

# A test split of 15 % of about 5,000 rated snapshots, and that of the demo.
TEST_SPLITS = {
    "real": SIZES,
    "demo": np.array([12, 11, 10, 10, 8, 8, 8, 4, 4, 4, 3, *[2] * 11, *[1] * 13]),
}
# A linear probe is judged on validation and test, which have the same sizes; another model on test.
WORLDS = {
    name: np.concatenate([sizes] * splits)
    for of, sizes in TEST_SPLITS.items()
    for name, splits in ((f"{of}, validation and test", 2), (f"{of}, test only", 1))
}
# The least that a pair must have: 100 rows of 20 webcams that are worth five equal ones.
SMALLEST = np.array([30, 30, 6, *[2] * 17])
# The share of their mistakes that two models have in common: of a retrained head on the same
# backbone most, of another backbone half.
SHARED = {"retrained": 0.9, "another backbone": 0.5}
LIVE_AUC = 0.85
CANDIDATES = {
    "worse": -0.05,
    "slightly worse": -0.02,
    "equal": 0.0,
    "slightly better": 0.02,
}
TRIES = 30
SETTINGS = ComparisonSettings()


@dataclass(frozen=True)
class Drawn:
    """Rows on which models are compared: webcam [rows], and what each of the models says."""

    webcam: np.ndarray
    stars: np.ndarray
    scores: tuple[np.ndarray, ...]
    ratings: tuple[np.ndarray, ...]

    @property
    def positive(self) -> np.ndarray:
        return (self.stars >= 4).astype(float)


def draw(
    sizes: np.ndarray, sights: tuple[float, ...], shared: float, rng: np.random.Generator
) -> Drawn:
    """Rows on which models of these sights speak, each with mistakes of its own and common ones."""
    webcam = np.repeat(np.arange(len(sizes)), sizes)

    def clustered() -> np.ndarray:
        of_webcam = rng.normal(size=len(sizes))[webcam]
        own = rng.normal(size=len(webcam))
        share = INTRACLASS_CORRELATION
        return np.sqrt(share) * of_webcam + np.sqrt(1 - share) * own

    beauty, common = clustered(), clustered()
    scores, ratings = [], []
    for sight in sights:
        mistake = np.sqrt(shared) * common + np.sqrt(1 - shared) * clustered()
        seen = sight * beauty + np.sqrt(1 - sight**2) * mistake
        above = [
            stats.norm.sf(cut, loc=sight * seen, scale=np.sqrt(1 - sight**2)) for cut in STAR_CUTS
        ]
        scores.append(above[2])
        ratings.append(1.0 + np.sum(above, axis=0))
    stars = 1.0 + np.searchsorted(STAR_CUTS, beauty)
    return Drawn(webcam, stars, tuple(scores), tuple(ratings))


def truth(sights: tuple[float, float]) -> tuple[float, float]:
    """AUC of the first model, and MAE of the first minus that of the second, on very many rows."""
    drawn = draw(np.ones(400_000, dtype=int), sights, 0.5, np.random.default_rng(0))
    mae = [np.abs(rating - drawn.stars).mean() for rating in drawn.ratings]
    return roc_auc_score(drawn.positive, drawn.scores[0]), mae[0] - mae[1]


@cache
def sight_of(auc: float) -> float:
    """How closely a model of this AUC sees beauty (correlation)."""
    return optimize.brentq(lambda sight: truth((sight, 0.5))[0] - auc, 0.3, 0.98, xtol=1e-4)


def judged(drawn: Drawn, rng: np.random.Generator, resamples: int) -> tuple[WebcamEstimate, ...]:
    """What the gate knows of the first model beside the last: difference of AUC, of MAE."""
    bootstrap = WebcamBootstrap(
        drawn.webcam, bootstrap_samples=resamples, random_state=int(rng.integers(2**31))
    )
    return tuple(
        bootstrap.difference(
            METRICS[metric], target, said[0], said[-1], max_rows=MAX_ROWS_OF_A_CAMERA
        )
        for metric, target, said in (
            ("roc_auc", drawn.positive, drawn.scores),
            ("mae", drawn.stars, drawn.ratings),
        )
    )


def passes(differences: tuple[WebcamEstimate, ...], candidate_number: int) -> tuple[bool, bool]:
    """Whether a candidate passes the gate: by AUC, by MAE. No bound is no pass."""
    confidence = 1.0 - allowed_error(candidate_number)
    lower = differences[0].lower_bound(confidence)
    upper = differences[1].upper_bound(confidence)
    return (
        lower is not None and lower > -SETTINGS.max_auc_loss,
        upper is not None and upper < SETTINGS.max_mae_gain,
    )


@dataclass(frozen=True)
class Power:
    """One line of the table: a candidate, and how often it passes as the first, and as the 30th."""

    world: str
    kinship: str
    candidate: str
    mae: float
    first: tuple[float, float]
    last: tuple[float, float]


def power(
    repetitions: int, *, resamples: int, seed: int, worlds: Iterable[str] = WORLDS
) -> Iterator[Power]:
    live = sight_of(LIVE_AUC)
    for world in worlds:
        sizes = WORLDS[world]
        for candidate, gain in CANDIDATES.items():
            sight = sight_of(LIVE_AUC + gain)
            _, mae = truth((sight, live))
            for kinship, shared in SHARED.items():
                rng = np.random.default_rng(seed)
                found = []
                for _ in track(range(repetitions), total=repetitions, what="power", unit="worlds"):
                    drawn = draw(sizes, (sight, live), shared, rng)
                    differences = judged(drawn, rng, resamples)
                    found.append([passes(differences, number) for number in (1, TRIES)])
                (auc, mae_first), (last_auc, last_mae) = np.mean(found, axis=0)
                yield Power(world, kinship, candidate, mae, (auc, mae_first), (last_auc, last_mae))


@dataclass(frozen=True)
class Luck:
    """Shares of worlds in which at least one of thirty worse candidates passes: AUC, MAE."""

    counted: tuple[float, float]
    not_counted: tuple[float, float]


def luck(sizes: np.ndarray, loss: float, repetitions: int, *, resamples: int, seed: int) -> Luck:
    """Judge thirty retrained candidates, each worse by `loss` of AUC, on the same rows."""
    rng = np.random.default_rng(seed)
    live, worse = sight_of(LIVE_AUC), sight_of(LIVE_AUC - loss)
    found = []
    for _ in track(range(repetitions), total=repetitions, what="luck", unit="worlds"):
        drawn = draw(sizes, (*[worse] * TRIES, live), SHARED["retrained"], rng)
        tried = []
        for number in range(TRIES):
            pair = replace(
                drawn,
                scores=(drawn.scores[number], drawn.scores[-1]),
                ratings=(drawn.ratings[number], drawn.ratings[-1]),
            )
            differences = judged(pair, rng, resamples)
            tried.append((passes(differences, number + 1), passes(differences, 1)))
        found.append(np.any(tried, axis=0))
    counted, not_counted = np.mean(found, axis=0)
    return Luck(tuple(counted), tuple(not_counted))


def coverage_of_the_pair(
    sizes: np.ndarray, repetitions: int, *, resamples: int, seed: int, gain: float = 0.0
) -> tuple[float, float]:
    """How often the two-sided 95 % interval of the difference holds the truth: AUC, MAE."""
    rng = np.random.default_rng(seed)
    live, sight = sight_of(LIVE_AUC), sight_of(LIVE_AUC + gain)
    auc, mae = truth((sight, live))
    real = (auc - LIVE_AUC, mae)
    found = []
    for _ in track(range(repetitions), total=repetitions, what="coverage", unit="worlds"):
        drawn = draw(sizes, (sight, live), SHARED["retrained"], rng)
        positive = drawn.positive
        if min(positive.sum(), len(positive) - positive.sum()) < 20:
            continue  # the minimum for the pair does not admit it
        intervals = [one.interval() for one in judged(drawn, rng, resamples)]
        found.append(
            [one.low <= value <= one.high for one, value in zip(intervals, real, strict=True)]
        )
    by_auc, by_mae = np.mean(found, axis=0)
    return float(by_auc), float(by_mae)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["power", "luck", "coverage"])
    options = parser.parse_args()
    drawn = {"resamples": options.resamples, "seed": options.seed}
    if options.only in (None, "power"):
        print("| judged on | candidate is | ΔAUC | first | 30th | ΔMAE | first | 30th |")
        print("|---" * 8 + "|")
        for one in power(options.repetitions, **drawn):
            print(
                f"| {one.world} | {one.candidate}, {one.kinship} | "
                f"{CANDIDATES[one.candidate]:+.2f} | {one.first[0]:.3f} | {one.last[0]:.3f} | "
                f"{one.mae:+.3f} | {one.first[1]:.3f} | {one.last[1]:.3f} |",
                flush=True,
            )
    if options.only in (None, "luck"):
        print(
            "\n| judged on | thirty candidates, each | by AUC | not counted | by MAE | not counted |"
        )
        print("|---" * 6 + "|")
        for world, sizes in WORLDS.items():
            for loss in (0.05, 0.03, 0.02):
                one = luck(sizes, loss, options.repetitions, **drawn)
                print(
                    f"| {world} | {-loss:+.2f} AUC | {one.counted[0]:.3f} | "
                    f"{one.not_counted[0]:.3f} | {one.counted[1]:.3f} | {one.not_counted[1]:.3f} |",
                    flush=True,
                )
    if options.only in (None, "coverage"):
        print("\n| the pair | rows, webcams, effective | AUC | MAE |")
        print("|---" * 4 + "|")
        for world, sizes in {**WORLDS, "the smallest that is admitted": SMALLEST}.items():
            auc, mae = coverage_of_the_pair(sizes, options.repetitions, **drawn)
            capped = np.repeat(np.arange(len(sizes)), np.minimum(sizes, MAX_ROWS_OF_A_CAMERA))
            print(
                f"| {world} | {sizes.sum()}, {len(sizes)}, {effective_webcams(capped):.1f} | "
                f"{auc:.3f} | {mae:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
