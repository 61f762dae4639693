"""Photographs of no webcam become training rows that weigh less, and touch nothing else."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from webcam_ml.contracts import PEOPLE
from webcam_ml.dataset import (
    Manifest,
    TargetConfig,
    UnusableTargetsError,
    build_manifest,
    require_people_on_webcams,
)
from webcam_ml.dataset.judges import ExternalRows
from webcam_ml.labels import LabelQuery, Labels
from webcam_ml.orchestration.presentation import of_manifest
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels, with_external
from webcam_ml_tests.dataset.judges.test_heard import BY_TYPE, files

WEIGHT = 0.25


@pytest.fixture(scope="module")
def alone() -> Labels:
    return many_labels({"good": JUDGES["good"]})


def external_of(manifest: Manifest) -> ExternalRows:
    assert manifest.meta.heard is not None
    assert manifest.meta.heard.external is not None
    return manifest.meta.heard.external


@BY_TYPE
def test_photographs_are_rows_of_train_alone_that_weigh_less(
    alone: Labels, target: TargetConfig
) -> None:
    labels = with_external(alone, "good")
    before, manifest = (build_manifest(one, target=target) for one in (alone, labels))
    rows = manifest.frame.filter(pl.col("snapshot_id") < 0)
    assert set(rows["split"]) == {"train"}
    assert (rows["webcam_id"] < 0).all()
    gold = rows.filter(pl.col("label_origin") == PEOPLE)
    assert gold["snapshot_id"].to_list() == list(range(-20, 0))
    assert set(gold["label_weight"]) == {WEIGHT}
    assert labels.judged is not None
    stars = dict(labels.judged.gold_of_external().iter_rows())
    assert gold["label_value"].to_list() == [stars[one] for one in gold["snapshot_id"]]
    asked = gold["label_value"] >= 4 if target.target_type == "binary" else gold["label_value"]
    assert gold["target_label"].to_list() == asked.cast(pl.Float64).to_list()

    assert manifest.meta.heard is not None
    assert before.meta.heard is not None
    (judge,), (as_before,) = manifest.meta.heard.judges, before.meta.heard.judges
    scored = rows.filter(pl.col("label_origin") == "judge:good")
    assert scored.height == 40
    assert set(scored["label_weight"]) == {round(WEIGHT * judge.calibration.weight, 6)}
    scores = labels.judged.scores()
    score = scored.join(scores, on="snapshot_id", maintain_order="left")["score"].to_numpy()
    assert judge.calibration.target is not None
    assert scored["target_label"].to_list() == judge.calibration.target(score).tolist()

    # Nothing is calibrated on them, and whether scores moved is asked of webcams.
    assert judge.calibration == as_before.calibration
    assert judge.drift == as_before.drift
    assert judge.rows == as_before.rows + scored.height
    assert manifest.meta.heard.left_out == before.meta.heard.left_out
    assert_frame_equal(manifest.of_webcams.frame, before.frame)
    assert manifest.meta.webcams == before.meta.webcams
    assert manifest.meta.target_distribution == before.meta.target_distribution
    assert manifest.meta.counts["train"] == before.meta.counts["train"] + 60
    for name in ("val", "test"):
        assert manifest.split(name).to_csv() == before.split(name).to_csv()


def test_source_owner_and_licence_go_with_the_rows_and_are_counted(
    alone: Labels, tmp_path: Path
) -> None:
    manifest = build_manifest(with_external(alone, "good"))
    stored = files(manifest, tmp_path / "all")
    assert (
        stored["snapshot_details.csv"]
        .splitlines()[0]
        .endswith(b",picture_source,picture_owner,picture_licence")
    )
    again = Manifest.load(tmp_path / "all")
    assert_frame_equal(again.frame, manifest.frame)
    assert again.meta == manifest.meta
    assert again.details.filter(snapshot_id=-1).to_dicts() == [
        {
            **dict.fromkeys(again.details.columns),
            "snapshot_id": -1,
            **{f"stars_{star}": int(star == 1) for star in range(1, 6)},
            "picture_source": "flickr",
            "picture_owner": "somebody",
            "picture_licence": "CC BY 2.0",
        }
    ]
    external = external_of(manifest)
    assert (external.rows, external.gold, external.no_judge_speaks) == (60, 20, 0)
    assert external.sources == {"flickr": 30, "unsplash": 30}
    assert external.licences == {"CC BY 2.0": 40, "unknown": 20}
    shown = of_manifest(manifest)
    assert shown["pictures from elsewhere"] == 60
    assert "| unknown | 20 |" in shown["licences of pictures from elsewhere"].value
    train, test = manifest.split("train"), manifest.split("test")
    assert train.details.filter(pl.col("picture_source").is_not_null()).height == 60
    assert test.details["picture_source"].null_count() == test.details.height
    assert of_manifest(train)["webcams"] == manifest.meta.webcams["train"]

    without = files(build_manifest(alone), tmp_path / "alone")
    assert b"picture_source" not in without["snapshot_details.csv"]
    assert b"external_rows" not in without["export_meta.json"]


def test_a_judge_that_does_not_speak_says_nothing_of_photographs_either(alone: Labels) -> None:
    manifest = build_manifest(with_external(alone, "noise"))
    external = external_of(manifest)
    assert (external.rows, external.gold, external.no_judge_speaks) == (20, 20, 40)
    assert set(manifest.frame["label_origin"]) == {PEOPLE, "judge:good"}
    assert manifest.meta.heard is not None
    noise = manifest.meta.heard.judges[1].calibration
    assert noise.reason is not None
    assert noise.reason.startswith("0 snapshots of training webcams that people judged too")


def test_their_weight_is_chosen_and_changes_nothing_else(alone: Labels) -> None:
    labels = with_external(alone, "good")
    usual = build_manifest(labels).frame
    query = LabelQuery(label_source="all_judges", external_images=True, external_weight=1.0)
    full = build_manifest(replace(labels, query=query)).frame
    below = usual["snapshot_id"] < 0
    ratio = full["label_weight"].filter(below) / usual["label_weight"].filter(below)
    assert ratio.to_list() == pytest.approx([4.0] * 60, rel=1e-4)
    assert_frame_equal(full.drop("label_weight"), usual.drop("label_weight"))
    assert full["label_weight"].filter(~below).equals(usual["label_weight"].filter(~below))


def test_no_model_is_ever_judged_on_a_photograph(alone: Labels) -> None:
    frame = build_manifest(with_external(alone, "good")).frame
    with pytest.raises(UnusableTargetsError, match=r"60 of .* test rows are not of a webcam"):
        require_people_on_webcams(
            frame.filter(pl.col("label_origin") == PEOPLE).vstack(
                frame.filter(pl.col("snapshot_id") < -20)
            ),
            "test",
        )


def test_photographs_do_not_make_a_split_usable(alone: Labels) -> None:
    """A train split in which people gave no four stars stays unusable, whatever the curator likes."""
    labels = with_external(alone, "good")
    dull = labels.frame.with_columns(
        label_value=pl.col("label_value").clip(upper_bound=3),
        stars_3=pl.sum_horizontal("stars_3", "stars_4", "stars_5"),
        stars_4=pl.lit(0, dtype=pl.Int64),
        stars_5=pl.lit(0, dtype=pl.Int64),
    )
    with pytest.raises(UnusableTargetsError, match=r"0 of .* train rows positive"):
        build_manifest(replace(labels, frame=dull))
