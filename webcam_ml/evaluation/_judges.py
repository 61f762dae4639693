"""Judges that are no people as scorers of the test rows, beside the model and one person."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from webcam_ml.dataset import Manifest
from webcam_ml.dataset.judges import Calibration
from webcam_ml.evaluation._baselines import improvement_over
from webcam_ml.evaluation._document import JudgeOnTest, JudgeRaters
from webcam_ml.evaluation._raters import LeftOut
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.labels import scores_of
from webcam_ml.metrics import FloatArray, Interval

# As few rows as a slice that nobody judges by.
MIN_ROWS = 30


@dataclass(frozen=True, eq=False)
class JudgeScores:
    """What a judge said, and what that means.

    Attributes:
        calibration: Learned on training webcams.
        scores: `snapshot_id` and `score`, of any rows.
    """

    calibration: Calibration
    scores: pl.DataFrame


def judges_of(manifest: Manifest) -> tuple[JudgeScores, ...] | None:
    """Take the judges and their scores out of a manifest; None if its label source hears none."""
    if manifest.meta.heard is None or manifest.said is None:
        return None
    scores = scores_of(manifest.said)
    return tuple(
        JudgeScores(one.calibration, scores.filter(pl.col("judge") == one.calibration.name))
        for one in manifest.meta.heard.judges
    )


def measure_judges(
    test: SplitRows, judges: Sequence[JudgeScores], *, binary_threshold: float | None
) -> list[JudgeOnTest]:
    """Measure each judge, whether it speaks or not, on the test rows that it scored.

    Args:
        test: The split.
        judges: What they said of it.
        binary_threshold: Binary: ratings at or above it are positive, in stars.
    """
    return [_measure(one, test, binary_threshold) for one in judges]


def _measure(judge: JudgeScores, test: SplitRows, binary_threshold: float | None) -> JudgeOnTest:
    score = test.frame.join(judge.scores, on="snapshot_id", how="left", maintain_order="left")
    rows = test.where(score["score"].is_not_null().to_numpy())
    left_out = LeftOut.of(rows, binary_threshold=binary_threshold)
    said = _prediction(judge.calibration, rows, score["score"].drop_nulls().to_numpy())
    if isinstance(said, str):
        of_judge = improvement = among_raters = _none(said)
    else:
        of_judge = rows.bootstrap.estimate(rows.primary_metric, rows.target, said).interval()
        improvement, _ = improvement_over(rows, said)
        among_raters = left_out.measured(said[left_out.row])
    of_model = of_judge
    if rows.rows >= MIN_ROWS:
        estimate = rows.bootstrap.estimate(rows.primary_metric, rows.target, rows.prediction)
        of_model = estimate.interval()
    return JudgeOnTest(
        name=judge.calibration.name,
        silent_because=judge.calibration.reason,
        rows=rows.rows,
        webcams=rows.webcams,
        positives=int(rows.positive.sum()),
        judge=of_judge,
        model=of_model,
        improvement=improvement,
        raters=JudgeRaters(**left_out.raters().model_dump(), judge=among_raters),
    )


def _prediction(calibration: Calibration, rows: SplitRows, score: FloatArray) -> FloatArray | str:
    """Bring scores to what the metric compares: stars, or anything in order; or say why not."""
    if rows.rows < MIN_ROWS:
        return f"{rows.rows} test rows have its score; {MIN_ROWS} are needed"
    if not rows.asked.in_stars:
        return score
    if calibration.stars is None:
        return f"what its scores mean in stars was not learned: {calibration.reason}"
    return calibration.stars(score)


def _none(reason: str) -> Interval:
    return Interval(value=None, low=None, high=None, reason=reason)
