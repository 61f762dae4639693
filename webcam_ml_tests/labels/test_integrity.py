"""Rows that the application's schema does not permit: refused by name, never counted."""

import re
from collections.abc import Callable

import polars as pl
import pytest
import sqlalchemy as sa

from webcam_ml.labels import (
    LabelDatabase,
    LabelDatabaseError,
    LabelQuery,
    TooFewLabelsError,
    count_inferences,
    read_dated_votes,
    read_image_sources,
    read_inferences,
    read_label_values,
    read_labels,
    read_served,
    read_unrated,
    record_inferences,
)
from webcam_ml_tests.label_schema import create_schema, plain_rows
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer, any_text

AGGREGATE = LabelQuery(label_source="public_aggregate")
SNAPSHOTS, RATINGS = "webcam_snapshots", "webcam_snapshot_ratings"


def without_keys(store: Store, table: str) -> None:
    """As after an import by a tool that knows rows but no keys."""
    cascade = "" if store.engine.dialect.name == "sqlite" else " CASCADE"
    store.execute(
        f"CREATE TABLE copied AS SELECT * FROM {table}",
        f"DROP TABLE {table}{cascade}",
        f"ALTER TABLE copied RENAME TO {table}",
    )


def as_text(store: Store, table: str, column: str) -> None:
    """As after an import that made a column of text out of everything."""
    without_keys(store, table)
    if store.engine.dialect.name == "postgresql":
        store.execute(f"ALTER TABLE {table} ALTER {column} TYPE text USING {column}::text")


def refusal(store: Store, query: LabelQuery | None = None, *, also_narrow: bool = True) -> str:
    query = query or LabelQuery()
    with pytest.raises(LabelDatabaseError) as caught:
        read_labels(store.database, query)
    if also_narrow:
        with pytest.raises(LabelDatabaseError) as narrow:
            read_label_values(store.database, query)
        assert str(narrow.value) == str(caught.value)
    return str(caught.value)


# Keys.


def test_snapshots_twice_are_refused_by_table_id_and_number(store: Store) -> None:
    store.insert(plain_rows())
    without_keys(store, SNAPSHOTS)
    store.execute(f"INSERT INTO {SNAPSHOTS} SELECT * FROM {SNAPSHOTS} WHERE id > 5")
    said = refusal(store)
    assert said.startswith(
        "Table webcam_snapshots: 43 values of id stand in more than one row, 86 rows in all; id 6 "
        "stands in 2."
    )
    assert "UNIQUE (id)" in said


def test_unrated_snapshots_that_come_twice_are_refused_too(store: Store) -> None:
    """They would be counted twice among the unrated."""
    store.insert(plain_rows())
    without_keys(store, SNAPSHOTS)
    store.execute(
        f"DELETE FROM {RATINGS} WHERE snapshot_id = 7",
        f"INSERT INTO {SNAPSHOTS} SELECT * FROM {SNAPSHOTS} WHERE id = 7",
    )
    assert "id 7 stands in 2" in refusal(store)


def test_a_view_that_joins_the_ratings_is_refused(store: Store) -> None:
    store.insert(plain_rows())
    store.execute(
        f"INSERT INTO {RATINGS} (snapshot_id, user_session_id, rating) VALUES (3, 'b', 3)",
        f"ALTER TABLE {SNAPSHOTS} RENAME TO all_snapshots",
        f"CREATE VIEW {SNAPSHOTS} AS SELECT s.* FROM all_snapshots s"
        f" LEFT JOIN {RATINGS} r ON r.snapshot_id = s.id",
    )
    assert "1 values of id stand in more than one row, 2 rows in all; id 3" in refusal(store)


def test_webcams_twice_are_refused(store: Store) -> None:
    store.insert(plain_rows())
    without_keys(store, "webcams")
    store.execute("INSERT INTO webcams SELECT * FROM webcams")
    said = refusal(store, also_narrow=False)  # the sensor looks at no webcam
    assert "Table webcams: 12 values of id stand in more than one row, 24 rows in all" in said


@pytest.mark.parametrize("query", [LabelQuery(min_rating_count=2), AGGREGATE])
def test_one_person_who_rated_a_snapshot_twice_is_refused(store: Store, query: LabelQuery) -> None:
    store.insert(plain_rows())
    without_keys(store, RATINGS)
    store.execute(f"INSERT INTO {RATINGS} SELECT * FROM {RATINGS}")
    said = refusal(store, query)
    assert "48 values of snapshot_id and user_session_id stand in more than one row" in said
    assert "snapshot_id 1, user_session_id 'curator-1' stands in 2" in said


def test_votes_without_stars_may_come_twice(store: Store) -> None:
    store.insert(plain_rows())
    without_keys(store, RATINGS)
    votes = f"INSERT INTO {RATINGS} (snapshot_id, user_session_id) VALUES (1, 'x')"
    store.execute(votes, votes)
    assert read_labels(store.database, LabelQuery()).frame.height == 48


INFERENCES = "snapshot_ai_inferences"
GOLD = "manual_labels"
# Whatever reads beside labels, the table that it reads, and how many rows of it say something.
READERS: dict[tuple[str, str], tuple[Callable[[LabelDatabase], object], int]] = {
    ("served", SNAPSHOTS): (lambda database: read_served(database, days=30), 48),
    ("served", "webcams"): (lambda database: read_served(database, days=30), 12),
    ("served", INFERENCES): (lambda database: read_served(database, days=30), 2),
    ("one version", INFERENCES): (lambda database: read_inferences(database, "m"), 2),
    ("all versions", INFERENCES): (count_inferences, 2),
    ("recorded", INFERENCES): (
        lambda database: record_inferences(database, SCORES, model_version="m"), 2
    ),
    ("unrated", SNAPSHOTS): (lambda database: read_unrated(database, LabelQuery()), 48),
    ("unrated", "webcams"): (lambda database: read_unrated(database, LabelQuery()), 12),
    ("addresses", SNAPSHOTS): (lambda database: read_image_sources(database, range(1, 4)), 3),
    ("dated", RATINGS): (lambda database: read_dated_votes(database, [1, 2, 3]), 48),
    ("dated", GOLD): (lambda database: read_dated_votes(database, [1, 2, 3]), 2),
}  # fmt: skip
SCORES = pl.DataFrame({"snapshot_id": [1], "raw_score": [0.5], "ai_rating": [3.0]})


def fill_all(store: Store) -> None:
    """Rows in every table that anything reads."""
    store.insert(plain_rows())
    store.execute(
        "ALTER TABLE webcams ADD COLUMN custom_camera_id int",
        "UPDATE webcams SET custom_camera_id = 5",
        f"CREATE TABLE {GOLD} (source text, image_id int, is_sunset boolean, rating int,"
        " labeled_at timestamp)",
        f"INSERT INTO {GOLD} VALUES ('webcam', 1, true, 5, NULL), ('webcam', 2, true, 4, NULL)",
        f"INSERT INTO {INFERENCES} (snapshot_id, model_version, raw_score, ai_rating) VALUES"
        " (1, 'm', 0.5, 3.0), (2, 'm', 0.25, 2.0)",
    )


@pytest.mark.parametrize(("reader", "table"), READERS)
def test_rows_twice_are_refused_by_whatever_reads_them(
    store: Store, reader: str, table: str
) -> None:
    read, number = READERS[reader, table]
    fill_all(store)
    if reader != "recorded":
        read(store.database)
    without_keys(store, table)
    store.execute(f"INSERT INTO {table} SELECT * FROM {table}")
    with pytest.raises(LabelDatabaseError) as caught:
        read(store.database)
    assert str(caught.value).startswith(f"Table {table}: {number} values of ")
    assert f"stand in more than one row, {2 * number} rows in all; " in str(caught.value)


def test_two_scores_of_one_model_are_refused_and_not_one_of_them_taken(store: Store) -> None:
    fill_all(store)
    without_keys(store, INFERENCES)
    store.execute(
        f"INSERT INTO {INFERENCES} (snapshot_id, model_version, raw_score) VALUES (2, 'm', 0.9)"
    )
    with pytest.raises(LabelDatabaseError, match=r"snapshot_id 2, model_version 'm' stands in 2"):
        read_inferences(store.database, "m")
    # Another version's rows are whole.
    assert read_inferences(store.database, "other").is_empty()


@pytest.mark.parametrize(
    "read",
    [
        lambda database: read_labels(database, LabelQuery(label_source="all_judges")),
        lambda database: read_unrated(database, LabelQuery()),
        lambda database: read_dated_votes(database, [1]),
    ],
    ids=["labels", "unrated", "dated"],
)
def test_a_gold_label_of_nobody_knows_what_is_refused(
    store: Store, read: Callable[[LabelDatabase], object]
) -> None:
    """It was left out without a word, so that 18 labels were 17."""
    fill_all(store)
    read(store.database)
    store.execute(f"UPDATE {GOLD} SET source = NULL WHERE image_id = 2")
    with pytest.raises(LabelDatabaseError) as caught:
        read(store.database)
    assert str(caught.value).startswith("Table manual_labels: source is NULL in 1 row, ")
    assert "whether image_id is one of a snapshot" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "column"), [("webcams", "id"), (SNAPSHOTS, "id"), (RATINGS, "snapshot_id")]
)
def test_a_key_that_is_null_is_refused(store: Store, table: str, column: str) -> None:
    store.insert(plain_rows())
    without_keys(store, table)
    store.execute(
        f"UPDATE {table} SET {column} = NULL WHERE {column} IN (SELECT min({column}) FROM {table})"
    )
    said = refusal(store, also_narrow=table != "webcams")
    assert said.startswith(f"Table {table}: {column} is NULL in 1 row, ")


# Numbers.


@pytest.mark.parametrize("value", ["2,50", "4 stars", "", " ", "0x4", "4_0", "nan", "1e"])
def test_an_average_that_is_not_wholly_a_number_is_refused(store: Store, value: str) -> None:
    store.insert(plain_rows())
    as_text(store, SNAPSHOTS, "calculated_rating")
    store.execute(f"UPDATE {SNAPSHOTS} SET calculated_rating = '{value}' WHERE id = 9")
    said = refusal(store, also_narrow=False)
    assert f"Table webcam_snapshots: calculated_rating is {value!r} where id is 9" in said
    with pytest.raises(LabelDatabaseError, match=r"calculated_rating is .* where snapshot_id is 9"):
        read_label_values(store.database, LabelQuery())
    if value == "2,50":
        assert "replace(calculated_rating, ',', '.')" in said
    if not value.strip():
        assert "SET calculated_rating = NULL WHERE trim(calculated_rating) = ''" in said


@pytest.mark.parametrize("value", ["4 stars", "", "four"])
def test_a_rating_that_is_not_wholly_a_number_is_refused(store: Store, value: str) -> None:
    store.insert(plain_rows())
    as_text(store, RATINGS, "rating")
    store.execute(f"UPDATE {RATINGS} SET rating = '{value}' WHERE snapshot_id = 9")
    said = refusal(store)
    assert f"Table webcam_snapshot_ratings: rating is {value!r} where snapshot_id is 9" in said


def test_numbers_that_are_stored_as_text_are_numbers(store: Store) -> None:
    store.insert(plain_rows())
    plain = read_labels(store.database, LabelQuery())
    as_text(store, SNAPSHOTS, "calculated_rating")
    as_text(store, RATINGS, "rating")
    store.execute(f"UPDATE {SNAPSHOTS} SET calculated_rating = ' ' || calculated_rating || ' '")
    assert read_labels(store.database, LabelQuery()).frame.equals(plain.frame)


@pytest.mark.parametrize(("value", "shown"), [("4.5", "4.5"), ("0", "0"), ("10", "10")])
def test_ratings_that_are_no_whole_stars_are_named(store: Store, value: str, shown: str) -> None:
    store.insert(plain_rows())
    without_keys(store, RATINGS)
    if store.engine.dialect.name == "postgresql":
        store.execute(f"ALTER TABLE {RATINGS} ALTER rating TYPE numeric")
    store.execute(f"UPDATE {RATINGS} SET rating = {value} WHERE snapshot_id IN (9, 11)")
    said = refusal(store, AGGREGATE)
    assert f"rating is {shown} in a row of snapshot_id 9" in said
    assert "in 2 of 48 rows" in said
    assert "NULL where nobody gave stars" in said


def test_averages_off_the_scale_are_named_where_they_are_the_labels(store: Store) -> None:
    store.insert(plain_rows())
    store.execute(f"UPDATE {SNAPSHOTS} SET calculated_rating = 0.75 WHERE id IN (2, 3)")
    said = refusal(store)
    assert "calculated_rating is 0.75 at id 2, off the scale of 1 to 5 stars" in said
    assert "in 2 of 48 rows" in said
    assert "label_source: public_aggregate" in said
    assert read_labels(store.database, AGGREGATE).frame.height == 48


# Text.


def test_text_that_is_not_utf_8_is_named_by_column_and_row(sqlite: Store) -> None:
    sqlite.insert(plain_rows())
    sqlite.execute(
        "UPDATE webcam_snapshots SET firebase_url = CAST(x'636166e9' AS TEXT) WHERE id = 4"
    )
    said = refusal(sqlite, also_narrow=False)
    assert (
        r"webcam_snapshots: firebase_url is b'caf\xe9' where id is 4, and that is not UTF-8" in said
    )


def test_text_that_is_not_utf_8_on_a_server_that_keeps_any_is_named(
    postgres_server: PostgresServer,
) -> None:
    with any_text(postgres_server) as url:
        store = Store(url)
        create_schema(store.engine)
        store.insert(plain_rows())
        store.execute(r"UPDATE webcam_snapshots SET phase = E'caf\351' WHERE id = 4")
        said = refusal(store, also_narrow=False)
        named = refusal(Store(f"{url}&client_encoding=SQL_ASCII"), also_narrow=False)
    assert "invalid byte sequence" in said
    assert "Write the text anew as UTF-8" in said
    assert "Table webcam_snapshots: phase is 'caf\ufffd' where id is 4, and that is not" in named


@pytest.mark.parametrize("around", ["\n", "\r\n", "\t", "  "])
def test_what_surrounds_a_path_is_trimmed(store: Store, around: str) -> None:
    store.insert(plain_rows())
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE webcam_snapshots SET firebase_url = :path WHERE id = 1"),
            {"path": f"{around}/pictures/1.jpg{around}"},
        )
    frame = read_labels(store.database, LabelQuery()).frame
    assert frame["image_path_or_url"][0] == "/pictures/1.jpg"


# Rows that the database hides.


@pytest.mark.parametrize("table", ["webcams", SNAPSHOTS, RATINGS])
def test_row_level_security_is_said_instead_of_reading_less(
    postgres: Store, postgres_server: PostgresServer, table: str
) -> None:
    postgres.insert(plain_rows())
    with postgres_server.login("reader", "s3cret"):
        postgres.execute(
            f"GRANT SELECT ON webcams, {SNAPSHOTS}, {RATINGS} TO reader",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        )
        name = postgres.database.description["name"]
        reader = Store(postgres_server.url(name, user="reader", password="s3cret"))
        said = refusal(reader, also_narrow=table != "webcams")
        assert f'row-level security policy for table "{table}"' in said
        assert "ALTER ROLE reader BYPASSRLS" in said
        # The owner sees all rows.
        assert read_labels(postgres.database, LabelQuery()).frame.height == 48
        postgres_server.execute("ALTER ROLE reader BYPASSRLS")
        assert read_labels(reader.database, LabelQuery()).frame.height == 48
        postgres.execute("DROP OWNED BY reader")


# One webcam.


def test_one_webcam_is_told_that_more_webcams_are_needed(store: Store) -> None:
    store.insert(plain_rows(n_webcams=1, frames_per_webcam=50))
    with pytest.raises(TooFewLabelsError) as caught:
        read_labels(store.database, LabelQuery())
    assert re.search(r"50 labelled snapshots of 1 webcam\b.*more webcams", str(caught.value))
