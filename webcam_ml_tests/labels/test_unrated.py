"""Which snapshots nobody has voted on, on SQLite and PostgreSQL, against a plain reference."""

import logging

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webcam_ml.labels import (
    LabelDatabase,
    LabelDatabaseError,
    LabelQuery,
    read_image_sources,
    read_unrated,
)
from webcam_ml_tests.label_schema import Rows, rating, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.labels.test_read import moment, odd_rows, text
from webcam_ml_tests.postgres import PostgresServer

GOLD = "CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean, rating int)"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=odd_rows(), sessions=st.sampled_from([(), ("anna",), ("zoë", "anna")]))
def test_every_snapshot_is_rated_or_unrated_or_cannot_be_shown(
    store: Store, rows: Rows, sessions: tuple[str, ...]
) -> None:
    store.execute(
        *(f"DELETE FROM {t}" for t in ("webcam_snapshot_ratings", "webcam_snapshots", "webcams"))
    )
    store.insert(rows)
    voted = {
        vote["snapshot_id"]
        for vote in rows.ratings
        if not sessions or vote["user_session_id"] in sessions
    }
    found = read_unrated(store.database, LabelQuery(curator_sessions=sessions))
    rest = [row for row in rows.snapshots if row["id"] not in voted]
    placed = [row for row in rest if row["webcam_id"] is not None]
    usable = [row for row in placed if text(row["firebase_url"]) is not None]
    assert found.frame.rows() == sorted(
        (row["id"], row["webcam_id"], moment(row["captured_at"])) for row in usable
    )
    assert set(found.rated["snapshot_id"]) == voted
    assert found.left_out == {
        "no_webcam": len(rest) - len(placed),
        "no_image": len(placed) - len(usable),
    }
    ids = [row["id"] for row in rows.snapshots]
    assert read_image_sources(store.database, [*ids, 999_999]).rows() == sorted(
        (row["id"], text(row["firebase_url"]))
        for row in rows.snapshots
        if text(row["firebase_url"]) is not None
    )


def test_a_gold_label_is_a_vote_and_one_of_another_image_is_none(store: Store) -> None:
    store.insert(Rows((webcam(7),), tuple(snapshot(id, 7) for id in (1, 2, 3))))
    store.execute(
        GOLD,
        "INSERT INTO manual_labels VALUES ('webcam', 1, false, NULL), ('flickr', 2, true, 5)",
    )
    assert read_unrated(store.database, LabelQuery()).frame["snapshot_id"].to_list() == [2, 3]


def test_gold_labels_that_the_role_may_not_read_are_warned_of(
    postgres: Store, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.insert(Rows((webcam(7),), (snapshot(1, 7),)))
    postgres.execute(
        GOLD,
        "INSERT INTO manual_labels VALUES ('webcam', 1, true, 5)",
        "CREATE ROLE queue_reader LOGIN",
        "GRANT SELECT ON webcam_snapshots, webcam_snapshot_ratings TO queue_reader",
    )
    reader = LabelDatabase(
        postgres_server.url(postgres.database.description["name"], user="queue_reader")
    )
    with caplog.at_level(logging.WARNING):
        found = read_unrated(reader, LabelQuery())
    assert found.frame["snapshot_id"].to_list() == [1]
    assert "GRANT SELECT ON manual_labels" in caplog.text
    postgres.execute("DROP OWNED BY queue_reader", "DROP ROLE queue_reader")


def test_a_snapshot_id_that_comes_twice_is_refused(sqlite: Store) -> None:
    sqlite.execute(
        "DROP TABLE webcam_snapshots",
        "CREATE TABLE webcam_snapshots (id int, webcam_id int, captured_at text, firebase_url text)",
        "INSERT INTO webcam_snapshots VALUES (1, 7, NULL, 'a'), (1, 7, NULL, 'b')",
    )
    with pytest.raises(LabelDatabaseError, match="stand in more than one row"):
        read_unrated(sqlite.database, LabelQuery())


def test_many_addresses_are_read_in_several_statements(sqlite: Store) -> None:
    sqlite.insert(Rows((webcam(7),), tuple(snapshot(id, 7) for id in range(1, 2_502))))
    found = read_image_sources(sqlite.database, range(2_501, 0, -1))
    assert found["snapshot_id"].to_list() == list(range(1, 2_502))
    assert found.schema == {"snapshot_id": pl.Int64, "image_path_or_url": pl.String}


def test_the_database_that_labels_came_from_is_told_from_another(sqlite: Store) -> None:
    origin = {**sqlite.database.description, "demo": True}
    sqlite.database.require_origin(origin)
    with pytest.raises(LabelDatabaseError, match=r"read from another one \(sqlite, other\.db\)"):
        sqlite.database.require_origin({**origin, "name": "other.db"})


def test_a_vote_of_nothing_counts_for_no_snapshot(sqlite: Store) -> None:
    sqlite.insert(Rows((webcam(7),), (snapshot(1, 7),), (rating(1, None),)))
    sqlite.execute(
        "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id) VALUES (NULL, 'a')"
    )
    found = read_unrated(sqlite.database, LabelQuery())
    assert found.frame.is_empty()
    assert found.rated["snapshot_id"].to_list() == [1]
