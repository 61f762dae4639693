"""How stars follow from a judge's scores, and whether it can be trusted to speak where people did not.

A judge's scale is its own: what it calls .45 may be what people give four stars. So a score means
what people said about other pictures with that score: in the middle, where one wants to read it as
stars, and on average, where a model learns from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.dataset._targets import TargetConfig
from webcam_ml.dataset.judges._chance import chance_of, skill, typical_scores
from webcam_ml.dataset.judges._monotone import DECIMALS, MonotoneMap, fit_mean, fit_median
from webcam_ml.metrics import Interval, webcam_estimate, webcam_interval

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

# Of a judge that is as good as a language model was measured to be, 93 of 100 are admitted with 40
# webcams; of judges that say nothing or the opposite, none. Skill above zero would admit half of them.
MIN_ROWS = 200
MIN_WEBCAMS = 40
MIN_POSITIVES = 20
MIN_AUC = 0.6
CONFIDENCE = 0.95
# A label of a judge counts less than one of a person even where the judge never erred.
WEIGHT_OF_SKILL = 0.5
FOLDS = 5
# More rows make no interval over webcams narrower that is this narrow, and take minutes to resample.
MEASURED_ROWS = 20_000
BOOTSTRAP_SAMPLES = 500
RANDOM_STATE = 0

# Shares of judge-only scores that differ by more than this are another distribution.
DRIFT = 0.25
DRIFT_BINS = 10
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Overlap:
    """What a judge and people both judged.

    Attributes:
        rows: Snapshots.
        webcams: Their webcams.
        positives: Those of at least `binary_threshold` stars.
    """

    rows: int
    webcams: int
    positives: int


@dataclass(frozen=True)
class Calibration:
    """What a judge's scores mean, learned from snapshots that people judged too.

    Attributes:
        name: Of the judge.
        reason: Why it does not speak; None if it does.
        overlap: What it and people judged.
        stars: From score to the stars in the middle; None below the limits of overlap, like all that follows.
        target: From score to what a model learns: the share of positives (binary), or stars, spread as
            far as people's are (regression).
        spread: Standard deviation of people's stars around the map, in stars, on webcams that it has
            not seen.
        cut: The score from which pictures are called positive with the best F1; for reading only.
        auc: How well the score tells positives from others.
        spearman: Rank correlation of score and stars.
        mae: Mean distance of people's stars from the map, in stars, on webcams that it has not seen.
        weight: What one of its labels counts in training, where a person's counts 1: half of the skill,
            which is 1 − (squared error of the target on unseen webcams) / (that of the mean).
        typical_scores: Scores of which each stands for an equal part of the common snapshots.
        target_error: How far the map `target` may be off by chance, as a root mean square over the
            typical scores: 975 of 1,000 maps of webcams drawn anew are nearer to it.
        weight_error: The same of the weight.
    """

    name: str
    reason: str | None
    overlap: Overlap
    stars: MonotoneMap | None = None
    target: MonotoneMap | None = None
    spread: float | None = None
    cut: float | None = None
    auc: Interval | None = None
    spearman: Interval | None = None
    mae: Interval | None = None
    weight: float = 0.0
    typical_scores: tuple[float, ...] = ()
    target_error: float | None = None
    weight_error: float | None = None

    @property
    def speaks(self) -> bool:
        """Whether its scores become labels where people said nothing."""
        return self.reason is None

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for export_meta.json."""
        return {
            "name": self.name,
            "speaks": self.speaks,
            "reason": self.reason,
            "overlap": asdict(self.overlap),
            "knots": _knots(self.stars),
            "target_knots": _knots(self.target),
            "spread": self.spread,
            "cut": self.cut,
            "weight": self.weight,
            "typical_scores": list(self.typical_scores),
            "target_error": self.target_error,
            "weight_error": self.weight_error,
            "auc": _interval(self.auc),
            "spearman": _interval(self.spearman),
            "mae": _interval(self.mae),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(
            name=values["name"],
            reason=values["reason"],
            overlap=Overlap(**values["overlap"]),
            stars=MonotoneMap.of(values["knots"]) if values["knots"] else None,
            target=MonotoneMap.of(values["target_knots"]) if values["target_knots"] else None,
            spread=values["spread"],
            cut=values["cut"],
            weight=values["weight"],
            typical_scores=tuple(values["typical_scores"]),
            target_error=values["target_error"],
            weight_error=values["weight_error"],
            auc=values["auc"] and Interval(**values["auc"]),
            spearman=values["spearman"] and Interval(**values["spearman"]),
            mae=values["mae"] and Interval(**values["mae"]),
        )


def calibrate_judge(name: str, common: pl.DataFrame, *, target: TargetConfig) -> Calibration:
    """Learn what a judge's scores mean, and decide whether it may speak.

    Args:
        name: Of the judge.
        common: Snapshots of training webcams that it and people judged: `camera_id`, `label_value`
            (people's stars), `score` (on any scale, larger is better).
        target: What the model is asked; its `binary_threshold` says what a positive is, whatever the
            target type.
    """
    cameras = common["camera_id"].to_numpy()
    stars = common["label_value"].to_numpy().astype(np.float64)
    positive = (stars >= target.binary_threshold).astype(np.float64)
    overlap = Overlap(len(stars), len(np.unique(cameras)), int(positive.sum()))
    reason = _too_little(overlap, target)
    if reason is not None:
        return Calibration(name, reason, overlap)

    score = common["score"].to_numpy().astype(np.float64)
    label = common.select(target.label_of(pl.col("label_value")).cast(pl.Float64)).to_series()
    targets = label.to_numpy()
    measured = _measured(cameras)
    resampling: dict[str, Any] = {
        "webcam_id": cameras[measured],
        "bootstrap_samples": BOOTSTRAP_SAMPLES,
        "random_state": RANDOM_STATE,
    }
    auc = webcam_estimate("roc_auc", positive[measured], score[measured], **resampling)
    unseen_stars = _out_of_fold(score, stars, cameras, fit=fit_median)
    means = fit_mean(score, targets)
    unseen_targets = _out_of_fold(score, targets, cameras, fit=fit_mean)
    learned = means if target.asked.has_classes else _spread_out(means, score, targets)
    typical = typical_scores(score)
    chance = chance_of(score, targets, unseen_targets, cameras, typical=typical)
    return Calibration(
        name,
        _no_relation(auc.lower_bound(CONFIDENCE), auc.reason, target),
        overlap,
        stars=fit_median(score, stars),
        target=learned,
        spread=round(float(np.sqrt(np.mean((stars - unseen_stars) ** 2))), DECIMALS),
        cut=_best_cut(score, positive),
        auc=auc.interval(),
        spearman=webcam_interval("spearman", stars[measured], score[measured], **resampling),
        mae=webcam_interval("mae", stars[measured], unseen_stars[measured], **resampling),
        weight=round(WEIGHT_OF_SKILL * skill(targets, unseen_targets), DECIMALS),
        typical_scores=tuple(typical.tolist()),
        target_error=round(_stretch(means, learned) * chance.target, DECIMALS),
        weight_error=round(WEIGHT_OF_SKILL * chance.skill, DECIMALS),
    )


def population_stability(common: Array, alone: Array) -> float:
    """Measure how far the scores where a judge is alone are from those where people judged too.

    The population stability index Σ (q − p) · ln(q / p) over tenths of the common scores; above
    `DRIFT` the map was learned on other pictures than it is used for.

    Args:
        common: [rows] scores of snapshots that people judged too, at least one.
        alone: [rows] scores of the others, at least one.
    """
    edges = np.unique(np.quantile(common, np.arange(1, DRIFT_BINS) / DRIFT_BINS))
    shares = [
        np.maximum(
            np.bincount(np.searchsorted(edges, scores), minlength=len(edges) + 1) / len(scores),
            LEAST_SHARE,
        )
        for scores in (common, alone)
    ]
    return round(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()), DECIMALS)


def _measured(cameras: Groups) -> npt.NDArray[np.bool_]:
    """Choose the rows of as many whole webcams, drawn by lot, as have `MEASURED_ROWS` together."""
    names, sizes = np.unique(cameras, return_counts=True)
    lot = np.random.default_rng(RANDOM_STATE).permutation(len(names))
    before = sizes[lot].cumsum() - sizes[lot]
    return np.isin(cameras, names[lot[before < MEASURED_ROWS]])


def _too_little(overlap: Overlap, target: TargetConfig) -> str | None:
    stars = f"at least {target.binary_threshold:g} stars"
    for found, least, what in (
        (overlap.rows, MIN_ROWS, "snapshots of training webcams that people judged too"),
        (overlap.webcams, MIN_WEBCAMS, "training webcams with snapshots that people judged too"),
        (overlap.positives, MIN_POSITIVES, f"of them that people gave {stars}"),
    ):
        if found < least:
            return f"{found:,} {what}; {least:,} are needed to learn its scale"
    return None


def _no_relation(bound: float | None, why: str | None, target: TargetConfig) -> str | None:
    what = f"its scores tell snapshots of {target.binary_threshold:g} stars or more from others"
    if bound is None:
        return f"how well {what} cannot be measured: {why}"
    if bound <= MIN_AUC:
        return (
            f"{what} with an AUC whose lower bound is {bound:.3f} on webcams drawn anew; more than "
            f"{MIN_AUC:g} is needed"
        )
    return None


def _out_of_fold(
    score: Array, value: Array, cameras: Groups, *, fit: Callable[[Array, Array], MonotoneMap]
) -> Array:
    """Predict each row by a map that saw no row of its camera."""
    from sklearn.model_selection import GroupKFold

    predicted = np.empty_like(value)
    for train, held_out in GroupKFold(FOLDS).split(score, groups=cameras):
        predicted[held_out] = fit(score[train], value[train])(score[held_out])
    return predicted


def _spread_out(means: MonotoneMap, score: Array, target: Array) -> MonotoneMap:
    """Stretch a map of means about their mean until a row's expected value is its true one again.

    Means by score lie nearer to the middle than the values that they are of: where values rise by 1,
    they rise by var(means) / var(values). A linear head that learns such rows learns to
    say too little of what is good and too much of what is not. (Regression towards the mean;
    Carroll et al., Measurement Error in Nonlinear Models, 2006.) Below 1 star and above 5 is as it
    should be: only so are they right on average.
    """
    middle, variance = float(target.mean()), float(target.var())
    slope = float(means(score).var()) / variance if variance else 0.0
    if slope == 0:
        return means
    return MonotoneMap(
        tuple((at, round(middle + (value - middle) / slope, DECIMALS)) for at, value in means.knots)
    )


def _stretch(means: MonotoneMap, target: MonotoneMap) -> float:
    """By how much a map of targets is wider than that of means."""
    widths = [one.knots[-1][1] - one.knots[0][1] for one in (target, means)]
    return widths[0] / widths[1] if widths[1] else 1.0


def _best_cut(score: Array, positive: Array) -> float:
    """Find the score with the best F1 of "at least so much", of equals the highest."""
    at, code = np.unique(score, return_inverse=True)
    # From the highest score down.
    called = np.bincount(code)[::-1].cumsum()
    hits = np.bincount(code, weights=positive)[::-1].cumsum()
    f1 = 2 * hits / (called + positive.sum())
    return float(at[::-1][int(np.argmax(f1))])


def _interval(of: Interval | None) -> dict[str, Any] | None:
    return None if of is None else of.model_dump()


def _knots(of: MonotoneMap | None) -> list[list[float]]:
    return [] if of is None else [list(knot) for knot in of.knots]
