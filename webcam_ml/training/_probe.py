"""The linear probe: a linear head on frozen features, chosen by webcam-grouped cross-validation."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from webcam_ml.contracts import Target
from webcam_ml.errors import WebcamMLError
from webcam_ml.training._calibration import PlattScaling
from webcam_ml.training._settings import ClassWeight

if TYPE_CHECKING:
    import polars as pl

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ClassWeights = Mapping[int, float] | None

# Strength of the penalty, strongest first: a tie goes to the simpler head.
LOGISTIC_C = tuple(float(c) for c in np.logspace(-6, 1, 15))
RIDGE_ALPHA = tuple(float(a) for a in np.logspace(6, -1, 15))
FOLDS = 5
MIN_FOLDS = 2
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class _Problem:
    """What a head is fitted to.

    Attributes:
        x: [rows, features] standardised, or their coordinates in the span of the rows.
        target: [rows].
        weight: [rows]; None: all 1.
        classes: Weights of the classes; None: all 1.
        warm_start: Whether each fit starts where the one before it ended.
    """

    x: Array
    target: Array
    weight: Array | None
    classes: ClassWeights
    warm_start: bool


# With each of the penalties → coefficients and intercept.
Fit = Callable[[_Problem, Sequence[float]], Iterator[tuple[Array, float]]]


@dataclass(frozen=True)
class LinearHead:
    """A standardisation and a linear function folded into one: value = features · weight + bias.

    Attributes:
        weight: float64 [features].
        bias: One number.
    """

    weight: Array
    bias: float

    def __call__(self, features: npt.NDArray[np.floating[Any]]) -> Array:
        """Evaluate in float64: [rows, features] → [rows]."""
        return features.astype(np.float64) @ self.weight + self.bias

    def scaled(self, slope: float, intercept: float) -> "LinearHead":
        """Fold another linear step behind this one: slope · value + intercept."""
        return LinearHead(slope * self.weight, slope * self.bias + intercept)

    def calibrated(self, calibration: PlattScaling | None) -> "LinearHead":
        """Fold a calibration in, if there is one, and round as `in_float32`."""
        if calibration is None:
            return self.in_float32()
        return self.scaled(calibration.slope, calibration.intercept).in_float32()

    def in_float32(self) -> "LinearHead":
        """Round to what best.pt and the exported graph hold, so that all three score alike."""
        return LinearHead(
            self.weight.astype(np.float32).astype(np.float64), float(np.float32(self.bias))
        )


@dataclass(frozen=True)
class JudgedRows:
    """Training rows whose target a judge knows, not people, or whose picture is of no webcam.

    They are learned from and nothing else: standardisation, penalty, folds and calibration are of
    people's rows.

    Attributes:
        features: [rows, features].
        target: [rows] in 0–1: a share (binary) or a scaled rating (regression).
        weight: [rows] what each counts where a row of people counts 1; above 0.
        groups: [rows] webcam ids.
    """

    features: npt.NDArray[np.floating[Any]]
    target: Array
    weight: Array
    groups: IntArray

    @classmethod
    def of(
        cls,
        rows: "pl.DataFrame",
        features: npt.NDArray[np.floating[Any]],
        *,
        asked: Target,
    ) -> "JudgedRows | None":
        """Make them of rows of a manifest and their features; None if there are no rows."""
        if rows.is_empty():
            return None
        return cls(
            features,
            asked.to_head(rows["target_label"].to_numpy()),
            rows["label_weight"].to_numpy(),
            rows["camera_id"].to_numpy(),
        )

    def without(self, groups: IntArray) -> "JudgedRows | None":
        """Leave the rows of some webcams out; None if no row is left."""
        kept = ~np.isin(self.groups, groups)
        if not kept.any():
            return None
        return JudgedRows(
            self.features[kept], self.target[kept], self.weight[kept], self.groups[kept]
        )


@dataclass(frozen=True)
class Probe:
    """A trained head and how it was chosen.

    Attributes:
        head: Trained on all rows with the chosen penalty; gives log-odds or a 0–1 rating.
        out_of_fold: For each row, the value given by a head that saw no row of its webcam.
        penalty: The chosen C (binary) or alpha (regression).
        search: Penalty and mean out-of-fold loss of each candidate (log loss or squared error).
        folds: Number of folds.
    """

    head: LinearHead
    out_of_fold: Array
    penalty: float
    search: Sequence[tuple[float, float]]
    folds: int

    @property
    def loss(self) -> float:
        """The mean out-of-fold loss with the chosen penalty."""
        return dict(self.search)[self.penalty]


def fit_probe(
    features: npt.NDArray[np.floating[Any]],
    target: Array,
    groups: IntArray,
    *,
    asked: Target,
    class_weight: ClassWeight = "none",
    random_state: int = 0,
    judged: JudgedRows | None = None,
) -> Probe:
    """Train the head; the penalty is the one with the least out-of-fold loss over webcams.

    Args:
        features: [rows, features].
        target: [rows], 0 or 1 (binary) or ratings scaled to 0–1 (regression).
        groups: [rows], webcam ids; no webcam is trained and judged on at once.
        asked: Says which regression, and by which loss the penalty is chosen.
        class_weight: `balanced` weighs both classes alike (binary only).
        random_state: Seed of the folds.
        judged: Rows that only judges know, or of no webcam; no head sees those of webcams that it is
            judged on.

    Raises:
        WebcamMLError: Fewer than two webcams (per class, if binary), or features without variation.
    """
    if class_weight not in get_args(ClassWeight):
        raise WebcamMLError(
            f"class_weight {class_weight!r} is unknown: choose {' or '.join(get_args(ClassWeight))}"
        )
    x = features.astype(np.float64)
    if not np.isfinite(x).all():
        raise WebcamMLError(
            f"{int((~np.isfinite(x)).any(axis=1).sum())} of {len(x)} pictures have features that are "
            "not finite: the weights are damaged or not of this network (see `weights`)"
        )
    if not (x.std(axis=0) > 0).any():
        raise WebcamMLError(
            f"all {len(x)} training pictures have the same features: the pictures are equal, or the "
            "weights are constant (see `weights`)"
        )
    folds = list(_folds(target, groups, asked=asked, random_state=random_state))
    candidates, fit = HEADS[asked.head]
    values_of = np.empty((len(candidates), len(target)))
    for train, held_out in folds:
        others = None if judged is None else judged.without(groups[held_out])
        heads = _fit_heads(x[train], target[train], candidates, fit, class_weight, judged=others)
        unseen = x[held_out]
        for values, head in zip(values_of, heads, strict=True):
            values[held_out] = head(unseen)
    best: tuple[float, float, Array] | None = None
    search: list[tuple[float, float]] = []
    for penalty, values in zip(candidates, values_of, strict=True):
        loss = asked.loss(target, values)
        search.append((penalty, loss))
        if best is None or loss < best[1] - 1e-12:
            best = (penalty, loss, values)
    assert best is not None
    penalty, _, out_of_fold = best
    (head,) = _fit_heads(x, target, (penalty,), fit, class_weight, judged=judged)
    return Probe(
        head=head,
        out_of_fold=out_of_fold,
        penalty=penalty,
        search=search,
        folds=len(folds),
    )


def fit_channel_means(
    channel_means: npt.NDArray[np.floating[Any]], target: Array, *, asked: Target
) -> LinearHead:
    """Train the trivial baseline: the same regression on the three channel means alone."""
    x = channel_means.astype(np.float64)
    (head,) = _fit_heads(x, target, (1.0,), HEADS[asked.head][1])
    return head


def _folds(
    target: Array, groups: IntArray, *, asked: Target, random_state: int
) -> Iterator[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    webcams = len(np.unique(groups))
    limit = webcams
    if asked.has_classes:
        limit = min(len(np.unique(groups[target == label])) for label in (0, 1))
    if limit < MIN_FOLDS:
        what = "a picture of the rarer class" if asked.has_classes else "training pictures"
        raise WebcamMLError(
            f"only {limit} of {webcams} training webcams has {what}; at least {MIN_FOLDS} are needed "
            "to choose a head that holds on an unseen webcam. Rate snapshots of more webcams"
            + (", or move binary_threshold" if asked.has_classes else "")
        )
    count = min(FOLDS, limit)
    if asked.has_classes:
        for folds in range(count, MIN_FOLDS - 1, -1):
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state)
            parts = list(splitter.split(np.zeros(len(target)), target, groups))
            # A few large webcams can hold a whole class; fewer folds then keep both in training.
            if all(len(np.unique(target[train])) == 2 for train, _ in parts):
                yield from parts
                return
        raise WebcamMLError(
            f"{webcams} training webcams cannot be divided so that both classes are in each part: "
            "rate snapshots of more webcams, or move binary_threshold"
        )
    splitter = GroupKFold(count, shuffle=True, random_state=random_state)
    yield from splitter.split(np.zeros(len(target)), target, groups)


def _fit_heads(
    x: Array,
    target: Array,
    penalties: Sequence[float],
    fit: Fit,
    class_weight: ClassWeight = "none",
    *,
    judged: JudgedRows | None = None,
) -> Iterator[LinearHead]:
    """Fit one head for each penalty; the rows are standardised once for all of them."""
    classes = class_weights(target) if class_weight == "balanced" else None
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # A feature without variation says nothing: weight zero, and no division by zero.
    scale = np.where(deviation > 0, deviation, np.inf)
    standardised = x - mean
    standardised /= scale
    weight_of_rows = None
    if judged is not None:
        others = (judged.features.astype(np.float64) - mean) / scale
        standardised = np.concatenate([standardised, others])
        weight_of_rows = np.concatenate([np.ones(len(target)), judged.weight])
        target = np.concatenate([target, judged.target])
    # With more features than rows the penalty leaves no head outside of what the rows span, and in a
    # basis of that the same problem has fewer unknowns. Rotated, it has the same penalty. Equal rows
    # span nothing, and get weights of zero as they are.
    basis = None
    if standardised.shape[1] > len(standardised) and standardised.any():
        standardised, basis = span_of_rows(standardised)
    problem = _Problem(standardised, target, weight_of_rows, classes, warm_start=basis is not None)
    for coefficients, intercept in fit(problem, penalties):
        weight = (coefficients if basis is None else basis @ coefficients) / scale
        yield LinearHead(weight, intercept - float(mean @ weight))


def span_of_rows(x: Array) -> tuple[Array, Array]:
    """Give rows in the eigenbasis of their Gram matrix x xᵀ.

    Args:
        x: [rows, features].

    Returns:
        Coordinates [rows, rank] and an orthonormal basis [features, rank]: x = coordinates · basisᵀ.
    """
    eigenvalues, vectors = np.linalg.eigh(x @ x.T)
    # What is less than this is rounding.
    kept = eigenvalues > eigenvalues[-1] * len(x) * np.finfo(np.float64).eps
    lengths = np.sqrt(eigenvalues[kept])
    return vectors[:, kept] * lengths, x.T @ (vectors[:, kept] / lengths)


def class_weights(target: Array) -> ClassWeights:
    """Give the weights with which both classes weigh alike, by people's 0 and 1."""
    rows, positives = len(target), float(target.sum())
    return {0: rows / (2 * (rows - positives)), 1: rows / (2 * positives)}


def _logistic(problem: _Problem, penalties: Sequence[float]) -> Iterator[tuple[Array, float]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        class_weight=problem.classes,
        # 4 to 30 times faster than lbfgs on some hundred features, and closer to the optimum
        solver="newton-cg",
        max_iter=MAX_ITERATIONS,
        warm_start=problem.warm_start,
    )
    x, label, weight = problem.x, problem.target.astype(np.int64), problem.weight
    if weight is not None:
        # A share is a row of either class, each with its part of the weight: the same optimum.
        x, label, weight = _both_classes(x, problem.target, weight)
    for penalty in penalties:
        model.set_params(C=penalty)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            model.fit(x, label, sample_weight=weight)
        # Copied: a later fit may start in this array.
        yield model.coef_[0].copy(), float(model.intercept_[0])


def _both_classes(x: Array, target: Array, weight: Array) -> tuple[Array, IntArray, Array]:
    """Turn shares into rows of 0 and 1 with weights above zero."""
    parts = np.concatenate([weight * target, weight * (1 - target)])
    label = np.repeat(np.array([1, 0], dtype=np.int64), len(target))
    kept = parts > 0
    return np.concatenate([x, x])[kept], label[kept], parts[kept]


def _ridge(problem: _Problem, penalties: Sequence[float]) -> Iterator[tuple[Array, float]]:
    from sklearn.linear_model import Ridge

    for penalty in penalties:
        model = Ridge(alpha=penalty)
        model.fit(problem.x, problem.target, sample_weight=problem.weight)
        yield model.coef_, float(model.intercept_)


# What a target calls its regression → penalties, strongest first, and the fits.
HEADS: Mapping[str, tuple[tuple[float, ...], Fit]] = {
    "logistic regression": (LOGISTIC_C, _logistic),
    "ridge regression": (RIDGE_ALPHA, _ridge),
}
