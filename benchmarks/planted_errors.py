"""Planted errors: which ranking finds labels that are known to be wrong?

In copies of the demo's database 5 % of the rating rows get another star; the cached averages follow, a
model is trained on what that leaves, and each ranking names as many snapshots as were spoilt. The share of
them that were is its precision at k. Everything but the planting runs through the functions of the
graph; features are computed once for each demo, so that a retrain only fits a head. Results and what
follows from them stand in ``docs/disagreement.md``.

    python benchmarks/planted_errors.py --folder /tmp/planted      # 20 seeds, about 20 minutes
    python benchmarks/planted_errors.py --folder /tmp/planted --seeds 2 --errors uniform

What was measured stays in ``planted_errors.csv`` in the folder; a second run continues where it stopped.
"""

import argparse
import itertools
import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import TargetType
from webcam_ml.dataset import (
    Manifest,
    RowsWithPictures,
    TargetConfig,
    build_manifest,
    rows_with_pictures,
)
from webcam_ml.dataset.images import ImageCache, ImageIndex, ImageSettings, build_image_index
from webcam_ml.demo import make_demo_data
from webcam_ml.disagreement import expected_correction
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.progress import track
from webcam_ml.training import Checkpoint, TrainingSettings, predict, train

FRACTION = 0.05
STARS = np.arange(1, 6)
CONFIDENCE = 0.95
# As configs/demo.yaml: no download, and good enough for the demo's gates.
SETTINGS = TrainingSettings(model_name="resnet18", weights="none")
RESULTS = "planted_errors.csv"
KEYS = ("raters", "errors", "target", "seed")

Ranks = NDArray[np.float64]
Replace = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.int64]]


def another_star(stars: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Any of the other four, each as likely."""
    return (stars - 1 + rng.integers(1, 5, len(stars))) % 5 + 1


def mirrored_star(stars: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """What someone gives who reads the scale from the wrong end."""
    return 6 - stars


ERRORS: dict[str, Replace] = {"uniform": another_star, "mirrored": mirrored_star}


def plant(original: Path, copy: Path, *, errors: str, seed: int) -> list[int]:
    """Copy a label database, spoil some of its ratings, and give the snapshots that they are of."""
    shutil.copy(original, copy)
    rng = np.random.default_rng([seed, 5])
    with closing(sqlite3.connect(copy)) as connection, connection:
        rows = connection.execute(
            "SELECT id, snapshot_id, rating FROM webcam_snapshot_ratings"
            " WHERE rating IS NOT NULL ORDER BY id"
        ).fetchall()
        ids, snapshots, stars = (np.array(column) for column in zip(*rows, strict=True))
        # A mirrored 3 is a 3: the error is drawn among the rows that it changes.
        possible = np.flatnonzero(stars != 3) if errors == "mirrored" else np.arange(len(stars))
        chosen = rng.choice(possible, size=round(FRACTION * len(stars)), replace=False)
        replaced = ERRORS[errors](stars[chosen], rng)
        connection.executemany(
            "UPDATE webcam_snapshot_ratings SET rating = ? WHERE id = ?",
            list(zip(replaced.tolist(), ids[chosen].tolist(), strict=True)),
        )
        connection.execute(
            "UPDATE webcam_snapshots SET calculated_rating = (SELECT round(avg(rating), 2) FROM"
            " webcam_snapshot_ratings AS r WHERE r.snapshot_id = webcam_snapshots.id)"
        )
    return sorted({int(snapshot) for snapshot in snapshots[chosen]})


@dataclass(frozen=True)
class Demo:
    """One demo with its pictures fetched; only its labels are spoilt, again and again."""

    folder: Path
    cache: Path
    index: ImageIndex

    @classmethod
    def make(cls, folder: Path, raters: float) -> "Demo":
        """Draw a demo; all have the same pictures, so that they share the cache."""
        demo, cache = folder / f"raters-{raters:g}", folder / "cache"
        make_demo_data(demo, raters_per_snapshot=raters)
        labels = read_labels(LabelDatabase(f"sqlite:///{demo / 'labels.sqlite'}"), LabelQuery())
        index = build_image_index(labels.frame, cache=ImageCache(cache), settings=ImageSettings())
        return cls(demo, cache, index)

    def spoilt(self, *, errors: str, target: TargetType, seed: int) -> pl.DataFrame:
        """Plant errors, train on them, and compare every row with a model that has not seen it.

        Returns:
            The compared rows as the report has them, with ``target_label``, ``is_planted`` and
            ``in_sample_score``, what the model itself says of each row.
        """
        copy = self.folder / "spoilt.sqlite"
        planted = plant(self.folder / "labels.sqlite", copy, errors=errors, seed=seed)
        labels = read_labels(LabelDatabase(f"sqlite:///{copy}"), LabelQuery())
        manifest = build_manifest(labels, target=TargetConfig(target_type=target))
        images = ImageCache(self.cache)
        checkpoint = train(
            self.rows(manifest.split("train")),
            self.rows(manifest.split("val")),
            meta=manifest.meta,
            settings=SETTINGS,
            images=images,
            cache=self.cache,
        ).checkpoint
        return self.compared(manifest, checkpoint, images).with_columns(
            is_planted=pl.col("snapshot_id").is_in(planted)
        )

    def rows(self, manifest: Manifest) -> RowsWithPictures:
        return rows_with_pictures(manifest, self.index)

    def compared(
        self, manifest: Manifest, checkpoint: Checkpoint, images: ImageCache
    ) -> pl.DataFrame:
        rows = self.rows(manifest).frame.join(manifest.details, on="snapshot_id")
        # The model file gives the same scores, to six digits; it would be a new file each time.
        scores = predict(checkpoint, rows, images=images, cache=self.cache).raw_score
        out_of_fold = checkpoint.predictions.filter(pl.col("split") == "train").select(
            "snapshot_id", out_of_fold_score="raw_score"
        )
        is_train = pl.col("split") == "train"
        return (
            rows.with_columns(pl.Series("in_sample_score", scores))
            .join(out_of_fold, on="snapshot_id", how="left")
            .with_columns(
                raw_score=pl.coalesce("out_of_fold_score", "in_sample_score"),
                prediction_kind=pl.when(is_train)
                .then(pl.lit("out_of_fold"))
                .otherwise(pl.lit("model")),
            )
            .sort("snapshot_id")
        )


def abs_diff(rows: pl.DataFrame, target: TargetType) -> Ranks:
    ai_rating = 1 + 4 * rows["raw_score"].to_numpy()
    return np.abs(ai_rating - rows["label_value"].to_numpy())


def cleanlab(rows: pl.DataFrame, target: TargetType) -> Ranks:
    """One minus cleanlab's label quality score with its default method for such a target."""
    if target == "binary":
        from cleanlab.rank import get_label_quality_scores

        positive = rows["raw_score"].to_numpy()
        return 1 - get_label_quality_scores(
            rows["target_label"].cast(pl.Int64).to_numpy(),
            np.column_stack([1 - positive, positive]),
        )
    from cleanlab.regression.rank import get_label_quality_scores

    return 1 - get_label_quality_scores(
        rows["target_label"].to_numpy(), 1 + 4 * rows["raw_score"].to_numpy()
    )


RANKINGS: dict[str, Callable[[pl.DataFrame, TargetType], Ranks]] = {
    "expected_correction": lambda rows, _: expected_correction(rows),
    "abs_diff": abs_diff,
    "cleanlab": cleanlab,
}


def precision_at_k(rows: pl.DataFrame, ranks: Ranks, target: TargetType) -> float:
    """Share of planted snapshots among as many as were planted; ties as the report orders them."""
    k = int(rows["is_planted"].sum())
    worst = rows.with_columns(
        rank=pl.Series(ranks).round(4), difference=pl.Series(abs_diff(rows, target)).round(6)
    ).sort("rank", "difference", "snapshot_id", descending=[True, True, False])
    return float(worst["is_planted"].head(k).mean())


def measure(demo: Demo, *, errors: str, target: TargetType, seed: int) -> dict[str, float]:
    rows = demo.spoilt(errors=errors, target=target, seed=seed)
    found = {
        name: precision_at_k(rows, rank(rows, target), target) for name, rank in RANKINGS.items()
    }
    # Of a random order the expected precision is known; drawing one would only add noise.
    found |= {"random": float(rows["is_planted"].mean()), "k": int(rows["is_planted"].sum())}
    # What a report that let the model judge its own training rows would find among them.
    for name, score in (("train_out_of_fold", "raw_score"), ("train_in_sample", "in_sample_score")):
        scored = rows.with_columns(raw_score=score)
        scored = scored.with_columns(rank=pl.Series(expected_correction(scored)))
        train = scored.filter(pl.col("split") == "train")
        found[name] = precision_at_k(train, train["rank"].to_numpy(), target)
    return found


def interval(values: pl.Series) -> str:
    """Mean of paired differences and its t-interval."""
    from scipy.stats import t

    mean, n = values.mean(), len(values)
    if n < 2:
        return f"{mean:+.3f}"
    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std() / n**0.5
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def table(results: pl.DataFrame) -> str:
    """The results as Markdown: mean precision of each ranking, and paired differences."""
    names = [*RANKINGS, "random"]
    differences = {
        "expected_correction − abs_diff": ("expected_correction", "abs_diff"),
        "expected_correction − cleanlab": ("expected_correction", "cleanlab"),
        "train rows: out-of-fold − in-sample": ("train_out_of_fold", "train_in_sample"),
    }
    heads = ["target", "errors", "raters", "seeds", *names, *differences]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    keys = ["target", "errors", "raters"]
    for (target, errors, raters), group in results.group_by(keys, maintain_order=True):
        cells = [target, errors, f"{raters:g}", f"{group.height}"]
        cells += [f"{group[name].mean():.3f}" for name in names]
        cells += [interval(group[one] - group[other]) for one, other in differences.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="gets demos and results")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--raters", type=float, nargs="+", default=[1.02, 1.5])
    parser.add_argument("--errors", nargs="+", choices=list(ERRORS), default=list(ERRORS))
    parser.add_argument(
        "--targets", nargs="+", choices=["binary", "regression"], default=["binary", "regression"]
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("webcam_ml.progress").setLevel(logging.INFO)

    path = arguments.folder / RESULTS
    done = pl.read_csv(path).to_dicts() if path.exists() else []
    there = {tuple(row[key] for key in KEYS) for row in done}
    wanted = [
        (raters, errors, target, seed)
        for target, errors, seed, raters in itertools.product(
            arguments.targets, arguments.errors, range(arguments.seeds), arguments.raters
        )
    ]
    missing = [key for key in wanted if key not in there]
    demos: dict[float, Demo] = {}
    for raters, errors, target, seed in track(
        missing, total=len(missing), what="planted errors", unit="retrains"
    ):
        if raters not in demos:
            demos[raters] = Demo.make(arguments.folder.resolve(), raters)
        found = measure(demos[raters], errors=errors, target=target, seed=seed)
        key = dict(zip(KEYS, (raters, errors, target, seed), strict=True))
        done.append(key | found)
        pl.DataFrame(done).write_csv(path)
    asked = pl.DataFrame(wanted, schema=list(KEYS), orient="row")
    results = pl.DataFrame(done).join(asked, on=KEYS, how="semi")
    print(
        table(
            results.sort(
                "target", "errors", "raters", "seed", descending=[False, True, False, False]
            )
        )
    )


if __name__ == "__main__":
    main()
