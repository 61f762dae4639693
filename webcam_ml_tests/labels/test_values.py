"""What a frequent look at the labels reads is what a run would read."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from webcam_ml.labels import (
    LabelDatabaseError,
    LabelQuery,
    LabelValues,
    TooFewLabelsError,
    read_label_values,
    read_labels,
)
from webcam_ml_tests.label_schema import Rows, plain_rows
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.labels.test_read import QUERIES, clear, odd_rows

VALUES = ["snapshot_id", "webcam_id", "label_value"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=odd_rows())
def test_values_are_those_of_the_labels_that_a_run_reads(
    rows: Rows, sqlite: Store, postgres: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for store in (sqlite, postgres):
        clear(store)
        store.insert(rows)
    for query in QUERIES:
        digests = set()
        for store in (sqlite, postgres):
            values = read_label_values(store.database, query)
            labels = read_labels(store.database, query)
            assert values.frame.equals(labels.frame.select(VALUES))
            folder = tmp_path_factory.mktemp("labels")
            labels.save(folder)
            digests |= {values.digest, LabelValues.of(labels).digest}
            digests |= {LabelValues.load(folder).digest}
        assert len(digests) == 1


def test_nan_is_no_label_for_either_reader(store: Store) -> None:
    store.insert(plain_rows())
    store.execute("UPDATE webcam_snapshots SET calculated_rating = 'NaN' WHERE id = 1")
    values = read_label_values(store.database, LabelQuery())
    assert values.frame.equals(read_labels(store.database, LabelQuery()).frame.select(VALUES))
    assert values.frame["snapshot_id"].min() == 2


@pytest.mark.parametrize(
    ("query", "statement"),
    [
        (LabelQuery(min_rating_count=2), "SELECT 1"),
        (LabelQuery(), "UPDATE webcam_snapshots SET calculated_rating = NULL"),
        (LabelQuery(curator_sessions=("nobody",)), "SELECT 1"),
    ],
)
def test_too_few_labels_are_refused_in_the_words_of_a_run(
    sqlite: Store, query: LabelQuery, statement: str
) -> None:
    sqlite.insert(plain_rows())
    sqlite.execute(statement)
    with pytest.raises(TooFewLabelsError) as narrow:
        read_label_values(sqlite.database, query)
    with pytest.raises(TooFewLabelsError, match=re.escape(str(narrow.value))):
        read_labels(sqlite.database, query)


def test_a_missing_column_is_named(sqlite: Store) -> None:
    sqlite.insert(plain_rows())
    sqlite.execute("ALTER TABLE webcam_snapshots RENAME COLUMN calculated_rating TO mean_rating")
    with pytest.raises(LabelDatabaseError, match="has no column calculated_rating"):
        read_label_values(sqlite.database, LabelQuery())


def test_only_what_decides_changes_the_digest(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"snapshot_id": [1, 2], "webcam_id": [7, 7], "label_value": [4.0, 2.5]},
    )
    digest = LabelValues(frame).digest
    assert LabelValues(frame.clone()).digest == digest
    for name, value in (("snapshot_id", 3), ("webcam_id", 8), ("label_value", 2.51)):
        other = frame.with_columns(
            pl.when(pl.col("snapshot_id") == 2).then(value).otherwise(name).alias(name)
        )
        assert LabelValues(other).digest != digest
    assert LabelValues(frame.head(1)).digest != digest
