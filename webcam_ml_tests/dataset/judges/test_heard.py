"""What judges said becomes rows of the training split, and of no other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from webcam_ml.dataset import (
    SPLIT_NAMES,
    Manifest,
    SplitConfig,
    TargetConfig,
    build_manifest,
    require_usable_targets,
)
from webcam_ml.dataset.judges import MIN_ROWS, calibrate_judge
from webcam_ml.labels import SAID_FILE, Judgements, Labels
from webcam_ml.orchestration.presentation import of_manifest
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels, with_judges
from webcam_ml_tests.world import make_labels

TARGETS = [TargetConfig(), TargetConfig(target_type="regression")]
BY_TYPE = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.target_type)
ONE = {"good": JUDGES["good"]}


def judged_of(labels: Labels) -> Judgements:
    assert labels.judged is not None
    return labels.judged


def files(manifest: Manifest, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    manifest.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@BY_TYPE
def test_rows_of_a_judge_are_train_only_with_the_target_and_weight_of_its_map(
    target: TargetConfig,
) -> None:
    labels = many_labels(ONE)
    manifest = build_manifest(labels, target=target)
    of_people = manifest.frame.filter(pl.col("label_origin") == "people")
    of_judge = manifest.frame.filter(pl.col("label_origin") == "judge:good")
    assert of_people.height + of_judge.height == manifest.frame.height
    assert set(of_people["label_weight"]) == {1.0}
    assert set(of_judge["split"]) == {"train"}
    assert manifest.frame["snapshot_id"].to_list() == sorted(manifest.frame["snapshot_id"])

    # Calibrated anew, on people's training rows alone, by hand.
    scores = judged_of(labels).scores()
    train = of_people.filter(pl.col("split") == "train").join(scores, on="snapshot_id")
    reference = calibrate_judge(
        "good", train.with_columns(camera_id=pl.col("webcam_id")), target=target
    )
    assert manifest.meta.heard is not None
    (heard,) = manifest.meta.heard.judges
    assert heard.calibration == reference
    assert reference.stars is not None
    assert reference.target is not None
    score = of_judge.join(scores, on="snapshot_id", maintain_order="left")["score"].to_numpy()
    assert of_judge["label_value"].to_list() == reference.stars(score).tolist()
    assert of_judge["target_label"].to_list() == reference.target(score).tolist()
    assert set(of_judge["label_weight"]) == {reference.weight}
    assert set(of_judge["rating_count"]) == {0}

    # Every snapshot that only the judge knows is a row, or counted with the reason.
    alone = judged_of(labels).snapshots
    splits = [SplitConfig().split_of(webcam) for webcam in alone["webcam_id"]]
    assert heard.rows == of_judge.height == splits.count("train") > 0
    assert manifest.meta.heard.left_out == {
        "val": splits.count("val"),
        "test": splits.count("test"),
        "no_judge_speaks": 0,
    }
    assert of_manifest(manifest)["left out"]


@BY_TYPE
def test_validation_and_test_are_peoples_to_the_byte(target: TargetConfig) -> None:
    labels = many_labels(ONE)
    heard, alone = (
        build_manifest(one, target=target) for one in (labels, replace(labels, judged=None))
    )
    for name in ("val", "test"):
        assert_frame_equal(heard.split(name).frame, alone.split(name).frame)
        assert heard.split(name).details.equals(alone.split(name).details)
    assert heard.meta.target_distribution == alone.meta.target_distribution


@BY_TYPE
def test_no_score_of_a_validation_or_test_webcam_changes_a_byte(
    tmp_path: Path, target: TargetConfig
) -> None:
    labels = many_labels(ONE)
    said = judged_of(labels).said
    places = pl.concat(
        [
            one.select("snapshot_id", "webcam_id")
            for one in (labels.frame, judged_of(labels).snapshots)
        ]
    )
    reserved = places.filter(
        pl.col("webcam_id").map_elements(SplitConfig().split_of, return_dtype=pl.String) != "train"
    )
    turned = said.with_columns(
        value=pl.when(pl.col("snapshot_id").is_in(reserved["snapshot_id"].implode()))
        .then(1 - pl.col("value"))
        .otherwise(pl.col("value"))
    )
    assert not turned.equals(said)
    assert turned.columns == said.columns
    other = replace(labels, judged=replace(judged_of(labels), said=turned))
    manifests = [build_manifest(one, target=target) for one in (labels, other)]
    for part in ("full", "train"):
        made = [
            files(one if part == "full" else one.split("train"), tmp_path / f"{part}-{number}")
            for number, one in enumerate(manifests)
        ]
        if part == "full":
            # All that was said is kept for reports, which no training reads.
            assert made[0].pop(SAID_FILE) != made[1].pop(SAID_FILE)
        assert made[0] == made[1]


def test_only_where_judges_are_heard_a_manifest_has_two_columns_more(tmp_path: Path) -> None:
    labels = many_labels(ONE)
    heard = files(build_manifest(labels), tmp_path / "heard")["manifest_full.csv"]
    plain = replace(labels, judged=None, query=make_labels().query)
    alone = files(build_manifest(plain), tmp_path / "alone")
    columns = alone["manifest_full.csv"].split(b"\n")[0]
    assert heard.split(b"\n")[0] == columns + b",label_weight,label_origin"
    assert columns.endswith(b",rating_count")
    assert "judges" not in json.loads(alone["export_meta.json"])
    assert set(alone) == {"manifest_full.csv", "snapshot_details.csv", "export_meta.json"}


@BY_TYPE
def test_a_manifest_with_judges_is_read_back_as_it_was(
    tmp_path: Path, target: TargetConfig
) -> None:
    manifest = build_manifest(many_labels(JUDGES), target=target)
    for part in (manifest, *(manifest.split(name) for name in SPLIT_NAMES)):
        folder = tmp_path / part.part
        folder.mkdir()
        part.save(folder)
        again = Manifest.load(folder)
        assert_frame_equal(again.frame, part.frame)
        assert again.meta == part.meta
        assert again.said is not None
        assert_frame_equal(again.said, part.said)


@pytest.mark.parametrize("name", ["noise", "constant", "inverted"])
def test_a_judge_that_cannot_be_trusted_makes_no_row_and_the_reason_is_told(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = build_manifest(many_labels({name: JUDGES[name]}))
    assert set(manifest.frame["label_origin"]) == {"people"}
    assert manifest.meta.heard is not None
    (heard,) = manifest.meta.heard.judges
    assert (heard.rows, heard.calibration.speaks) == (0, False)
    assert manifest.meta.heard.left_out["no_judge_speaks"] > 0
    assert f"judge {name} does not speak: " in caplog.text


def test_each_judge_is_on_its_own_and_too_little_in_common_is_told() -> None:
    labels = many_labels({"good": JUDGES["good"], "too": JUDGES["good"]}, webcams=300)
    judged = judged_of(labels)
    rare = judged.said.with_columns(
        judge=pl.when((pl.col("judge") == "too") & (pl.col("snapshot_id") % 20 > 0))
        .then(pl.lit("good"))
        .otherwise(pl.col("judge"))
    )
    manifest = build_manifest(replace(labels, judged=replace(judged, said=rare)))
    assert manifest.meta.heard is not None
    good, too = manifest.meta.heard.judges
    assert good.calibration.speaks
    assert too.calibration.reason is not None
    assert f"{MIN_ROWS} are needed" in too.calibration.reason
    assert manifest.meta.heard.speaking == ("good",)
    assert set(manifest.frame["label_origin"]) == {"people", "judge:good"}


def test_scores_that_moved_where_the_judge_is_alone_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = many_labels(ONE)
    judged = judged_of(labels)
    build_manifest(labels)
    assert "population stability" not in caplog.text
    moved = judged.said.with_columns(
        pl.when(pl.col("snapshot_id").is_in(judged.snapshots["snapshot_id"].implode()))
        .then((pl.col("value") + 0.4).clip(upper_bound=1))
        .otherwise(pl.col("value"))
    )
    build_manifest(replace(labels, judged=replace(judged, said=moved)))
    assert "population stability index" in caplog.text


def test_one_class_among_people_is_refused_whatever_judges_add() -> None:
    manifest = build_manifest(many_labels(ONE))
    assert manifest.split("train").frame["target_label"].n_unique() > 2
    require_usable_targets(manifest)


def test_a_camera_that_a_judge_alone_knows_keeps_its_split() -> None:
    labels = with_judges(make_labels(webcams=160, per_webcam=8), ONE, known=0.45)
    gone = set(np.unique(labels.frame["webcam_id"].to_numpy())[::9].tolist())
    labels = replace(labels, frame=labels.frame.filter(~pl.col("webcam_id").is_in(list(gone))))
    manifest = build_manifest(labels)
    rows = manifest.frame.filter(pl.col("webcam_id").is_in(list(gone)))
    assert rows.height
    assert {SplitConfig().split_of(webcam) for webcam in rows["webcam_id"]} == {"train"}
    assert manifest.webcams_in_two_splits().is_empty()
