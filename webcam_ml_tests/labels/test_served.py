"""What the application stored is read from wherever a database of its age has it, and named once."""

import polars as pl
import pytest

from webcam_ml.labels import (
    LabelDatabaseError,
    count_inferences,
    read_inferences,
    read_served,
)
from webcam_ml_tests.label_schema import Rows, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store

COLUMNS = (
    "ai_regression_score numeric", "ai_model_version_regression text", "ai_binary_score numeric",
    "ai_model_version_binary text", "scoring_path text",
)  # fmt: skip
OLD, BINARY, REGRESSION = "binary-old", "binary-new", "regression-new"


@pytest.fixture
def grown(store: Store) -> Store:
    """Six snapshots: the old model's in the table, of the new ones in columns; one score in both."""
    webcams = (webcam(7, view_count=99, rating=4), webcam(8, view_count=None))
    rows = tuple(snapshot(id, 7 + id % 2) for id in range(1, 7))
    store.insert(Rows(webcams=webcams, snapshots=rows))
    store.execute(
        *(f"ALTER TABLE webcam_snapshots ADD COLUMN {column}" for column in COLUMNS),
        "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version, raw_score, ai_rating) VALUES"
        f" (1, '{OLD}', 0.25, 2.0), (2, '{OLD}', NULL, NULL), (3, '{BINARY}', 0.5, 3.0)",
        f"UPDATE webcam_snapshots SET ai_binary_score = 0.5, ai_model_version_binary = '{BINARY}',"
        f" ai_regression_score = 0.125, ai_model_version_regression = '{REGRESSION}',"
        " scoring_path = 'onnx' WHERE id IN (3, 4)",
        "UPDATE webcam_snapshots SET scoring_path = 'unscored',"
        f" ai_model_version_binary = '{BINARY}' WHERE id = 5",
    )
    return store


def test_versions_are_counted_over_all_places(grown: Store) -> None:
    assert count_inferences(grown.database) == {BINARY: 3, OLD: 2, REGRESSION: 2}


def test_a_version_is_read_from_all_places_each_snapshot_once(grown: Store) -> None:
    assert read_inferences(grown.database, BINARY).rows() == [(3, 0.5, 3.0), (4, 0.5, 3.0)]
    assert read_inferences(grown.database, REGRESSION).rows() == [(3, 0.125, 1.5), (4, 0.125, 1.5)]
    assert read_inferences(grown.database, OLD).rows() == [(1, 0.25, 2.0), (2, None, None)]


def test_the_columns_alone_are_enough(grown: Store) -> None:
    grown.execute("DROP TABLE snapshot_ai_inferences")
    assert count_inferences(grown.database) == {BINARY: 2, REGRESSION: 2}
    assert read_inferences(grown.database, BINARY)["snapshot_id"].to_list() == [3, 4]


def test_a_database_without_a_place_for_scores_is_named(store: Store) -> None:
    store.execute("DROP TABLE snapshot_ai_inferences")
    with pytest.raises(LabelDatabaseError, match="snapshot_ai_inferences"):
        count_inferences(store.database)
    served = read_served(store.database, days=30)
    assert (served.places, served.frame.height, served.unscored) == ((), 0, 0)


def test_what_is_served_comes_with_what_the_baseline_knows(grown: Store) -> None:
    served = read_served(grown.database, days=30)
    assert served.places == (
        "snapshot_ai_inferences.raw_score",
        "webcam_snapshots.ai_regression_score",
        "webcam_snapshots.ai_binary_score",
    )
    assert served.snapshots == 6
    assert served.unscored == 2  # 5, which is marked, and 6
    first = served.frame.filter(pl.col("model_version") == OLD).row(0, named=True)
    assert first == {
        "snapshot_id": 1, "model_version": OLD, "raw_score": 0.25, "ai_rating": 2.0, "webcam_id": 8,
        "captured_at": "2026-02-12T06:20:00Z", "phase": "sunset", "view_count": None,
        "webcam_rating": None,
    }  # fmt: skip
    assert set(served.frame.filter(webcam_id=7)["view_count"]) == {99}


def test_days_are_counted_back_from_the_newest_snapshot(grown: Store) -> None:
    grown.execute("UPDATE webcam_snapshots SET captured_at = '2026-01-01 06:00:00' WHERE id <= 3")
    served = read_served(grown.database, days=30)
    assert served.snapshots == 3
    assert set(served.frame["snapshot_id"]) == {4}
    assert read_served(grown.database, days=60).snapshots == 6
