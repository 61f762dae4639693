"""Votes "no sunset": counted by the sources that do not use them, in whatever tables there are."""

import logging
from pathlib import Path

import pytest

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, read_labels
from webcam_ml.orchestration.presentation import of_labels
from webcam_ml_tests.label_schema import plain_rows, rating
from webcam_ml_tests.labels.conftest import Store

GOLD = (
    "CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean not null,"
    " rating int, origin text)"
)
QUERIES = [LabelQuery(), LabelQuery(label_source="public_aggregate")]


def fill(store: Store) -> None:
    rows = plain_rows()
    store.insert(rows)
    store.execute("ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean")
    store.insert(
        type(rows)(
            ratings=tuple(rating(id, None, f"{who}") for id in (1, 2) for who in ("zoe", "max"))
        )
    )
    store.execute(
        "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = (user_session_id = 'max')"
        " WHERE rating IS NULL"
    )


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.label_source)
def test_unused_votes_are_told_and_change_no_byte(
    store: Store,
    tmp_path: Path,
    query: LabelQuery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.insert(plain_rows())
    before = read_labels(store.database, query)
    assert before.counts.unused_no_votes is None
    store.execute("DELETE FROM webcam_snapshot_ratings", "DELETE FROM webcam_snapshots")
    store.execute("DELETE FROM webcams")
    fill(store)
    assert read_labels(store.database, query).counts.unused_no_votes == 2  # zoe's, not max's "yes"
    store.execute(
        GOLD,
        # The first is zoe's vote again; a flower of Flickr is no snapshot; stars are no N.
        "INSERT INTO manual_labels (source, image_id, is_sunset, rating) VALUES"
        " ('webcam', '1', false, NULL), ('webcam', '3', false, NULL), ('flickr', '4', false, NULL),"
        " ('webcam', '5', true, 4)",
    )
    with caplog.at_level(logging.INFO):
        after = read_labels(store.database, query)
    assert after.counts.unused_no_votes == 3
    assert "3 N votes" in caplog.text
    assert query.label_source in caplog.text
    assert of_labels(after)["unused N votes"] == 3
    for labels, name in ((before, "before"), (after, "after")):
        (tmp_path / name).mkdir()
        labels.save(tmp_path / name)
    for file in ("labels.csv", "labels_meta.json"):
        stored = [(tmp_path / name / file).read_bytes() for name in ("before", "after")]
        assert stored[0] == stored[1]


def test_who_may_not_read_gold_labels_gets_labels_without_their_count(postgres: Store) -> None:
    fill(postgres)
    postgres.execute(
        GOLD,
        "INSERT INTO manual_labels (source, image_id, is_sunset) VALUES ('webcam', 3, false)",
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN",
        "GRANT SELECT ON webcams, webcam_snapshots, webcam_snapshot_ratings TO reader",
    )
    try:
        with postgres.engine.connect() as connection:
            url = connection.engine.url.set(username="reader")
        as_reader = LabelDatabase(url.render_as_string(hide_password=False))
        assert read_labels(as_reader, LabelQuery()).counts.unused_no_votes == 2
        assert read_labels(postgres.database, LabelQuery()).counts.unused_no_votes == 3
    finally:
        postgres.execute("DROP OWNED BY reader", "DROP ROLE reader")


def test_a_verdict_that_is_neither_yes_nor_no_is_refused(sqlite: Store) -> None:
    fill(sqlite)
    sqlite.execute(
        "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = 'nope' WHERE user_session_id = 'zoe'"
    )
    with pytest.raises(LabelDatabaseError, match=r"is_sunset_verdict is neither .* 2 rows.*'nope'"):
        read_labels(sqlite.database, LabelQuery())
