"""One file under many snapshots, and cards in place of pictures: counted, said, left out."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from webcam_ml.dataset import rows_with_pictures
from webcam_ml.dataset.duplicates import compare_images, find_same_file
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.labels import Labels
from webcam_ml_tests.world import World, draw, make_labels, make_world


def with_addresses(labels: Labels, address: pl.Expr) -> Labels:
    return replace(labels, frame=labels.frame.with_columns(image_path_or_url=address))


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return make_labels(folder=tmp_path / "pictures")


def world_of(labels: Labels, folder: Path) -> World:
    return make_world(folder, labels=labels)


def test_a_file_for_each_snapshot_is_no_finding(labels: Labels, tmp_path: Path) -> None:
    world = world_of(labels, tmp_path)
    same = find_same_file(world.manifest.frame, world.index)
    assert (same.compared, same.snapshots, same.files.height) == (160, 0, 0)


def test_one_address_for_all_snapshots_of_a_webcam_is_counted_with_its_labels(
    labels: Labels, tmp_path: Path
) -> None:
    current = pl.col("image_path_or_url").first().over("webcam_id")
    world = world_of(with_addresses(labels, current), tmp_path)
    same = find_same_file(world.manifest.frame, world.index)
    expected = (
        world.manifest.frame.group_by("webcam_id")
        .agg(pl.col("label_value").n_unique(), pl.col("target_label").n_unique())
        .sort("webcam_id")
    )
    assert (same.snapshots, same.files.height) == (160, 40)
    found = same.files.sort("webcam_id").select("webcam_id", "labels", "classes").rows()
    assert found == expected.rows()
    assert same.with_different_labels().height == expected.filter(pl.col("label_value") > 1).height
    assert same.with_both_classes().height == expected.filter(pl.col("target_label") > 1).height > 0


def placeholder_world(labels: Labels, folder: Path) -> World:
    """Every fourth snapshot shows the card; they are weeks apart and of all webcams."""
    card = folder / "pictures" / "offline.jpg"
    card.parent.mkdir(parents=True)
    card.write_bytes(draw(3, 99_999))
    address = pl.when(pl.col("snapshot_id") % 4 == 0).then(pl.lit(str(card)))
    return world_of(with_addresses(labels, address.otherwise("image_path_or_url")), folder)


def compared(world: World, *, keep: bool) -> ImageIndex:
    return compare_images(
        world.manifest.frame,
        world.index,
        images=world.images,
        cache=world.cache,
        keep_placeholders=keep,
    ).index


def test_placeholders_are_left_out_of_every_split_and_counted(
    labels: Labels, tmp_path: Path
) -> None:
    world = placeholder_world(labels, tmp_path)
    index = compared(world, keep=False)
    assert index.left_out()["snapshot_id"].to_list() == list(range(4, 161, 4))
    assert index.failed_fraction == 0
    total = 0
    for split in ("train", "val", "test"):
        rows = rows_with_pictures(world.manifest.split(split), index)
        total += rows.left_out["placeholder"]
        assert not (rows.frame["snapshot_id"] % 4 == 0).any()
    assert total == 40
    index.save(tmp_path)
    counts = json.loads((tmp_path / "image_index_meta.json").read_text())["counts"]
    assert (counts["ok"], counts["failed"], counts["left_out"]) == (120, 0, 40)
    assert ImageIndex.load(tmp_path).frame.equals(index.frame)


def test_placeholders_can_be_kept_for_training_and_nothing_is_judged_on_them(
    labels: Labels, tmp_path: Path
) -> None:
    """A card has few stars and one look: with many of them in test a model seems better than it is."""
    world = placeholder_world(labels, tmp_path)
    index = compared(world, keep=True)
    train = rows_with_pictures(world.manifest.split("train"), index)
    assert train.left_out == {}
    assert (train.frame["snapshot_id"] % 4 == 0).any()
    for split in ("val", "test"):
        rows = rows_with_pictures(world.manifest.split(split), index)
        assert rows.left_out["placeholder"] > 0
        assert not (rows.frame["snapshot_id"] % 4 == 0).any()


def test_a_world_without_placeholders_is_stored_as_before(labels: Labels, tmp_path: Path) -> None:
    world = world_of(labels, tmp_path)
    index = compared(world, keep=False)
    assert index is world.index
    index.save(tmp_path)
    counts = json.loads((tmp_path / "image_index_meta.json").read_text())["counts"]
    assert list(counts) == ["snapshots", "ok", "failed", "sources", "images"]
