"""How often the intervals contain the truth, in a world where the truth is known.

Webcams are as unequal as in real data. A picture's beauty, and what the model mistakes about it,
both resemble those of the same camera's other pictures (intraclass correlation 0.34). The truth of a
metric is its value on very many such webcams. Print the table of ``docs/evaluation.md`` with

    python -m webcam_ml_tests.metrics.coverage --repetitions 2000
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

from webcam_ml.metrics import METRICS, WebcamBootstrap, make_sample, measure
from webcam_ml.progress import track

SIZES = np.array([187, 95, 74, 67, 54, 51, 11, 10, 7, 5, *[1, 2, 3, 4] * 18, 1, 2, 3])
INTRACLASS_CORRELATION = 0.34
# Shares of 1 to 5 stars in real data: 62, 10, 8, 11 and 9 %.
STAR_CUTS = stats.norm.ppf([0.62, 0.72, 0.80, 0.91])
BINARY_THRESHOLD = 4.0
DECISION_THRESHOLD = 0.35
# How closely the two scorers see beauty (correlation), and the share of mistakes that they share.
MODEL_SIGHT, RIVAL_SIGHT, SHARED_MISTAKES = 0.8, 0.7, 0.5

METHODS = ("ours", "percentile over webcams", "percentile over rows")
QUANTITIES = ("roc_auc", "f1", "mae", "difference of roc_auc", "difference of mae")


@dataclass(frozen=True)
class World:
    webcam: np.ndarray
    positive: np.ndarray
    stars: np.ndarray
    # Of the model and of its rival.
    scores: tuple[np.ndarray, np.ndarray]
    ratings: tuple[np.ndarray, np.ndarray]


def draw_world(sizes: np.ndarray, rng: np.random.Generator) -> World:
    webcam = np.repeat(np.arange(len(sizes)), sizes)

    def clustered() -> np.ndarray:
        own = rng.normal(size=len(webcam))
        of_webcam = rng.normal(size=len(sizes))[webcam]
        share = INTRACLASS_CORRELATION
        return np.sqrt(share) * of_webcam + np.sqrt(1 - share) * own

    beauty, common = clustered(), clustered()
    stars = 1.0 + np.searchsorted(STAR_CUTS, beauty)
    scores, ratings = [], []
    for sight in (MODEL_SIGHT, RIVAL_SIGHT):
        mistake = np.sqrt(SHARED_MISTAKES) * common + np.sqrt(1 - SHARED_MISTAKES) * clustered()
        seen = sight * beauty + np.sqrt(1 - sight**2) * mistake
        # What is known of a picture's stars from what was seen: both scorers are calibrated.
        above = [
            stats.norm.sf(cut, loc=sight * seen, scale=np.sqrt(1 - sight**2)) for cut in STAR_CUTS
        ]
        scores.append(above[2])
        ratings.append(1.0 + np.sum(above, axis=0))
    return World(
        webcam, (stars >= BINARY_THRESHOLD).astype(float), stars, tuple(scores), tuple(ratings)
    )


def true_values() -> dict[str, float]:
    world = draw_world(np.tile(SIZES, 600), np.random.default_rng(0))
    auc = [roc_auc_score(world.positive, score) for score in world.scores]
    mae = [np.abs(rating - world.stars).mean() for rating in world.ratings]
    f1 = measure(
        METRICS["f1"],
        make_sample(
            world.positive,
            world.scores[0],
            np.zeros_like(world.webcam),
            threshold=DECISION_THRESHOLD,
        ),
    )
    return {
        "roc_auc": auc[0],
        "f1": f1.value,
        "mae": mae[0],
        "difference of roc_auc": auc[0] - auc[1],
        "difference of mae": mae[0] - mae[1],
    }


def _ours(world: World, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    bootstrap = WebcamBootstrap(world.webcam, bootstrap_samples=resamples, random_state=seed)
    estimates = {
        "roc_auc": bootstrap.estimate(METRICS["roc_auc"], world.positive, world.scores[0]),
        "f1": bootstrap.estimate(
            METRICS["f1"], world.positive, world.scores[0], threshold=DECISION_THRESHOLD
        ),
        "mae": bootstrap.estimate(METRICS["mae"], world.stars, world.ratings[0]),
        "difference of roc_auc": bootstrap.difference(
            METRICS["roc_auc"], world.positive, *world.scores
        ),
        "difference of mae": bootstrap.difference(METRICS["mae"], world.stars, *world.ratings),
    }
    intervals = {name: estimate.interval() for name, estimate in estimates.items()}
    return {name: (interval.low, interval.high) for name, interval in intervals.items()}


def _percentile(
    world: World, unit: np.ndarray, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    n_units = unit.max() + 1
    weights = (
        np.random.default_rng(seed)
        .multinomial(n_units, np.full(n_units, 1 / n_units), size=resamples)
        .astype(float)
    )

    def replicates(metric: str, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        sample = make_sample(target, prediction, unit, threshold=DECISION_THRESHOLD)
        return METRICS[metric].compute(sample, weights)

    auc = [replicates("roc_auc", world.positive, score) for score in world.scores]
    mae = [replicates("mae", world.stars, rating) for rating in world.ratings]
    values = {
        "roc_auc": auc[0],
        "f1": replicates("f1", world.positive, world.scores[0]),
        "mae": mae[0],
        "difference of roc_auc": auc[0] - auc[1],
        "difference of mae": mae[0] - mae[1],
    }
    return {name: tuple(np.nanquantile(value, (0.025, 0.975))) for name, value in values.items()}


def intervals_of_one_world(
    rng: np.random.Generator, resamples: int
) -> dict[str, dict[str, tuple[float, float]]]:
    world = draw_world(SIZES, rng)
    seed = int(rng.integers(2**31))
    return {
        "ours": _ours(world, resamples, seed),
        "percentile over webcams": _percentile(world, world.webcam, resamples, seed),
        "percentile over rows": _percentile(
            world, np.arange(len(world.webcam)), max(100, resamples // 10), seed
        ),
    }


def simulate(
    repetitions: int, *, resamples: int, seed: int
) -> Iterator[dict[tuple[str, str], tuple[bool, bool, float]]]:
    """Yield, for each repetition: (method, quantity) → truth below?, truth above?, width."""
    truth = true_values()
    rng = np.random.default_rng(seed)
    for _ in range(repetitions):
        found = intervals_of_one_world(rng, resamples)
        yield {
            (method, quantity): (truth[quantity] < low, truth[quantity] > high, high - low)
            for method, by_quantity in found.items()
            for quantity, (low, high) in by_quantity.items()
        }


def coverage(
    repetitions: int, *, resamples: int, seed: int
) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """Shares of repetitions: truth inside, below, above; and the median width."""
    results = list(
        track(
            simulate(repetitions, resamples=resamples, seed=seed),
            total=repetitions,
            what="coverage",
            unit="repetitions",
        )
    )
    table = {}
    for key in results[0]:
        below, above, width = np.array([result[key] for result in results]).T
        table[key] = (
            1.0 - below.mean() - above.mean(),
            below.mean(),
            above.mean(),
            float(np.median(width)),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    table = coverage(options.repetitions, resamples=options.resamples, seed=options.seed)
    truth = true_values()
    print("| quantity | truth | " + " | ".join(METHODS) + " | median width, ours |")
    print("|---" * (len(METHODS) + 3) + "|")
    for quantity in QUANTITIES:
        cells = []
        for method in METHODS:
            inside, below, above, _ = table[method, quantity]
            cells.append(f"{inside:.3f} (−{below:.3f} +{above:.3f})")
        print(
            f"| {quantity} | {truth[quantity]:.3f} | {' | '.join(cells)} | "
            f"{table['ours', quantity][3]:.3f} |"
        )


if __name__ == "__main__":
    main()
