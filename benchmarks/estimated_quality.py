"""Whether scores of a judge tell more of a model's quality than people's labels do: docs/monitoring.md.

Prediction-powered inference (Angelopoulos et al. 2023; PPI++ 2024): the metric by people's labels, plus λ
times what the metric by the judge's word says more on all frames than on those of people. λ is the one of
smallest variance. Everything is summed by webcam, and intervals are those of `webcam_ml.metrics`: Student's
t with k−1 degrees of freedom, √(k/(k−1)), AUC on the logit scale. In place of a bootstrap there is the linear
term of each webcam.

Worlds are drawn from real labels: webcams with all their frames, stars and scores of a judge as they are.
The model is drawn: as good as a live one is, wrong about whole webcams too, and partly where the judge is.

    python -m benchmarks.estimated_quality --labels FOLDER

FOLDER has CSV files with the columns `webcam_id`, `stars` and `llm_quality`.
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WORLDS = 500
POSITIVE_FROM = 4.0
JUDGED_OF_EACH_RATED = 29_600 / 4_700
CONFIDENCE = 0.95
LEAST_GAIN = 0.15
BINS = 10
# Of the model: how far it follows stars, and which share of its mistakes is the webcam's, and is the judge's.
FOLLOWS, OF_WEBCAM, OF_JUDGE = 0.75, 0.25, 0.3
TRUTH_REPEATS = 40


class Real(NamedTuple):
    """All rows of the labels; `webcam` counts from 0."""

    webcam: Integers
    stars: Array
    judge: Array

    def mistake_of_judge(self, stars: Array, judge: Array) -> Array:
        """What the judge's scores say beside stars, of variance 1 over all labels."""
        slope, offset = np.polyfit(self.stars, self.judge, 1)
        spread = (self.judge - slope * self.stars - offset).std()
        mistake: Array = (judge - slope * stars - offset) / spread
        return mistake

    @classmethod
    def read(cls, folder: Path) -> "Real":
        rows = [
            row
            for path in sorted(folder.glob("*.csv"))
            for row in csv.DictReader(path.open(encoding="utf-8"))
        ]
        if not rows:
            raise SystemExit(f"{folder} has no CSV files with webcam_id, stars and llm_quality")
        _, webcam = np.unique([row["webcam_id"] for row in rows], return_inverse=True)
        return cls(
            webcam,
            np.array([float(row["stars"]) for row in rows]),
            np.array([float(row["llm_quality"]) for row in rows]),
        )


class Frames(NamedTuple):
    """Frames of drawn webcams; what people say of them, what the judge does, and the model."""

    webcam: Integers
    stars: Array
    judge: Array
    score: Array

    def of(self, rows: Integers) -> "Frames":
        return Frames(*(part[rows] for part in self))


@dataclass(frozen=True)
class Setting:
    """Who is rated and who is judged.

    Attributes:
        name: For the table.
        rated: Webcams of which people rated frames.
        judged: Webcams of which the judge alone has frames.
        chosen: How much rather people rate frames that the judge likes: the odds, from its lowest score to
            its highest.
    """

    name: str
    rated: int
    judged: int = 0
    chosen: float = 1.0


SETTINGS = (
    Setting("the test split", 90),
    Setting("validation and test", 180),
    Setting("all webcams, had the model seen none", 600),
    Setting("validation and test, as many webcams again judged alone", 180, 180),
    Setting("the test split, all other webcams judged alone", 90, 510),
    Setting("validation and test, people rate what is pretty", 180, 0, 4.0),
)


def draw(random: np.random.Generator, real: Real, setting: Setting) -> tuple[Frames, Frames]:
    """Draw a world: the frames that people rated, and all that the judge has."""
    of_webcam = np.split(
        np.argsort(real.webcam, kind="stable"), np.cumsum(np.bincount(real.webcam))[:-1]
    )
    chosen = random.integers(0, len(of_webcam), setting.rated + setting.judged)
    rows, webcams, gold = [], [], []
    for number, one in enumerate(chosen):
        found = of_webcam[one]
        rated = number < setting.rated
        # What was not rated is as what was: drawn from the frames that the webcam has.
        count = max(1, round(len(found) * JUDGED_OF_EACH_RATED))
        drawn = random.choice(found, count)
        odds = setting.chosen ** real.judge[drawn]
        by_people = random.choice(count, min(count, len(found)), False, odds / odds.sum())
        rows.append(drawn)
        webcams.append(np.full(count, number))
        is_gold = np.zeros(count, bool)
        is_gold[by_people] = rated
        gold.append(is_gold)
    index, webcam = np.concatenate(rows), np.concatenate(webcams)
    frames = scored(random, real, webcam, index)
    return frames.of(np.flatnonzero(np.concatenate(gold))), frames


def scored(random: np.random.Generator, real: Real, webcam: Integers, index: Integers) -> Frames:
    """Let a model score frames, which are rows of the labels under webcams of this world."""
    stars, judge = real.stars[index], real.judge[index]
    of_judge = real.mistake_of_judge(stars, judge)
    of_webcam = random.normal(size=webcam.max() + 1)[webcam]
    own = 1 - OF_WEBCAM - OF_JUDGE
    mistake = (
        np.sqrt(OF_JUDGE) * of_judge
        + np.sqrt(OF_WEBCAM) * of_webcam
        + np.sqrt(own) * random.normal(size=len(stars))
    )
    followed = (stars - real.stars.mean()) / real.stars.std()
    return Frames(webcam, stars, judge, FOLLOWS * followed + np.sqrt(1 - FOLLOWS**2) * mistake)


class Judge(NamedTuple):
    """What a score of the judge means, by people's labels of other webcams: P(stars | score), in bins."""

    edges: Array
    levels: Array
    share: Array

    @classmethod
    def calibrated(cls, random: np.random.Generator, real: Real) -> "Judge":
        webcams = random.integers(0, real.webcam.max() + 1, 420)
        rows = np.concatenate([np.flatnonzero(real.webcam == one) for one in webcams])
        edges = np.unique(np.quantile(real.judge[rows], np.linspace(0, 1, BINS + 1)[1:-1]))
        levels, level = np.unique(np.round(real.stars[rows]), return_inverse=True)
        share = np.full((len(edges) + 1, len(levels)), 0.1)
        np.add.at(share, (np.digitize(real.judge[rows], edges), level), 1.0)
        return cls(edges, levels, share / share.sum(axis=1, keepdims=True))

    def of(self, score: Array) -> Array:
        """P(stars) of each frame, [frames, levels]."""
        return self.share[np.digitize(score, self.edges)]


class Measured(NamedTuple):
    """A metric, and the linear term of each webcam: how it would change without it, but for the sign."""

    value: float
    terms: Array


def auc(positive: Array, score: Array, webcam: Integers, webcams: int) -> Measured:
    """ROC AUC of frames that are positive with a probability."""
    order = np.argsort(score)
    p, q = positive[order], 1 - positive[order]
    total_p, total_q = p.sum(), q.sum()
    below = np.cumsum(q) - q / 2
    above = total_p - np.cumsum(p) + p / 2
    value = float((p * below).sum() / (total_p * total_q))
    terms = p * (below / total_q - value) / total_p + q * (above / total_p - value) / total_q
    return Measured(value, np.bincount(webcam[order], terms, webcams))


def mae(loss: Array, webcam: Integers, webcams: int) -> Measured:
    """Mean absolute error, of the losses of frames."""
    value = float(loss.mean())
    return Measured(value, np.bincount(webcam, (loss - value) / len(loss), webcams))


def by_auc(frames: Frames, judge: Judge | None, webcams: int) -> Measured:
    """The AUC by the judge's word; by people's where there is none."""
    if judge is None:
        positive = (frames.stars >= POSITIVE_FROM).astype(float)
    else:
        positive = judge.of(frames.judge)[:, judge.levels >= POSITIVE_FROM].sum(axis=1)
    return auc(positive, frames.score, frames.webcam, webcams)


def by_mae(frames: Frames, judge: Judge | None, webcams: int) -> Measured:
    """The MAE by the judge's word; by people's where there is none."""
    predicted = np.clip(2 + 1.0 * frames.score, 1, 5)
    if judge is None:
        loss = np.abs(predicted - frames.stars)
    else:
        loss = (judge.of(frames.judge) * np.abs(predicted[:, None] - judge.levels)).sum(axis=1)
    return mae(loss, frames.webcam, webcams)


Measure = Callable[[Frames, Judge | None, int], Measured]


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def interval(measured: Measured, k: float, *, logit: bool) -> Interval:
    """The interval of docs/evaluation.md."""
    value = measured.value
    error = float(np.sqrt((measured.terms**2).sum() * k / (k - 1)))
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=k - 1)) * error
    if logit:
        at, slope = np.log(value / (1 - value)), 1 / (value * (1 - value))
        low, high = (1 / (1 + np.exp(-(at + sign * t * slope))) for sign in (-1, 1))
    else:
        low, high = (value * np.exp(sign * t / value) for sign in (-1, 1))
    return Interval(value, float(low), float(high))


def powered(people: Measured, judge_there: Measured, judge_everywhere: Measured) -> Measured:
    """PPI++ with the λ of smallest variance over webcams."""
    more = judge_everywhere.terms - judge_there.terms
    weight = -float((people.terms * more).sum() / max((more**2).sum(), 1e-30))
    return Measured(
        people.value + weight * (judge_everywhere.value - judge_there.value),
        people.terms + weight * more,
    )


def truth(random: np.random.Generator, real: Real, measure: Measure) -> float:
    """The metric over all webcams, each mistaken by the model in ever new ways."""
    every_row = np.arange(len(real.stars))
    frames = (scored(random, real, real.webcam, every_row) for _ in range(TRUTH_REPEATS))
    webcams = int(real.webcam.max()) + 1
    return float(np.mean([measure(one, None, webcams).value for one in frames]))


def measured_in(
    random: np.random.Generator, real: Real, setting: Setting, measure: Measure, *, logit: bool
) -> tuple[Interval, Interval]:
    """Measure a world by people alone, and with the judge."""
    gold, everything = draw(random, real, setting)
    judge = Judge.calibrated(random, real)
    webcams = setting.rated + setting.judged
    people = measure(gold, None, webcams)
    both = powered(people, measure(gold, judge, webcams), measure(everything, judge, webcams))
    sizes = np.bincount(gold.webcam).astype(float)
    k = float(sizes.sum() ** 2 / (sizes**2).sum())
    return interval(people, k, logit=logit), interval(both, k, logit=logit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    arguments = parser.parse_args()
    real = Real.read(arguments.labels)
    print(
        "| people rated | metric | true | covers: people | covers: with the judge | width saved |"
    )
    print("|---|---|---|---|---|---|")
    for name, measure in (("AUC", by_auc), ("MAE", by_mae)):
        true = truth(np.random.default_rng(1), real, measure)
        for number, setting in enumerate(SETTINGS):
            random = np.random.default_rng([2, number])
            found = [
                measured_in(random, real, setting, measure, logit=name == "AUC")
                for _ in range(arguments.worlds)
            ]
            covers = [
                np.mean([one.low <= true <= one.high for one in way])
                for way in zip(*found, strict=True)
            ]
            width = [
                np.mean([one.high - one.low for one in way]) for way in zip(*found, strict=True)
            ]
            print(
                f"| {setting.name} | {name} | {true:.3f} | {covers[0]:.3f} | {covers[1]:.3f} | "
                f"{1 - width[1] / width[0]:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
