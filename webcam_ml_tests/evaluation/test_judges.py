"""Judges as scorers of the test rows, against scikit-learn on the rows that they scored."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score

from webcam_ml.dataset import TargetConfig, build_manifest
from webcam_ml.dataset.judges import Calibration, Overlap, fit_median
from webcam_ml.evaluation import EvalReport, JudgeScores, judges_of
from webcam_ml.evaluation._document import JudgeOnTest
from webcam_ml.labels import LabelQuery
from webcam_ml.metrics import paired_difference
from webcam_ml.orchestration.presentation import of_evaluation
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels
from webcam_ml_tests.evaluation.frames import predictions, report
from webcam_ml_tests.evaluation.test_raters import left_out_one_by_one

REASON = "12 snapshots of training webcams that people judged too; 200 are needed"
MAP = fit_median(np.array([0.0, 0.2, 0.4, 0.6, 0.8]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))


def judge(name: str, frame: pl.DataFrame, **changes: object) -> JudgeScores:
    """A judge that scored two thirds of the rows, by the stars and some noise."""
    random = np.random.default_rng(1)
    noise = pl.Series(random.normal(scale=0.7, size=frame.height))
    score = ((pl.col("label_value") - 1 + noise) / 5).clip(0, 1)
    scored = frame.select("snapshot_id", score=score).filter(pl.col("snapshot_id") % 3 > 0)
    calibration = Calibration(name, reason=None, overlap=Overlap(900, 90, 180), stars=MAP)
    return JudgeScores(replace(calibration, **changes), scored)


def on_test(target_type: str, *judges: JudgeScores) -> list[JudgeOnTest]:
    found = report(target_type, judges=judges).document.judges
    assert found is not None
    return found


def scored_rows(target_type: str) -> pl.DataFrame:
    frame = predictions(target_type)
    rows = frame.filter(pl.col("split") == "test")
    return rows.join(judge("one", frame).scores, on="snapshot_id").sort("snapshot_id")


def test_a_binary_judge_is_measured_by_the_order_of_its_scores_on_the_rows_that_it_scored() -> None:
    rows = scored_rows("binary")
    (found,) = on_test("binary", judge("one", predictions("binary")))
    target, score, model = (
        rows[name].to_numpy() for name in ("target_label", "score", "raw_score")
    )
    assert (
        found.rows == rows.height < predictions("binary").filter(pl.col("split") == "test").height
    )
    assert found.webcams == rows["webcam_id"].n_unique()
    assert found.positives == int(target.sum())
    assert found.silent_because is None
    assert found.judge.value == pytest.approx(roc_auc_score(target, score), abs=1e-6)
    assert found.model.value == pytest.approx(roc_auc_score(target, model), abs=1e-6)
    webcams = rows["webcam_id"].to_numpy()
    resampling = {"webcam_id": webcams, "bootstrap_samples": 200, "random_state": 5}
    paired = paired_difference("roc_auc", target, model, score, **resampling)
    assert found.improvement == paired.interval()
    assert found.judge.low is not None


def test_a_regression_judge_is_off_by_so_many_stars_through_its_map() -> None:
    rows = scored_rows("regression")
    (found,) = on_test("regression", judge("one", predictions("regression")))
    stars = rows["target_label"].to_numpy()
    of_judge = mean_absolute_error(stars, MAP(rows["score"].to_numpy()))
    of_model = mean_absolute_error(stars, 1 + 4 * rows["raw_score"].to_numpy())
    assert found.judge.value == pytest.approx(of_judge, abs=1e-6)
    assert found.model.value == pytest.approx(of_model, abs=1e-6)
    # Positive where the model is better: stars off are the fewer the better.
    assert found.improvement.value == pytest.approx(of_judge - of_model, abs=1e-6)


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_it_stands_beside_one_person_on_the_ratings_that_all_three_can_be_compared_on(
    target_type: str,
) -> None:
    one = judge("one", predictions(target_type))
    (found,) = on_test(target_type, one)
    rows = scored_rows(target_type)
    given, others, model = left_out_one_by_one(rows)
    score = left_out_one_by_one(rows.with_columns(raw_score="score"))[2]
    assert found.raters.ratings == len(given) >= 30
    if target_type == "binary":
        expected = [roc_auc_score(others >= 4, said) for said in (given, model, score)]
    else:
        said = (given, 1 + 4 * model, MAP(score))
        expected = [mean_absolute_error(others, one) for one in said]
    raters = found.raters
    for value, reference in zip(
        (raters.one_person, raters.model, raters.judge), expected, strict=True
    ):
        assert value.value == pytest.approx(reference, abs=1e-6)


def test_a_judge_that_does_not_speak_is_measured_too() -> None:
    silent = judge("silent", predictions("binary"), reason=REASON, stars=None)
    (found,) = on_test("binary", silent)
    assert found.silent_because == REASON
    assert found.judge.value is not None
    (in_stars,) = on_test("regression", judge("silent", predictions("regression"), reason=REASON))
    assert in_stars.judge.value is not None
    (unknown,) = on_test("regression", silent)
    assert unknown.judge.value is None
    assert unknown.judge.reason == f"what its scores mean in stars was not learned: {REASON}"
    assert unknown.model.value is not None
    assert unknown.raters.judge == unknown.improvement == unknown.judge
    assert unknown.raters.one_person.value is not None


@pytest.mark.parametrize("target_type", ["binary", "regression"])
@pytest.mark.parametrize("rows", [0, 12])
def test_a_judge_with_too_few_rows_says_so(target_type: str, rows: int) -> None:
    one = judge("one", predictions(target_type))
    test = one.scores.filter(pl.col("snapshot_id") > 100_000)
    (found,) = on_test(target_type, replace(one, scores=test.head(rows)))
    assert found.rows == rows
    for interval in (found.judge, found.model, found.improvement):
        assert interval.value is None
        assert interval.reason == f"{rows} test rows have its score; 30 are needed"


def test_nothing_else_of_a_report_changes_and_it_is_read_back(tmp_path) -> None:
    alone = report("binary")
    beside = report("binary", judges=[judge("one", predictions("binary"))])
    assert beside.document.model_copy(update={"judges": None}) == alone.document
    assert "judges" not in alone.document.model_dump(mode="json")
    beside.save(tmp_path)
    assert EvalReport.load(tmp_path).document == beside.document
    shown = of_evaluation(beside)
    assert "one" in shown["judges beside the model"].value
    assert "one" in shown["judges beside one person"].value
    assert "judges beside the model" not in of_evaluation(alone)


def test_a_manifest_holds_what_judges_said_of_the_rows_that_people_labelled() -> None:
    labels = many_labels(JUDGES)
    assert labels.judged is not None
    manifest = build_manifest(labels, target=TargetConfig())
    test = manifest.split("test")
    judges = judges_of(test)
    assert judges is not None
    assert manifest.meta.heard is not None
    assert [one.calibration for one in judges] == [
        one.calibration for one in manifest.meta.heard.judges
    ]
    told = labels.judged.scores().join(test.frame, on="snapshot_id", how="semi")
    for one in judges:
        own = told.filter(pl.col("judge") == one.calibration.name)
        assert one.scores.sort("snapshot_id").equals(own.sort("snapshot_id"))
    assert sum(one.scores.height for one in judges) == test.frame.height
    alone = build_manifest(replace(labels, judged=None, query=LabelQuery()))
    assert judges_of(alone.split("test")) is None
