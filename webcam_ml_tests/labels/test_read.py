"""Labels as read from SQLite and PostgreSQL, against a plain Python reference."""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webcam_ml.contracts import LABELS_TABLE, WEBCAM_COLUMNS
from webcam_ml.labels import (
    LabelDatabaseError,
    LabelQuery,
    Labels,
    TooFewLabelsError,
    read_labels,
)
from webcam_ml_tests.label_schema import Row, Rows, plain_rows, rating, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer

SESSIONS = ("anna", "ben's 100%", 'c"d, e\\f')
QUERIES = [
    LabelQuery(),
    LabelQuery(min_rating_count=2),
    LabelQuery(curator_sessions=("anna",)),
    LabelQuery(curator_sessions=SESSIONS[1:], min_rating_count=2),
    LabelQuery(label_source="public_aggregate"),
    LabelQuery(label_source="public_aggregate", min_rating_count=3),
]

# Labels that every query above keeps, so that none has too few.
FIRM = Rows(
    webcams=tuple(webcam(id) for id in (1, 2, 3)),
    snapshots=tuple(snapshot(1000 + i, 1 + i % 3, calculated_rating=4.0) for i in range(12)),
    ratings=tuple(rating(1000 + i, 4, session) for i in range(12) for session in SESSIONS),
)

TEXTS = st.none() | st.sampled_from(
    ["", "  ", " Quay ", 'Pier,\n"west"', "Ü → 日没", "NULL", "\\N"]
)


@st.composite
def odd_rows(draw: st.DrawFn) -> Rows:
    """A few snapshots of every kind that the application's schema permits."""
    cameras = [16_500_000, 7, 42]
    snapshots = [
        snapshot(
            id,
            draw(st.none() | st.sampled_from(cameras)),
            calculated_rating=draw(st.none() | st.integers(100, 500).map(lambda c: c / 100)),
            firebase_url=draw(TEXTS),
            phase=draw(st.sampled_from([None, "", "sunrise", "sunset"])),
            captured_at=draw(st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))),
        )
        for id in draw(st.lists(st.integers(1, 999), unique=True, max_size=8))
    ]
    ratings = [
        rating(row["id"], draw(st.none() | st.integers(1, 5)), session)
        for row in snapshots
        for session in draw(st.lists(st.sampled_from((*SESSIONS, "zoë")), unique=True))
    ]
    webcams = [
        webcam(id, title=draw(TEXTS), source=draw(st.none() | st.just("custom"))) for id in cameras
    ]
    return Rows(
        webcams=(*FIRM.webcams, *webcams),
        snapshots=(*snapshots, *FIRM.snapshots),
        ratings=(*ratings, *FIRM.ratings),
    )


def reference(rows: Rows, query: LabelQuery) -> tuple[list[Row], dict[str, int]]:
    """What a label is, in plain Python: the labelled rows and why the others are none."""
    cameras = {row["id"]: row for row in rows.webcams}
    labelled: list[Row] = []
    drops = dict.fromkeys(("unrated", "no_webcam", "no_image", "no_label", "too_few_ratings"), 0)
    for row in sorted(rows.snapshots, key=lambda row: int(str(row["id"]))):
        votes = [
            (vote["user_session_id"], int(str(vote["rating"])))
            for vote in rows.ratings
            if vote["snapshot_id"] == row["id"] and vote["rating"] is not None
        ]
        stars = [
            value
            for session, value in votes
            if not query.curator_sessions or session in query.curator_sessions
        ]
        value = row["calculated_rating"]
        if query.label_source == "public_aggregate" or query.curator_sessions:
            value = sum(stars) / len(stars) if stars else None
        if not votes:
            drops["unrated"] += 1
        elif row["webcam_id"] is None:
            drops["no_webcam"] += 1
        elif text(row["firebase_url"]) is None:
            drops["no_image"] += 1
        elif value is None:
            drops["no_label"] += 1
        elif len(stars) < query.min_rating_count:
            drops["too_few_ratings"] += 1
        else:
            camera = cameras[row["webcam_id"]]
            labelled.append(
                {
                    "snapshot_id": row["id"],
                    "webcam_id": row["webcam_id"],
                    "label_source": query.label_source,
                    "label_value": value,
                    "rating_count": len(stars),
                    "image_path_or_url": text(row["firebase_url"]),
                    "phase": text(row["phase"]),
                    "captured_at": moment(row["captured_at"]),
                    "cached_rating": row["calculated_rating"],
                    "fresh_rating": sum(v for _, v in votes) / len(votes),
                    **{f"stars_{n}": stars.count(n) for n in range(1, 6)},
                    **{
                        column.name: text(camera[column.name.removeprefix("webcam_")])
                        for column in WEBCAM_COLUMNS
                    },
                }
            )
    return labelled, drops


def text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def moment(value: object) -> str | None:
    if value is None:
        return None
    assert isinstance(value, datetime)
    return re.sub(r"(\.\d*?)0+$", r"\1", value.isoformat()).rstrip(".") + "Z"


def clear(store: Store) -> None:
    store.execute(
        "DELETE FROM webcam_snapshot_ratings", "DELETE FROM webcam_snapshots", "DELETE FROM webcams"
    )


def saved(labels: Labels, folder: Path) -> dict[str, bytes]:
    labels.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=odd_rows())
def test_labels_agree_with_the_reference_and_bytes_with_each_other(
    rows: Rows, sqlite: Store, postgres: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for store in (sqlite, postgres):
        clear(store)
        store.insert(rows)
    for query in QUERIES:
        labelled, drops = reference(rows, query)
        files = []
        for store in (sqlite, postgres):
            labels = read_labels(store.database, query)
            assert labels.frame.schema == pl.Schema(LABELS_TABLE.schema)
            assert labels.frame.to_dicts() == labelled
            assert labels.drops == drops
            assert labels.counts.snapshots == len(rows.snapshots)
            assert labels.counts.rated_snapshots == len(rows.snapshots) - drops["unrated"]
            assert sum(labels.counts.rating_counts.values()) == labels.counts.rated_snapshots
            files.append(saved(labels, tmp_path_factory.mktemp("labels")))
        assert files[0] == files[1]


def test_a_plain_database_loses_nothing_and_equal_rows_give_equal_bytes(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = plain_rows(n_webcams=40, frames_per_webcam=30)
    store.insert(rows)
    labels = read_labels(store.database, LabelQuery())
    assert labels.frame["snapshot_id"].to_list() == list(range(1, 1201))
    assert sum(labels.drops.values()) == 0
    again = read_labels(store.database, LabelQuery())
    assert saved(labels, tmp_path_factory.mktemp("a")) == saved(again, tmp_path_factory.mktemp("b"))


def test_rows_come_by_snapshot_id_whatever_the_order_of_the_table(store: Store) -> None:
    rows = plain_rows()
    shuffled = sorted(rows.snapshots, key=lambda row: int(str(row["id"])) * 31 % 48)
    store.insert(replace(rows, snapshots=tuple(shuffled)))
    snapshot_ids = read_labels(store.database, LabelQuery()).frame["snapshot_id"]
    assert snapshot_ids.to_list() == list(range(1, 49))


def test_reading_changes_nothing(sqlite: Store, tmp_path: Path) -> None:
    sqlite.insert(plain_rows())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    read_labels(sqlite.database, LabelQuery())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_types_and_settings_of_a_server_make_no_difference(
    postgres: Store, sqlite: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = plain_rows(n_webcams=4)
    for store in (sqlite, postgres):
        store.insert(rows)
    name = postgres.database.description["name"]
    postgres.execute(
        f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'",
        f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'",
        "ALTER TABLE webcam_snapshots ALTER captured_at TYPE timestamptz"
        " USING captured_at AT TIME ZONE 'UTC'",
        "ALTER TABLE webcam_snapshots ALTER calculated_rating TYPE numeric",
        "ALTER TABLE webcam_snapshots ADD shape point, ADD tags text[]",
        "ALTER TABLE webcam_snapshot_ratings ALTER rating TYPE numeric(4, 2)",
        "CREATE TYPE source_kind AS ENUM ('windy', 'custom')",
        "ALTER TABLE webcams ALTER source TYPE source_kind USING source::source_kind",
        "ALTER TABLE webcams ALTER id TYPE bigint",
    )
    files = [
        saved(read_labels(store.database, LabelQuery()), tmp_path_factory.mktemp("labels"))
        for store in (sqlite, postgres)
    ]
    assert files[0] == files[1]


def test_views_and_other_schemas_are_read_like_tables(postgres: Store) -> None:
    postgres.insert(plain_rows())
    name = postgres.database.description["name"]
    postgres.execute(
        "CREATE SCHEMA app",
        "ALTER TABLE webcams SET SCHEMA app",
        "ALTER TABLE webcam_snapshots SET SCHEMA app",
        "ALTER TABLE webcam_snapshot_ratings RENAME TO votes",
        "CREATE VIEW webcam_snapshot_ratings AS SELECT * FROM votes",
        f"ALTER DATABASE {name} SET search_path = app, public",
    )
    assert read_labels(postgres.database, LabelQuery()).frame.height == 48


def test_time_stamps_that_sqlite_keeps_as_any_text_are_read(sqlite: Store) -> None:
    sqlite.insert(plain_rows())
    for id, spelling in enumerate(
        ("2026-02-12T10:15:00Z", "2026-02-12 11:15:00.000+01:00", "2026-02-12 10:15:00"), start=1
    ):
        sqlite.execute(f"UPDATE webcam_snapshots SET captured_at = '{spelling}' WHERE id = {id}")
    read = read_labels(sqlite.database, LabelQuery()).frame["captured_at"]
    assert read.to_list()[:3] == ["2026-02-12T10:15:00Z"] * 3


def test_a_time_stamp_that_is_none_is_named(store: Store) -> None:
    store.insert(plain_rows())
    if store.engine.dialect.name == "sqlite":
        bad = "yesterday"
        store.execute(f"UPDATE webcam_snapshots SET captured_at = '{bad}' WHERE id = 3")
    else:
        bad = "infinity"
        store.execute(f"UPDATE webcam_snapshots SET captured_at = '{bad}' WHERE id = 3")
    with pytest.raises(LabelDatabaseError, match=f"at id 3 it is '{bad}'"):
        read_labels(store.database, LabelQuery())


def test_a_value_of_another_kind_is_named(store: Store) -> None:
    store.insert(plain_rows())
    if store.engine.dialect.name == "sqlite":
        store.execute("UPDATE webcam_snapshots SET webcam_id = 'north' WHERE id = 3")
    else:
        store.execute(
            "ALTER TABLE webcam_snapshots DROP CONSTRAINT webcam_snapshots_webcam_id_fkey",
            "ALTER TABLE webcam_snapshots ALTER webcam_id TYPE text",
            "UPDATE webcam_snapshots SET webcam_id = 'north' WHERE id = 3",
        )
    with pytest.raises(LabelDatabaseError, match=r"(?s)webcam_snapshots.*north"):
        read_labels(store.database, LabelQuery())


def test_nan_is_no_label(store: Store) -> None:
    store.insert(plain_rows())
    store.execute("UPDATE webcam_snapshots SET calculated_rating = 'NaN' WHERE id = 1")
    labels = read_labels(store.database, LabelQuery())
    assert labels.drops["no_label"] == 1


def test_a_stale_cached_average_is_found(store: Store) -> None:
    store.insert(rated({1: 20}))
    store.execute(
        "UPDATE webcam_snapshots SET calculated_rating = 4.5 WHERE id = 5",
        "UPDATE webcam_snapshots SET calculated_rating = 2.01 WHERE id = 6",
    )
    stale = read_labels(store.database, LabelQuery()).stale_cached()
    assert stale.select("snapshot_id", "cached_rating", "fresh_rating").rows() == [(5, 4.5, 2.0)]


def test_every_state_that_is_read_is_one_that_was_committed(store: Store) -> None:
    rows = plain_rows(n_webcams=4, frames_per_webcam=40)
    store.insert(rows)
    stop = threading.Event()

    def flip(stars: int) -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE webcam_snapshot_ratings SET rating = {stars}")
            connection.exec_driver_sql(f"UPDATE webcam_snapshots SET calculated_rating = {stars}")
            connection.exec_driver_sql(f"UPDATE webcams SET title = 'state {stars}'")

    def keep_flipping() -> None:
        stars = 1
        # A pause, or SQLite's readers, which cannot read beside a commit, would starve.
        while not stop.wait(0.002):
            stars = stars % 5 + 1
            flip(stars)

    flip(1)
    writer = threading.Thread(target=keep_flipping)
    writer.start()
    try:
        for _ in range(20):
            frame = read_labels(store.database, LabelQuery()).frame
            state = frame["fresh_rating"][0]
            assert frame["fresh_rating"].to_list() == [state] * 160
            assert frame["label_value"].to_list() == [state] * 160
            assert frame["webcam_title"].to_list() == [f"state {state:.0f}"] * 160
    finally:
        stop.set()
        writer.join()


def test_rows_that_arrive_during_a_read_are_not_in_it(postgres: Store) -> None:
    postgres.insert(plain_rows())
    count = sa.text("SELECT count(*) FROM webcam_snapshots")
    with postgres.database.reading() as connection:
        before = connection.scalar(count)
        postgres.insert(Rows(snapshots=(snapshot(999, None),)))
        assert connection.scalar(count) == before
    with postgres.database.reading() as connection:
        assert connection.scalar(count) == before + 1


# Too few labels: what the error says.


def message(store: Store, query: LabelQuery) -> str:
    with pytest.raises(TooFewLabelsError) as caught:
        read_labels(store.database, query)
    return str(caught.value)


def rated(numbers: Mapping[int, int], **columns: object) -> Rows:
    """Snapshots with so many ratings each: number of ratings → number of snapshots."""
    counts = [n for n, rows in numbers.items() for _ in range(rows)]
    return Rows(
        webcams=tuple(webcam(id) for id in range(1, 8)),
        snapshots=tuple(
            snapshot(id, 1 + id % 7, **({"calculated_rating": 2.0} | columns))
            for id in range(1, len(counts) + 1)
        ),
        ratings=tuple(
            rating(id, 2, f"session-{k}") for id, n in enumerate(counts, start=1) for k in range(n)
        ),
    )


def test_an_empty_database_is_asked_whether_it_is_the_right_one(store: Store) -> None:
    assert "webcam_snapshots is empty: does DATABASE_URL name the right" in message(
        store, LabelQuery()
    )


def test_snapshots_without_any_rating_are_told_from_votes(store: Store) -> None:
    rows = rated({0: 30}, calculated_rating=None)
    store.insert(replace(rows, ratings=(rating(1, None), rating(2, None))))
    said = message(store, LabelQuery())
    assert "None of the 30 snapshots has a rating in webcam_snapshot_ratings" in said
    assert "verdict-only" in said


def test_cached_averages_without_ratings_are_mentioned(store: Store) -> None:
    store.insert(rated({0: 30}))
    assert "30 have a calculated_rating, but a label rests on ratings" in message(
        store, LabelQuery()
    )


def test_a_minimum_that_leaves_too_few_says_how_many_there_are(store: Store) -> None:
    store.insert(rated({1: 1027, 2: 4, 3: 1}))
    said = message(store, LabelQuery(min_rating_count=2))
    assert said.startswith("Only 5 labelled snapshots of ")
    assert "5 of 1,032 rated snapshots have at least 2 ratings; 1,027 have 1: lower" in said
    assert "1,027 have 1, 4 have 2, 1 have 3: lower min_rating_count" in message(
        store, LabelQuery(min_rating_count=4)
    )


def test_missing_averages_point_to_the_other_source(store: Store) -> None:
    store.insert(rated({1: 20}, calculated_rating=None))
    said = message(store, LabelQuery())
    assert "Of 20 rated snapshots, 20 have no calculated_rating: set label_source to pub" in said
    assert (
        read_labels(store.database, LabelQuery(label_source="public_aggregate")).frame.height == 20
    )


def test_missing_images_are_named_before_what_settings_mend(store: Store) -> None:
    store.insert(rated({1: 20}, firebase_url=" "))
    assert "20 have no image (firebase_url is empty)" in message(
        store, LabelQuery(min_rating_count=2)
    )


def test_two_webcams_are_too_few_to_split(store: Store) -> None:
    store.insert(plain_rows(n_webcams=2, frames_per_webcam=50))
    said = message(store, LabelQuery())
    assert "Only 100 labelled snapshots of 2 webcams" in said
    assert "more webcams are needed: rate some of 1 or more others" in said


def test_sessions_that_match_nobody_show_who_is_there(store: Store) -> None:
    store.insert(rated({1: 20, 3: 2}))
    said = message(store, LabelQuery(curator_sessions=("a-very-long-session-id",)))
    assert "no rating by 'a-very-long-…'" in said
    assert "Of the 3 sessions that rated, the busiest: 'session-0' (22 ratings)" in said


def test_sessions_that_rated_too_little_are_named(store: Store) -> None:
    store.insert(rated({1: 20, 3: 2}))
    said = message(store, LabelQuery(curator_sessions=("session-2",)))
    assert "Of 22 rated snapshots, 20 were rated by none of the curator_sessions" in said


def test_one_unknown_session_beside_known_ones_is_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert(rated({1: 20}))
    with caplog.at_level(logging.WARNING):
        read_labels(store.database, LabelQuery(curator_sessions=("session-0", "sesion-1")))
    assert "1 of 2 rated nothing" in caplog.text
    assert "'sesion-1'" in caplog.text


def test_a_login_that_may_only_select_is_enough(
    postgres: Store, postgres_server: PostgresServer
) -> None:
    postgres.insert(plain_rows())
    with postgres_server.login("reader", "s3cret"):
        postgres.execute(
            "GRANT SELECT ON webcams, webcam_snapshots, webcam_snapshot_ratings TO reader"
        )
        name = postgres.database.description["name"]
        reader = Store(postgres_server.url(name, user="reader", password="s3cret"))
        assert read_labels(reader.database, LabelQuery()).frame.height == 48
        postgres.execute("REVOKE SELECT ON webcams FROM reader")
        with pytest.raises(LabelDatabaseError, match=r"permission denied.*Grant"):
            read_labels(reader.database, LabelQuery())
        postgres.execute("DROP OWNED BY reader")
