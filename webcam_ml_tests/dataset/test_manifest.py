import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from webcam_ml.contracts import SettingsError
from webcam_ml.dataset import (
    SPLIT_NAMES,
    Manifest,
    SplitConfig,
    TargetConfig,
    UnusableTargetsError,
    build_manifest,
)
from webcam_ml_tests.world import make_labels

CONTRACT = (
    "snapshot_id,webcam_id,label_source,label_value,target_label,split,image_path_or_url,phase,"
    "captured_at,rating_count"
)


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_files_follow_the_contract(tmp_path: Path, target_type: str) -> None:
    manifest = build_manifest(make_labels(), target=TargetConfig(target_type=target_type))
    manifest.save(tmp_path)
    lines = (tmp_path / "manifest_full.csv").read_text().splitlines()
    assert lines[0] == CONTRACT
    ids = [int(line.split(",")[0]) for line in lines[1:]]
    assert ids == sorted(ids)
    meta = json.loads((tmp_path / "export_meta.json").read_text())
    assert meta["target_type"] == target_type
    assert meta["split_config"] == {
        "seed": 20260212, "train_pct": 70, "val_pct": 15, "test_pct": 15,
    }  # fmt: skip
    assert meta["counts"]["total"] == len(ids) == sum(meta["counts"][s] for s in SPLIT_NAMES)
    assert set(meta["target_distribution"]) == set(SPLIT_NAMES)


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_a_manifest_is_read_back_as_it_was(tmp_path: Path, target_type: str) -> None:
    manifest = build_manifest(make_labels(), target=TargetConfig(target_type=target_type))
    manifest.save(tmp_path)
    again = Manifest.load(tmp_path)
    assert_frame_equal(again.frame, manifest.frame)
    assert_frame_equal(again.details, manifest.details)
    assert again.meta == manifest.meta


def test_equal_labels_in_another_order_give_equal_bytes(tmp_path: Path) -> None:
    labels = make_labels()
    shuffled = replace(labels, frame=labels.frame.sample(fraction=1, shuffle=True, seed=1))
    assert build_manifest(labels).to_csv() == build_manifest(shuffled).to_csv()


def test_the_target_is_the_rating_against_the_threshold_on_the_rating_scale() -> None:
    frame = build_manifest(make_labels(), target=TargetConfig(binary_threshold=3.0)).frame
    for rating, target in frame.select("label_value", "target_label").iter_rows():
        assert target == (1 if rating >= 3.0 else 0)
    regression = build_manifest(make_labels(), target=TargetConfig(target_type="regression")).frame
    assert regression["target_label"].equals(regression["label_value"])


def test_the_parts_are_the_whole_and_share_no_webcam() -> None:
    manifest = build_manifest(make_labels())
    parts = {name: manifest.split(name) for name in SPLIT_NAMES}
    assert_frame_equal(
        pl.concat([part.frame for part in parts.values()]).sort("snapshot_id"), manifest.frame
    )
    seen: set[int] = set()
    for name, part in parts.items():
        webcams = set(part.frame["webcam_id"].to_list())
        assert not webcams & seen
        seen |= webcams
        assert part.file_name == f"manifest_{name}.csv"
        assert part.details["snapshot_id"].to_list() == part.frame["snapshot_id"].to_list()


def test_a_webcam_in_two_splits_would_be_found() -> None:
    manifest = build_manifest(make_labels())
    assert manifest.webcams_in_two_splits().is_empty()
    torn = manifest.frame.with_columns(
        pl.when(pl.col("snapshot_id") == 1)
        .then(pl.lit("test"))
        .otherwise(pl.lit("train"))
        .alias("split")
    )
    assert replace(manifest, frame=torn).webcams_in_two_splits()["webcam_id"].to_list() == [1000]


@pytest.mark.parametrize("threshold", [0.75, 1.0, 5.01, -2.0, float("nan")])
def test_a_threshold_off_the_scale_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match="above 1 and at most 5: stars"):
        TargetConfig(binary_threshold=threshold)


def test_a_threshold_on_the_old_0_to_1_scale_is_translated_in_the_message() -> None:
    with pytest.raises(SettingsError, match="Did you mean 4,"):
        TargetConfig(binary_threshold=0.75)


def test_one_class_stops_and_names_threshold_and_range() -> None:
    labels = make_labels()
    low = labels.frame.with_columns(pl.col("label_value").clip(upper_bound=3.0))
    with pytest.raises(
        UnusableTargetsError,
        match=r"binary_threshold 4 leaves 0 of \d+ train rows positive.*2 would leave \d+, 3 would",
    ):
        build_manifest(replace(labels, frame=low))


def test_an_empty_split_stops_and_names_the_percentage() -> None:
    with pytest.raises(UnusableTargetsError, match=r"the val split is empty.*val_pct"):
        build_manifest(
            make_labels(webcams=5), split=SplitConfig(train_pct=97, val_pct=1, test_pct=2)
        )


@pytest.mark.parametrize("value", [0.75, 5.01, float("nan"), 0.0])
def test_labels_off_the_scale_become_no_targets(value: float) -> None:
    labels = make_labels()
    off = labels.frame.with_columns(
        pl.when(pl.col("snapshot_id") == 7)
        .then(pl.lit(value))
        .otherwise(pl.col("label_value"))
        .alias("label_value")
    )
    with pytest.raises(UnusableTargetsError, match=r"1 of 160 labels are off .* snapshot 7 with"):
        build_manifest(replace(labels, frame=off))


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(
    "strange",
    [{"label_source": pl.lit("a language model")}, {"webcam_id": pl.lit(None, pl.Int64)}],
    ids=["not rated by people", "not of a webcam"],
)
def test_what_is_not_of_webcams_and_people_never_enters_validation_or_test(
    split: str, strange: dict[str, pl.Expr]
) -> None:
    labels = make_labels()
    judged = build_manifest(labels).frame.filter(pl.col("split") == split)["snapshot_id"][0]
    one = pl.col("snapshot_id") == judged
    frame = labels.frame.with_columns(
        pl.when(one).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in strange.items()
    )
    with pytest.raises(
        UnusableTargetsError,
        match=rf"1 of \d+ validation and test rows are not of a webcam .* snapshot {judged} ",
    ):
        build_manifest(replace(labels, frame=frame))


def test_what_no_person_rated_may_be_learned_from() -> None:
    labels = make_labels()
    train = build_manifest(labels).split("train").frame["snapshot_id"]
    frame = labels.frame.with_columns(
        pl.when(pl.col("snapshot_id").is_in(train.to_list()))
        .then(pl.lit("a language model"))
        .otherwise(pl.col("label_source"))
        .alias("label_source")
    )
    parts = build_manifest(replace(labels, frame=frame))
    assert set(parts.split("train").frame["label_source"]) == {"a language model"}
