"""How often candidates of known worth pass `not_worse_than_champion`.

The world is that of `webcam_ml_tests.metrics.coverage`: webcams of very unequal size, beauty and
mistakes that resemble each other within a webcam, stars distributed as in real data. The live model
has an AUC of 0.85. Print the tables of ``docs/promotion.md`` with

    python -m webcam_ml_tests.judging.power --repetitions 1000
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from webcam_ml.judging import ComparisonSettings
from webcam_ml.metrics import METRICS, WebcamBootstrap
from webcam_ml.progress import track
from webcam_ml_tests.metrics.coverage import INTRACLASS_CORRELATION, SIZES, STAR_CUTS

# A test split of 15 % of about 5,000 rated snapshots, and that of the demo.
WORLDS = {
    "real": SIZES,
    "demo": np.array([12, 11, 10, 10, 8, 8, 8, 4, 4, 4, 3, *[2] * 11, *[1] * 13]),
}
# The share of their mistakes that two models have in common: of a retrained head on the same
# backbone most, of another backbone half.
SHARED = {"retrained": 0.9, "another backbone": 0.5}
LIVE_AUC = 0.85
CANDIDATES = {"worse": -0.05, "equal": 0.0, "slightly better": 0.02}
SETTINGS = ComparisonSettings()


@dataclass(frozen=True)
class Drawn:
    """Rows on which two models are compared: webcam [rows], and what both say of each."""

    webcam: np.ndarray
    stars: np.ndarray
    scores: tuple[np.ndarray, np.ndarray]
    ratings: tuple[np.ndarray, np.ndarray]

    @property
    def positive(self) -> np.ndarray:
        return (self.stars >= 4).astype(float)


def draw(
    sizes: np.ndarray, sights: tuple[float, float], shared: float, rng: np.random.Generator
) -> Drawn:
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
    return Drawn(webcam, stars, (scores[0], scores[1]), (ratings[0], ratings[1]))


def truth(sights: tuple[float, float]) -> tuple[float, float]:
    """AUC of the first model, and MAE of the first minus that of the second, on very many rows."""
    drawn = draw(np.ones(400_000, dtype=int), sights, 0.5, np.random.default_rng(0))
    mae = [np.abs(rating - drawn.stars).mean() for rating in drawn.ratings]
    return roc_auc_score(drawn.positive, drawn.scores[0]), mae[0] - mae[1]


def sight_of(auc: float) -> float:
    """How closely a model of this AUC sees beauty (correlation)."""
    return optimize.brentq(lambda sight: truth((sight, 0.5))[0] - auc, 0.3, 0.98, xtol=1e-4)


def passes(
    sizes: np.ndarray, sights: tuple[float, float], shared: float, rng: np.random.Generator,
    resamples: int,
) -> tuple[bool, bool]:  # fmt: skip
    """Whether one draw passes the gate: by AUC, by MAE. No bound is no pass."""
    drawn = draw(sizes, sights, shared, rng)
    bootstrap = WebcamBootstrap(
        drawn.webcam, bootstrap_samples=resamples, random_state=int(rng.integers(2**31))
    )
    auc = bootstrap.difference(METRICS["roc_auc"], drawn.positive, *drawn.scores).lower_bound()
    mae = bootstrap.difference(METRICS["mae"], drawn.stars, *drawn.ratings).upper_bound()
    return (
        auc is not None and auc > -SETTINGS.max_auc_loss,
        mae is not None and mae < SETTINGS.max_mae_gain,
    )


def power(
    repetitions: int, *, resamples: int, seed: int
) -> Iterator[tuple[str, str, str, float, float, float]]:
    """Yield world, kinship, candidate, true difference of MAE, share passing by AUC and by MAE."""
    live = sight_of(LIVE_AUC)
    for candidate, gain in CANDIDATES.items():
        sight = sight_of(LIVE_AUC + gain)
        _, mae = truth((sight, live))
        for world, sizes in WORLDS.items():
            for kinship, shared in SHARED.items():
                rng = np.random.default_rng(seed)
                found = [
                    passes(sizes, (sight, live), shared, rng, resamples)
                    for _ in track(
                        range(repetitions), total=repetitions, what="power", unit="worlds"
                    )
                ]
                by_auc, by_mae = np.mean(found, axis=0)
                yield world, kinship, candidate, mae, by_auc, by_mae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| test split | candidate is | ΔAUC | passes | ΔMAE | passes |")
    print("|---" * 6 + "|")
    for world, kinship, candidate, mae, by_auc, by_mae in power(
        options.repetitions, resamples=options.resamples, seed=options.seed
    ):
        print(
            f"| {world} | {candidate}, {kinship} | {CANDIDATES[candidate]:+.2f} | {by_auc:.3f} | "
            f"{mae:+.3f} | {by_mae:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
