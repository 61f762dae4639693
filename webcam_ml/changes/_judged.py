"""Test pictures that two models judge differently: to the right side or to the wrong one."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from webcam_ml.contracts import rating_of, target_of
from webcam_ml.judging import CANDIDATE, RIVAL, ScoredRows

RIGHT_NOW, WRONG_NOW, NEARER, FARTHER = "right_now", "wrong_now", "nearer", "farther"
AS_NEAR = "as_near"


@dataclass(frozen=True)
class Thresholds:
    """The raw scores from which A and B call a picture positive."""

    a: float
    b: float


def judged_otherwise(rows: ScoredRows, thresholds: Thresholds | None) -> pl.DataFrame:
    """Say of each test picture how the judgement of B differs from that of A.

    Args:
        rows: Test rows with the scores of both; B is the candidate, A the rival.
        thresholds: Where each decides; None where nothing is decided.

    Returns:
        The rows' frame with `a` and `b` (on the star scale), `move` (b − a) and `change`: `right_now`
        or `wrong_now` where the two are on different sides of their thresholds; else `nearer`,
        `farther` or `as_near`, by whose prediction is nearer to the target.
        The largest moves come first.
    """
    target = rows.target
    error_a, error_b = (np.abs(rows.prediction(one) - target) for one in (RIVAL, CANDIDATE))
    change = np.where(error_b < error_a, NEARER, np.where(error_b > error_a, FARTHER, AS_NEAR))
    if thresholds is not None:
        side_a = rows.scores[RIVAL] >= thresholds.a
        side_b = rows.scores[CANDIDATE] >= thresholds.b
        positive = target >= target_of(rows.target_type).positive_label
        crossed = np.where(side_b == positive, RIGHT_NOW, WRONG_NOW)
        change = np.where(side_a != side_b, crossed, change)
    a, b = rating_of(rows.scores[RIVAL]), rating_of(rows.scores[CANDIDATE])
    return rows.frame.with_columns(
        pl.Series("a", a),
        pl.Series("b", b),
        pl.Series("move", b - a),
        pl.Series("change", change),
    ).sort(pl.col("move").abs(), "snapshot_id", descending=[True, False])
