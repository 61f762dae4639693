"""A camera that stands in the database twice: warned of by default, kept together when asked."""

from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from webcam_ml.dataset import Manifest, SplitConfig
from webcam_ml_tests.integration.project import Project, make_small_demo

SELECTED = "labels_raw,manifest_full,image_index"
MERGE = {"ops": {"manifest_full": {"config": {"merge_duplicate_webcams": True}}}}
CHECK_RESULTS = """
from dagster import AssetCheckKey, AssetKey, DagsterInstance
history = DagsterInstance.get().event_log_storage.get_asset_check_execution_history
key = AssetCheckKey(AssetKey("image_index"), "no_near_duplicates_across_splits")
for record in history(key, limit=2):
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    print(evaluation.passed, evaluation.severity.value, evaluation.description)
    print(evaluation.metadata["across splits"].value)
    print("before it")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_small_demo(tmp_path_factory.mktemp("demo"))


def planted(url: str) -> tuple[int, int]:
    """The webcams that the demo makes one camera: their snapshots have equal times."""
    query = (
        "SELECT DISTINCT a.webcam_id, b.webcam_id FROM webcam_snapshots a JOIN webcam_snapshots b"
        " ON a.captured_at = b.captured_at AND a.webcam_id < b.webcam_id"
    )
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        ((one, other),) = connection.execute(sa.text(query)).all()
    engine.dispose()
    return one, other


def test_merging_moves_exactly_the_planted_camera_and_silences_the_warning(
    data: str, tmp_path: Path
) -> None:
    pair = planted(data)
    split = SplitConfig()
    assert {split.split_of(webcam) for webcam in pair} == {"train", "test"}

    project = Project(tmp_path, data)
    project.succeed(SELECTED)
    plain = Manifest.load(project.latest("manifest_full"))
    for webcam, place in plain.frame.select("webcam_id", "split").iter_rows():
        assert place == split.split_of(webcam)
    project.succeed(SELECTED, MERGE)
    merged = Manifest.load(project.latest("manifest_full"))
    assert merged.meta.duplicate_webcams is not None
    assert merged.meta.duplicate_webcams.groups == (pair,)
    both = plain.frame.join(
        merged.frame.select("snapshot_id", merged="split"), on="snapshot_id", validate="1:1"
    )
    moved = both.filter(pl.col("split") != pl.col("merged"))
    (from_train,) = (webcam for webcam in pair if split.split_of(webcam) == "train")
    assert set(moved["webcam_id"]) == {from_train}
    assert set(moved["merged"]) == {"test"}
    assert moved.height == plain.frame.filter(pl.col("webcam_id") == from_train).height
    silent, warned = project.python(CHECK_RESULTS).split("before it\n")[:2]
    assert silent.startswith("True WARN No two webcams")
    assert warned.startswith("False WARN 1 pairs of webcams in different splits")
    assert "merge_duplicate_webcams: true" in warned
    assert f"{pair[0]} and {pair[1]}" in warned
    assert warned.count("data:image/jpeg;base64,") == 2
