"""When somebody voted on a snapshot: stars, "no sunset" and gold, on both databases."""

from datetime import UTC, datetime

import pytest

from webcam_ml.labels import LabelDatabaseError, read_dated_votes
from webcam_ml_tests.label_schema import Rows, rating, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store

GOLD = "CREATE TABLE manual_labels (source text, image_id {}, rating int, labeled_at timestamp)"


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, day, hour)


def known(day: int, hour: int = 12) -> datetime:
    return at(day, hour).replace(tzinfo=UTC)


@pytest.fixture
def rated(store: Store) -> Store:
    store.insert(
        Rows(
            webcams=(webcam(7),),
            snapshots=tuple(snapshot(id, 7) for id in range(1, 1_203)),
            ratings=(
                rating(1, 5, "zoe", created_at=at(2)),
                rating(1, 2, "max", created_at=at(1)),
                rating(1, None, "eva", created_at=at(3)),
                rating(2, 3, "zoe", created_at=None),
                rating(3, 4, "zoe", created_at=at(4)),
                rating(1_202, 1, "zoe", created_at=at(5)),
            ),
        )
    )
    return store


def test_votes_come_with_their_times_in_their_order_and_only_of_what_was_asked(
    rated: Store,
) -> None:
    votes = read_dated_votes(rated.database, [2, 1, *range(4, 1_203)])
    assert votes.rows() == [
        (1, "max", 2.0, known(1)),
        (1, "zoe", 5.0, known(2)),
        (2, "zoe", 3.0, None),
        (1_202, "zoe", 1.0, known(5)),
    ]
    assert read_dated_votes(rated.database, []).is_empty()


def test_no_sunset_and_gold_are_votes_too(rated: Store) -> None:
    rated.execute(
        "ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean",
        "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = false WHERE user_session_id = 'eva'",
        GOLD.format("int"),
        "INSERT INTO manual_labels VALUES ('webcam', '3', 2, '2026-03-06 12:00:00'),"
        " ('webcam', '1', NULL, '2026-03-07 12:00:00.25'), ('flickr', '3', 5, '2026-03-08 12:00:00')",
    )
    votes = read_dated_votes(rated.database, [1, 3])
    assert votes.rows() == [
        (1, "max", 2.0, known(1)),
        (1, "zoe", 5.0, known(2)),
        (1, "eva", 1.0, known(3)),
        (1, None, 1.0, known(7).replace(microsecond=250_000)),
        (3, "zoe", 4.0, known(4)),
        (3, None, 2.0, known(6)),
    ]


def test_times_with_an_offset_are_brought_to_utc(postgres: Store) -> None:
    postgres.insert(Rows(webcams=(webcam(7),), snapshots=(snapshot(1, 7),)))
    postgres.execute(
        "ALTER TABLE webcam_snapshot_ratings ALTER created_at TYPE timestamptz",
        "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating, created_at)"
        " VALUES (1, 'zoe', 5, '2026-03-01 17:30:00+05:30')",
        # Ids of gold labels may be texts there.
        GOLD.format("text"),
        "INSERT INTO manual_labels VALUES ('webcam', '1', 4, '2026-03-02 12:00:00')",
    )
    votes = read_dated_votes(postgres.database, [1])
    assert votes.rows() == [(1, "zoe", 5.0, known(1)), (1, None, 4.0, known(2))]


def test_a_database_that_does_not_know_when_is_named_with_what_is_missing(rated: Store) -> None:
    rated.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN created_at")
    with pytest.raises(
        LabelDatabaseError, match="webcam_snapshot_ratings has no column created_at"
    ):
        read_dated_votes(rated.database, [1])


def test_a_time_that_is_none_is_refused_by_row(sqlite: Store) -> None:
    sqlite.insert(Rows(webcams=(webcam(7),), snapshots=(snapshot(1, 7),), ratings=(rating(1, 5),)))
    sqlite.execute("UPDATE webcam_snapshot_ratings SET created_at = 'yesterday'")
    with pytest.raises(
        LabelDatabaseError, match="vote on snapshot 1 is no time stamp but 'yesterday'"
    ):
        read_dated_votes(sqlite.database, [1])
