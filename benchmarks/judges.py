"""What labels of a language model bring beside labels of people: the tables of docs/labels.md.

In a drawn world the true ratings are known. Webcams have pictures with features, people rate some of them,
a judge that is distorted, coarse and partial to webcams as a real one is scores all; heads are trained
by the code of the graph (`calibrate_judge`, `fit_probe`) and measured on webcams that none of them saw, by
the true ratings and by people's. Differences are to people alone, paired by seed.

    python -m benchmarks.judges --folder /tmp/judges                      # features that are drawn
    python -m benchmarks.judges --folder /tmp/judges --pictures judged    # pictures of demo-data --judges

What was measured stays in ``judges.csv`` in the folder; a second run continues where it stopped.
"""

import argparse
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import TargetType, rating_of
from webcam_ml.dataset import TargetConfig
from webcam_ml.dataset.judges import Calibration, MonotoneMap, calibrate_judge, fit_mean
from webcam_ml.progress import track
from webcam_ml.training import JudgedRows, LinearHead, fit_probe

RESULTS = "judges.csv"
KEYS = ("world", "target", "people", "judged", "seed", "way")
CONFIDENCE = 0.95
POSITIVE_FROM = 4.0
TEST_SHARE = 0.3
# What was in use once: scores read as (stars − 1) / 4.
FIXED_CUT = 0.75
NO_SUNSET_SHARE = 0.5

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """All pictures of one seed, and what is said of them; every attribute is [pictures].

    Attributes:
        features: [pictures, features].
        webcams: Whose pictures they are.
        true: Stars that people would give who never err.
        people: Stars that one person gives.
        score: What the judge says.
        no_event: There is no sunset or sunrise to see.
    """

    features: npt.NDArray[np.floating[Any]]
    webcams: Integers
    true: Array
    people: Array
    score: Array
    no_event: npt.NDArray[np.bool_]

    def of(self, rows: Any) -> "World":
        """Some of the pictures, in the order of the rows."""
        return World(
            self.features[rows],
            self.webcams[rows],
            self.true[rows],
            self.people[rows],
            self.score[rows],
            self.no_event[rows],
        )

    def and_also(self, other: "World") -> "World":
        """These pictures, then others."""
        parts = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in World.__dataclass_fields__
        )
        return World(*parts)


# Of the drawn world. As in webcam_ml/demo/_judges.py: fitted to the 3,224 snapshots that people and a
# language model really judged. Beauty in its own standard deviations; what a judge perceives
# climbs from 0 to 1. Real (drawn): 1.22 (1.24) stars where it says 0, 2.98 (3.04) at .45, scattering with
# a variance of .44 (.52) and 2.00 (2.07), of which 24 % (22 %) is the webcam's; rank correlation
# .66 (.67), AUC .86 (.83).
WEBCAMS, BUSIEST = 580, 2.5
FEATURES, SPECTRUM = 64, 0.5
EXPLAINED = 0.9  # of the variance of beauty, by the features
WEBCAMS_PART = 0.3
RATERS_MOOD = 0.35
STAR_CUTS = (0.316, 0.635, 0.905, 1.48)
EVENT_AT, EVENT_WIDTH = 0.257, 0.093
CAMERA_EFFECT, JUDGES_MOOD = 0.356, 0.125
SCORE_CUTS = (0.485, 0.549, 0.729, 1.124, 1.286, 1.461)
SCORES = np.array([0.0, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75])
NO_EVENT_BELOW = -1.0


def draw_features(seed: int, pictures: int) -> World:
    """Draw a world of features: a few webcams have most pictures, as everywhere."""
    rng = np.random.default_rng([seed, 15])
    shares = (np.arange(WEBCAMS) + BUSIEST) ** -1.05
    webcams = np.sort(rng.choice(WEBCAMS, size=pictures, p=shares / shares.sum()))
    scale = np.arange(1, FEATURES + 1) ** -SPECTRUM
    of_webcam = rng.normal(size=(WEBCAMS, FEATURES))[webcams]
    of_picture = rng.normal(size=(pictures, FEATURES))
    whole = WEBCAMS_PART**0.5 * of_webcam + (1 - WEBCAMS_PART) ** 0.5 * of_picture
    direction = rng.normal(size=FEATURES)
    direction /= np.linalg.norm(direction)
    beauty = EXPLAINED**0.5 * whole @ direction + (1 - EXPLAINED) ** 0.5 * rng.normal(size=pictures)
    seen = (
        1 / (1 + np.exp(-(beauty - EVENT_AT) / EVENT_WIDTH))
        + rng.normal(0, CAMERA_EFFECT, WEBCAMS)[webcams]
        + rng.normal(0, JUDGES_MOOD, pictures)
    )
    return World(
        features=whole * scale,
        webcams=webcams,
        true=_stars(beauty),
        people=_stars(beauty + rng.normal(0, RATERS_MOOD, pictures)),
        score=SCORES[np.searchsorted(SCORE_CUTS, seen)],
        no_event=beauty + rng.normal(0, RATERS_MOOD, pictures) < NO_EVENT_BELOW,
    )


def _stars(beauty: Array) -> Array:
    return 1.0 + np.searchsorted(STAR_CUTS, beauty)


@dataclass(frozen=True)
class DrawnPictures:
    """The readable views of a demo with judges, with features by the demo's own network."""

    seed: int
    features: npt.NDArray[np.float32]
    snapshots: tuple[Any, ...]

    @classmethod
    def of(cls, demo: Path, cache_folder: Path) -> "DrawnPictures":
        """Compute the features of a demo, or take them from the cache."""
        from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
        from webcam_ml.demo._database import open_database, read_record
        from webcam_ml.demo._plan import Shows, plan_snapshots
        from webcam_ml.features import BackboneSpec, extract_features, prepare_backbone

        with open_database(f"sqlite:///{demo.resolve() / 'labels.sqlite'}") as connection:
            record = read_record(connection)
        assert record is not None
        plan = [
            one
            for one in plan_snapshots(record.options)
            if one.shows is Shows.VIEW and not one.dead and not one.truncated
        ]
        paths = [(record.image_folder / one.file_name).as_posix() for one in plan]
        frame = pl.DataFrame({"snapshot_id": [one.id for one in plan], "image_path_or_url": paths})
        images = ImageCache(cache_folder)
        index = build_image_index(frame, cache=images, settings=ImageSettings())
        digests = frame.join(index.frame, on="snapshot_id", how="left", maintain_order="left")
        # As configs/demo.yaml, no download, at a size and with as many numbers as twenty seeds can pay.
        spec = BackboneSpec(model_name="resnet18", weights="none", image_size=128, feature_stages=1)
        graph = prepare_backbone(spec, cache=cache_folder)
        features = extract_features(
            graph, digests["sha256"].to_list(), images=images, cache=cache_folder
        )
        return cls(record.options.seed, features.values, tuple(plan))

    def world(self, seed: int) -> World:
        """Draw what people and judge say, anew for each seed; the pictures stay."""
        from webcam_ml.demo._judges import TODAYS, said_by
        from webcam_ml.demo._raters import draw_votes, stars_of

        said = 1_000 * self.seed + seed
        votes = [
            draw_votes(said, one.id, one.beauty, mean_raters=1)[0].stars for one in self.snapshots
        ]
        return World(
            features=self.features,
            webcams=np.array([one.scene.index for one in self.snapshots]),
            true=np.array([stars_of(one.beauty) for one in self.snapshots], dtype=np.float64),
            people=np.array(votes, dtype=np.float64),
            score=np.array([said_by(said, TODAYS, one).score for one in self.snapshots]),
            no_event=np.array([one.no_event for one in self.snapshots]),
        )


@dataclass(frozen=True)
class Case:
    """What one head is trained on and measured with.

    Attributes:
        known: Pictures that people rated.
        alone: Pictures that only the judge knows.
        test: Pictures of other webcams.
        target: What the model is asked.
    """

    known: World
    alone: World
    test: World
    target: TargetConfig

    @classmethod
    def of(cls, world: World, *, target: TargetType, people: int, seed: int, judged: int) -> "Case":
        """Put webcams aside for the test, and let people rate some pictures of the others."""
        rng = np.random.default_rng([seed, 16])
        webcams = np.unique(world.webcams)
        aside = rng.choice(webcams, size=round(TEST_SHARE * len(webcams)), replace=False)
        is_test = np.isin(world.webcams, aside)
        train = rng.permutation(np.flatnonzero(~is_test))
        return cls(
            world.of(train[:people]),
            world.of(train[people : people + judged]),
            world.of(np.flatnonzero(is_test)),
            TargetConfig(target_type=target),
        )

    def with_no_sunset(self) -> "Case":
        """Let people say N, one star, of some of the pictures without an event."""
        says_no = self.alone.no_event & (np.arange(len(self.alone.people)) % 2 == 0)
        more = self.alone.of(says_no)
        more = replace(more, people=np.ones(len(more.people)))
        return replace(self, known=self.known.and_also(more), alone=self.alone.of(~says_no))

    def calibrated(self) -> Calibration:
        """Learn what the judge's scores mean, as the graph does."""
        columns = {
            "camera_id": self.known.webcams,
            "label_value": self.known.people,
            "score": self.known.score,
        }
        return calibrate_judge("judge", pl.DataFrame(columns), target=self.target)

    def head(self, judged: JudgedRows | None = None) -> LinearHead:
        """Train, as the graph does."""
        stars = pl.Series("stars", self.known.people).to_frame()
        label = stars.select(self.target.label_of(pl.col("stars")).cast(pl.Float64)).to_series()
        return fit_probe(
            self.known.features,
            self.target.asked.to_head(label.to_numpy()),
            self.known.webcams,
            asked=self.target.asked,
            judged=judged,
        ).head

    def heard(self, target: Array, weight: float, rows: World | None = None) -> JudgedRows:
        """Make training rows of what the judge says; `target` as the head has it."""
        rows = self.alone if rows is None else rows
        return JudgedRows(rows.features, target, np.full(len(target), weight), rows.webcams)

    def measured(self, head: LinearHead) -> dict[str, float]:
        """AUC (binary) or mean distance in stars, by the true ratings and by people's."""
        value = head(self.test.features)
        by = {"by_true": self.test.true, "by_people": self.test.people}
        if self.target.asked.has_classes:
            from sklearn.metrics import roc_auc_score

            return {
                name: float(roc_auc_score(stars >= POSITIVE_FROM, value))
                for name, stars in by.items()
            }
        stars_said = rating_of(self.target.asked.squash(value))
        return {name: float(np.abs(stars_said - stars).mean()) for name, stars in by.items()}


Way = Callable[[Case, Calibration], JudgedRows | None]


def _target(case: Case, map_of: MonotoneMap | None, rows: World | None = None) -> Array:
    assert map_of is not None
    return case.target.asked.to_head(map_of((case.alone if rows is None else rows).score))


def _means(case: Case) -> Array:
    """Mean stars by score, as a regression would learn them if it took them as they are."""
    return case.target.asked.to_head(
        fit_mean(case.known.score, case.known.people)(case.alone.score)
    )


def _fused(case: Case, of: Calibration) -> JudgedRows:
    # One label of both, weighed, is the same as a row of each.
    rows = case.known.and_also(case.alone)
    return case.heard(_target(case, of.target, rows), of.weight, rows)


# Name → what of the judge is learned from, where it speaks. The graph's own way is `soft`.
BINARY: Mapping[str, Way] = {
    "soft": lambda case, of: case.heard(_target(case, of.target), of.weight),
    "fixed cut": lambda case, of: case.heard((case.alone.score >= FIXED_CUT).astype(float), 1.0),
    "learned cut": lambda case, of: case.heard((case.alone.score >= (of.cut or 0)) * 1.0, 1.0),
    "soft, weight 1": lambda case, of: case.heard(_target(case, of.target), 1.0),
    "fused": _fused,
}
REGRESSION: Mapping[str, Way] = {
    "soft": lambda case, of: case.heard(_target(case, of.target), of.weight),
    "scores as stars": lambda case, of: case.heard(case.alone.score, 1.0),
    "means": lambda case, of: case.heard(_means(case), of.weight),
    "means, whole skill": lambda case, of: case.heard(_means(case), 2 * of.weight),
    "medians": lambda case, of: case.heard(_target(case, of.stars), of.weight),
    "medians, whole skill": lambda case, of: case.heard(_target(case, of.stars), 2 * of.weight),
    "soft, whole skill": lambda case, of: case.heard(_target(case, of.target), 2 * of.weight),
    "soft, clipped": lambda case, of: case.heard(_target(case, of.target).clip(0, 1), of.weight),
    "fused": _fused,
}
WAYS: Mapping[str, Mapping[str, Way]] = {"binary": BINARY, "regression": REGRESSION}
ALONE, WITH_N, SOFT_WITH_N = "people alone", "people and N", "soft and N"


def way_names(target: str) -> list[str]:
    """All ways that are compared for a target."""
    return [ALONE, *WAYS[target], WITH_N, SOFT_WITH_N]


def measure(case: Case, way: str) -> dict[str, float]:
    """Train one head in one way, and measure it."""
    if way in (WITH_N, SOFT_WITH_N):
        case = case.with_no_sunset()
    calibration = case.calibrated()
    judged = None
    if way not in (ALONE, WITH_N) and calibration.speaks:
        chosen = "soft" if way == SOFT_WITH_N else way
        judged = WAYS[case.target.target_type][chosen](case, calibration)
    found = case.measured(case.head(judged))
    return {**found, "speaks": float(calibration.speaks), "weight": calibration.weight}


# What cannot be trusted: it says so by saying nothing.
UNTRUSTED: Mapping[str, Callable[[World, np.random.Generator], Array]] = {
    "noise": lambda world, rng: rng.permutation(world.score),
    "constant": lambda world, rng: np.full_like(world.score, 0.45),
    "inverted": lambda world, rng: 1 - world.score,
}


def untrusted_that_speak(world: World, *, people: int, seed: int) -> dict[str, bool]:
    """Which judges that know nothing are admitted; where none is, heads are those of people alone."""
    rng = np.random.default_rng([seed, 17])
    return {
        name: Case.of(
            replace(world, score=spoil(world, rng)),
            target="binary",
            people=people,
            seed=seed,
            judged=0,
        )
        .calibrated()
        .speaks
        for name, spoil in UNTRUSTED.items()
    }


def interval(values: Array) -> str:
    """Mean of paired differences and its t-interval."""
    from scipy.stats import t

    mean, n = values.mean(), len(values)
    if n < 2:
        return f"{mean:+.4f}"
    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / n**0.5
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f})"


def table(results: pl.DataFrame) -> str:
    """Give the results as Markdown."""
    heads = ["world", "target", "people", "judge", "seeds", "way", "by true", "by people",
             "difference by true", "difference by people"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    keys = ["world", "target", "people", "judged", "way"]
    usual = results.filter(pl.col("way") == ALONE)
    for key, group in results.group_by(keys, maintain_order=True):
        pairs = group.join(
            usual, on=["world", "target", "people", "judged", "seed"], suffix="_alone"
        )
        *sizes, way = (str(one) for one in key)
        cells = [*sizes, str(pairs.height), way]
        cells += [f"{pairs[name].mean():.4f}" for name in ("by_true", "by_people")]
        cells += [
            "" if way == ALONE else interval((pairs[name] - pairs[f"{name}_alone"]).to_numpy())
            for name in ("by_true", "by_people")
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="gets results and features")
    parser.add_argument(
        "--pictures", type=Path, help="a demo with judges, instead of drawn features"
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--people", type=int, nargs="+", default=[3_000, 1_000, 300])
    parser.add_argument("--judged", type=int, default=17_000, help="pictures that only it knows")
    parser.add_argument("--targets", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--ways", nargs="+", help="some of them; people alone are always measured")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("webcam_ml.progress").setLevel(logging.INFO)
    arguments.folder.mkdir(parents=True, exist_ok=True)

    name = "features" if arguments.pictures is None else "pictures"
    wanted = [
        (name, target, people, arguments.judged, seed, way)
        for seed, target, people in itertools.product(
            range(arguments.seeds), arguments.targets, arguments.people
        )
        for way in way_names(target)
        if not arguments.ways or way in (ALONE, *arguments.ways)
    ]
    path = arguments.folder / RESULTS
    done = pl.read_csv(path).to_dicts() if path.exists() else []
    there = {tuple(row[key] for key in KEYS) for row in done}
    missing = [key for key in wanted if key not in there]
    pictures = None
    if arguments.pictures is not None and missing:
        pictures = DrawnPictures.of(arguments.pictures, arguments.folder / "cache")
    worlds: dict[int, World] = {}
    for key in track(missing, total=len(missing), what="judges", unit="heads"):
        _, target, people, judged, seed, way = key
        if seed not in worlds:
            # Enough for the largest number of people, the judge's and the test's share.
            number = round((max(arguments.people) + judged) / (1 - TEST_SHARE) * 1.1)
            worlds = {seed: pictures.world(seed) if pictures else draw_features(seed, number)}
        case = Case.of(worlds[seed], target=target, people=people, seed=seed, judged=judged)
        found = measure(case, way)
        if way == ALONE:
            spoke = untrusted_that_speak(worlds[seed], people=people, seed=seed)
            found["untrusted_speak"] = float(sum(spoke.values()))
        done.append(dict(zip(KEYS, key, strict=True)) | {"untrusted_speak": 0.0} | found)
        pl.DataFrame(done, infer_schema_length=None).write_csv(path)
    results = pl.DataFrame(done, infer_schema_length=None).join(
        pl.DataFrame(wanted, schema=list(KEYS), orient="row"), on=KEYS, how="semi"
    )
    print(table(results))
    admitted = results["untrusted_speak"].sum()
    usual = results.filter(pl.col("way") == ALONE)
    print(f"\nnoise, constant or inverted judges that speak: {admitted:g} of {3 * usual.height}")
    print(
        f"the judge speaks in {results['speaks'].mean():.0%}, weight {results['weight'].mean():.2f}"
    )


if __name__ == "__main__":
    main()
