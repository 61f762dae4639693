"""Does the rating queue help? Ratings that random picking needs to come as far as the queue does.

A drawn world of 600 webcams and 10,000 frames (``webcam_ml.demo``), each with the one rating that a person
gave it. Pictures and features are made once a world. A seed divides the webcams anew (70/15/15) and draws
300 frames that are rated to begin with; then batches of 100 are rated as a rule says, each batch by the
model of all ratings before it. The probe of the product (`fit_probe`) is trained on the
rated frames of training webcams, and its ROC AUC is that on *all* frames of test webcams.

Rules: `queue` is the product's (`choose`); `least_rated` is its random part for everything; `random` draws
any frame, at most one of a camera. All give validation and test webcams their 30 percent.

    python -m benchmarks.rating_queue --folder /tmp/queue               # 4 worlds, 20 seeds, some hours
    python -m benchmarks.rating_queue --folder /tmp/queue --worlds 1 --seeds 2 --webcams 60 --frames 600

What was measured stays in ``rating_queue.csv`` in the folder; a second run continues where it stopped.
"""

import argparse
import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import target_of
from webcam_ml.dataset import SplitConfig
from webcam_ml.dataset.images import ImageCache
from webcam_ml.demo._options import DemoOptions
from webcam_ml.demo._plan import plan_snapshots
from webcam_ml.demo._studio import draw_all
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BackboneSpec, extract_features, prepare_backbone
from webcam_ml.progress import track
from webcam_ml.rating_queue import (
    Shares,
    choose,
    shares_of,
    uncertainty,
    with_lots,
)
from webcam_ml.training import Probe, fit_probe

RULES = ("queue", "least_rated", "random")
START, BATCH = 300, 100
AFTER = (200, 500, 1_000)
# Where a head is trained and measured: the queue needs one for each batch, chance needs none. Random
# picking is followed farther, to be where the queue is after the last batch.
MEASURED = {
    "queue": range(0, 1_001, BATCH),
    "least_rated": AFTER,
    "random": (0, 200, 300, 400, 500, 700, 1_000, 1_400, 2_000),
}
RESAMPLES = 2_000
POSITIVE_FROM = 4
CONFIDENCE = 0.95
RESULTS = "rating_queue.csv"
# As configs/demo.yaml, at a size that is cheap to compute.
SPEC = BackboneSpec(model_name="resnet18", weights="none", image_size=128)
PICTURE_WIDTH = 160

Array = NDArray[np.float64]


def make_world(folder: Path, *, seed: int, webcams: int, frames: int) -> tuple[pl.DataFrame, Array]:
    """Draw a world: its frames with their ratings, and the features of each."""
    options = DemoOptions(
        seed=seed,
        webcams=webcams,
        snapshots=frames,
        raters_per_snapshot=1.0,
        unrated_fraction=0.0,
        image_width=PICTURE_WIDTH,
    )
    plan = [one for one in plan_snapshots(options) if not one.dead and not one.truncated]
    images = ImageCache(folder)
    digest_of = {snapshot.id: images.store(data) for snapshot, data in draw_all(seed, plan)}
    features = extract_features(
        prepare_backbone(SPEC, cache=folder),
        [digest_of[snapshot.id] for snapshot in plan],
        images=images,
        cache=folder,
    )
    rows = pl.DataFrame(
        {
            "snapshot_id": [snapshot.id for snapshot in plan],
            "camera_id": [snapshot.webcam.webcam_id for snapshot in plan],
            "target": [
                float(next(vote.stars for vote in snapshot.votes if vote.stars) >= POSITIVE_FROM)
                for snapshot in plan
            ],
        }
    )
    return rows, features.values.astype(np.float64)


def pick_random(candidates: pl.DataFrame, shares: Shares) -> pl.DataFrame:
    """Draw frames by lot, at most one of a camera, of each split as many as it has."""
    one = candidates.sort("lot").unique("camera_id", keep="first", maintain_order=True)
    return pl.concat(
        one.filter(pl.col("split") == split).head(
            sum(number for (name, _), number in shares.items() if name == split)
        )
        for split in ("train", "val", "test")
    )


def curve(
    rows: pl.DataFrame, features: Array, *, rule: str, seed: int
) -> Iterator[tuple[int, float]]:
    """Rate as a rule says; give the AUC on test webcams after so many ratings more."""
    from sklearn.metrics import roc_auc_score

    split = SplitConfig(seed=seed)
    splits = split.assign(rows["camera_id"].unique().to_list()).rename({"webcam_id": "camera_id"})
    frames = rows.join(splits, on="camera_id", maintain_order="left").with_row_index("row")
    rng = np.random.default_rng([seed, RULES.index(rule)])
    first = np.random.default_rng(seed).permutation(frames.height)[:START]
    rated = np.zeros(frames.height, np.bool_)
    rated[first] = True
    test = (frames["split"] == "test").to_numpy()
    target = frames["target"].to_numpy()
    for ratings in range(0, max(MEASURED[rule]) + 1, BATCH):
        score = None
        if ratings in MEASURED[rule]:
            probe = fit(frames, features, rated)
            if probe is not None:
                score = 1 / (1 + np.exp(-probe.head(features)))
            known = np.full(frames.height, 0.5) if score is None else score
            yield ratings, float(roc_auc_score(target[test], known[test]))
        rated[pick(frames, rated, score, rule=rule, rng=rng)] = True


def fit(frames: pl.DataFrame, features: Array, rated: NDArray[np.bool_]) -> Probe | None:
    """Train the probe on rated frames of training webcams; None where there are too few."""
    known = rated & (frames["split"] == "train").to_numpy()
    try:
        return fit_probe(
            features[known],
            frames["target"].to_numpy()[known],
            frames["camera_id"].to_numpy()[known],
            asked=target_of("binary"),
        )
    except WebcamMLError:
        return None


def pick(
    frames: pl.DataFrame,
    rated: NDArray[np.bool_],
    score: Array | None,
    *,
    rule: str,
    rng: np.random.Generator,
) -> list[int]:
    """Choose the rows of the next batch."""
    has_model = score is not None and rule == "queue"
    shares = shares_of(BATCH, split=SplitConfig(), random_share=0.1, has_model=has_model)
    known = frames.filter(rated).group_by("camera_id").agg(rated=pl.len().cast(pl.Int64))
    candidates = (
        frames.with_columns(raw_score=pl.Series(np.zeros(len(rated)) if score is None else score))
        .filter(~rated)
        .join(known, on="camera_id", how="left", maintain_order="left")
        .with_columns(pl.col("rated").fill_null(0), uncertainty=uncertainty(pl.col("raw_score")))
    )
    # Lots are equal for equal candidates; a week's chance is another each time.
    lots = with_lots(candidates).with_columns(lot=pl.Series(rng.permutation(candidates.height)))
    picks = pick_random(lots, shares) if rule == "random" else choose(lots, shares)
    return picks["row"].to_list()


def needed(ratings: Array, aucs: Array, auc: float) -> float:
    """Ratings after which a curve, made non-decreasing, reaches an AUC; inf if it never does."""
    from sklearn.isotonic import IsotonicRegression

    smooth = IsotonicRegression().fit_transform(ratings, aucs)
    # Of equal values the first, so that the curve can be read backwards.
    values, first = np.unique(smooth, return_index=True)
    return float(np.interp(auc, values, ratings[first], right=np.inf))


def curves_of(results: pl.DataFrame, rule: str) -> tuple[Array, Array]:
    """Give the ratings of a rule's curve, and its AUC [seeds, ratings]."""
    wide = results.filter(rule=rule).pivot("ratings", index="seed", values="auc").sort("seed")
    names = sorted((name for name in wide.columns if name != "seed"), key=int)
    return np.array(names, dtype=float), wide.select(names).to_numpy()


def table(results: pl.DataFrame) -> str:
    """The results as Markdown.

    Needed ratings are read off the mean curves of all seeds, since one seed's curve has more noise than
    slope; their interval is of the seeds drawn anew, for all rules at once.
    """
    from scipy.stats import t

    whole = results.group_by("seed").agg(pl.col("rule").n_unique()).filter(rule=len(RULES))
    results = results.join(whole, on="seed", how="semi")
    curves = {rule: curves_of(results, rule) for rule in RULES}
    seeds = len(curves["queue"][1])
    rng = np.random.default_rng(0)
    draws = rng.integers(seeds, size=(RESAMPLES, seeds))
    lines = [
        f"{seeds} seeds",
        "",
        "| ratings | AUC of the queue | over `random` | over `least_rated` | `random` needs | share |",
        "|---|---|---|---|---|---|",
    ]
    at = {rule: {int(n): k for k, n in enumerate(names)} for rule, (names, _) in curves.items()}

    def share(rows: NDArray[np.int64], after: int) -> float:
        names, aucs = curves["random"]
        auc = curves["queue"][1][rows, at["queue"][after]].mean()
        return after / max(needed(names, aucs[rows].mean(axis=0), auc), BATCH / 2)

    for after in AFTER:
        mine = curves["queue"][1][:, at["queue"][after]]
        cells = [f"{after:,}", f"{mine.mean():.4f}"]
        for rule in ("random", "least_rated"):
            gains = mine - curves[rule][1][:, at[rule][after]]
            half = t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * gains.std(ddof=1) / seeds**0.5
            middle = gains.mean()
            cells.append(f"{middle:+.4f} ({middle - half:+.4f} to {middle + half:+.4f})")
        value = share(np.arange(seeds), after)
        low, high = np.quantile([share(rows, after) for rows in draws], [0.025, 0.975])
        longest = max(MEASURED["random"])
        cells.append(f"{after / value:,.0f}" if value > 0 else f"more than {longest:,}")
        # Where random picking never comes so far, its ratings are without a bound, and the share is 0.
        cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="gets features and results")
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=20, help="shared out among the worlds")
    parser.add_argument("--webcams", type=int, default=600)
    parser.add_argument("--frames", type=int, default=10_000)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("webcam_ml.progress").setLevel(logging.INFO)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / RESULTS
    done = pl.read_csv(path) if path.exists() else None
    there = set() if done is None else set(done.select("seed", "rule").iter_rows())
    missing = [
        (seed, rule)
        for seed in range(arguments.seeds)
        for rule in RULES
        if (seed, rule) not in there
    ]

    @cache
    def world_of(number: int) -> tuple[pl.DataFrame, Array]:
        return make_world(
            arguments.folder, seed=number, webcams=arguments.webcams, frames=arguments.frames
        )

    for seed, rule in track(missing, total=len(missing), what="rating queue", unit="curves"):
        world = seed % arguments.worlds
        points = list(curve(*world_of(world), rule=rule, seed=seed))
        found = pl.DataFrame(points, schema=["ratings", "auc"], orient="row").select(
            pl.lit(world).alias("world"),
            pl.lit(seed).alias("seed"),
            pl.lit(rule).alias("rule"),
            "ratings",
            "auc",
        )
        done = found if done is None else pl.concat([done, found], how="vertical_relaxed")
        done.write_csv(path)
    assert done is not None
    print(table(done))


if __name__ == "__main__":
    main()
