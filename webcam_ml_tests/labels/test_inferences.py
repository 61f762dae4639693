"""Scores in snapshot_ai_inferences: written whole, once, under one name, with no right to spare."""

from collections.abc import Iterator

import polars as pl
import pytest
import sqlalchemy as sa

from webcam_ml.labels import (
    INFERENCE_SCHEMA,
    LabelDatabase,
    LabelDatabaseError,
    Recorded,
    count_inferences,
    read_inferences,
    record_inferences,
)
from webcam_ml.labels._inferences import BATCH_ROWS
from webcam_ml_tests.label_schema import INFERENCES, Rows, create_schema, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer

SNAPSHOTS = 2 * BATCH_ROWS + 17
LONG_AGO = "2001-02-03 04:05:06"
OURS, OTHERS = "binary-resnet18-0123456789ab", "regression-resnet18-0123456789ab"


def scores(n: int = SNAPSHOTS, *, shift: float = 0.0) -> pl.DataFrame:
    """Scores with six decimals and ratings with two, as the runtime gives them."""
    raw = [round((i * 0.000137 + shift) % 1, 6) for i in range(n)]
    return pl.DataFrame(
        {
            "snapshot_id": range(1, n + 1),
            "raw_score": raw,
            "ai_rating": [round(1 + 4 * score, 2) for score in raw],
        },
        schema=INFERENCE_SCHEMA,
    )


@pytest.fixture
def filled(store: Store) -> Store:
    rows = tuple(snapshot(i, 7) for i in range(1, SNAPSHOTS + 1))
    store.insert(Rows(webcams=(webcam(7),), snapshots=rows))
    return store


def everything(store: Store) -> list[tuple[object, ...]]:
    table = INFERENCES.c
    with store.engine.connect() as connection:
        statement = sa.select(
            table.snapshot_id, table.model_version, table.raw_score, table.scored_at
        )
        return [tuple(row) for row in connection.execute(statement.order_by(*table))]


def test_what_is_recorded_is_read_back_bit_for_bit_whatever_its_order(filled: Store) -> None:
    wanted = scores()
    recorded = record_inferences(
        filled.database, wanted.sample(fraction=1, shuffle=True, seed=1), model_version=OURS
    )
    assert recorded == Recorded(new=SNAPSHOTS, changed=0, unchanged=0)
    assert read_inferences(filled.database, OURS).equals(wanted)


def test_recording_twice_is_recording_once(filled: Store) -> None:
    record_inferences(filled.database, scores(), model_version=OURS)
    filled.execute(f"UPDATE snapshot_ai_inferences SET scored_at = '{LONG_AGO}'")
    before = everything(filled)
    again = record_inferences(filled.database, scores(), model_version=OURS)
    assert again == Recorded(new=0, changed=0, unchanged=SNAPSHOTS)
    assert everything(filled) == before


def test_only_scores_that_differ_are_overwritten_and_get_a_new_time(filled: Store) -> None:
    record_inferences(filled.database, scores(40), model_version=OURS)
    filled.execute(f"UPDATE snapshot_ai_inferences SET scored_at = '{LONG_AGO}'")
    other = pl.concat([scores(30), scores(50, shift=0.3).slice(30)])
    recorded = record_inferences(filled.database, other, model_version=OURS)
    assert recorded == Recorded(new=10, changed=10, unchanged=30)
    assert read_inferences(filled.database, OURS).equals(other)
    old = [row[0] for row in everything(filled) if str(row[3]).startswith("2001-02-03")]
    assert old == list(range(1, 31))


def test_versions_never_mix(filled: Store) -> None:
    record_inferences(filled.database, scores(60), model_version=OTHERS)
    record_inferences(filled.database, scores(90, shift=0.2), model_version=OURS)
    assert read_inferences(filled.database, OTHERS).equals(scores(60))
    assert read_inferences(filled.database, OURS).equals(scores(90, shift=0.2))
    assert read_inferences(filled.database, "somebody-else").is_empty()
    assert list(count_inferences(filled.database).items()) == [(OURS, 90), (OTHERS, 60)]


def test_a_row_that_is_refused_takes_all_others_with_it(filled: Store) -> None:
    # The last of three batches has a snapshot that was deleted meanwhile.
    filled.execute(f"DELETE FROM webcam_snapshots WHERE id = {SNAPSHOTS}")
    with pytest.raises(LabelDatabaseError, match=r"snapshot was deleted.*labels_raw"):
        record_inferences(filled.database, scores(), model_version=OURS)
    assert everything(filled) == []


def test_nulls_and_scores_off_their_scale_are_read_as_they_are(filled: Store) -> None:
    filled.execute(
        "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version, raw_score, ai_rating)"
        f" VALUES (1, '{OURS}', NULL, NULL), (2, '{OURS}', 7.5, 4.0)"
    )
    assert read_inferences(filled.database, OURS)["raw_score"].to_list() == [None, 7.5]
    recorded = record_inferences(filled.database, scores(2), model_version=OURS)
    assert recorded == Recorded(new=0, changed=2, unchanged=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE snapshot_ai_inferences", "no table snapshot_ai_inferences"),
        (
            "ALTER TABLE snapshot_ai_inferences RENAME COLUMN raw_score TO score",
            "no column raw_score",
        ),
    ],
)
def test_a_table_that_is_not_there_is_named(store: Store, change: str, says: str) -> None:
    store.execute(change)
    for attempt in (
        lambda: count_inferences(store.database),
        lambda: read_inferences(store.database, OURS),
        lambda: record_inferences(store.database, scores(3), model_version=OURS),
    ):
        with pytest.raises(LabelDatabaseError, match=says):
            attempt()


def test_a_table_that_cannot_tell_a_second_recording_from_a_first_is_refused(store: Store) -> None:
    store.execute(
        "DROP TABLE snapshot_ai_inferences",
        "CREATE TABLE snapshot_ai_inferences (snapshot_id int, model_version text,"
        " raw_score double precision, ai_rating numeric(3, 2), scored_at timestamp)",
    )
    with pytest.raises(LabelDatabaseError, match=r"UNIQUE .*\(snapshot_id, model_version\) of"):
        record_inferences(store.database, scores(3), model_version=OURS)


# --- rights ---------------------------------------------------------------------------------------

SECRET = "pa:s/w@r d%"


@pytest.fixture
def guarded(postgres_server: PostgresServer) -> Iterator[tuple[Store, LabelDatabase]]:
    """A database as its owner has it, and as a role that may do nothing yet."""
    with (
        postgres_server.login("recorder", SECRET),
        postgres_server.fresh_database() as url,
    ):
        owner = Store(url)
        create_schema(owner.engine)
        rows = tuple(snapshot(i, 7) for i in range(1, SNAPSHOTS + 1))
        owner.insert(Rows(webcams=(webcam(7),), snapshots=rows))
        name = str(owner.database.description["name"])
        yield owner, LabelDatabase(postgres_server.url(name, user="recorder", password=SECRET))


def number_rows_by_identity(store: Store) -> None:
    """As the SQL standard does; the sequence then belongs to the table, rights included."""
    store.execute(
        "ALTER TABLE snapshot_ai_inferences ALTER id DROP DEFAULT",
        "ALTER TABLE snapshot_ai_inferences ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
    )


def test_select_insert_and_update_on_the_one_table_are_enough(
    guarded: tuple[Store, LabelDatabase],
) -> None:
    owner, database = guarded
    number_rows_by_identity(owner)
    owner.execute("GRANT SELECT, INSERT, UPDATE ON snapshot_ai_inferences TO recorder")
    record_inferences(database, scores(), model_version=OURS)
    record_inferences(database, scores(shift=0.1), model_version=OURS)
    assert count_inferences(database) == {OURS: SNAPSHOTS}
    assert read_inferences(owner.database, OURS).equals(scores(shift=0.1))


@pytest.mark.parametrize("missing", ["SELECT", "INSERT", "UPDATE"])
def test_a_right_that_is_missing_is_named_and_nothing_is_written(
    guarded: tuple[Store, LabelDatabase], missing: str
) -> None:
    owner, database = guarded
    number_rows_by_identity(owner)
    owner.execute("GRANT SELECT, INSERT, UPDATE ON snapshot_ai_inferences TO recorder")
    owner.execute(f"REVOKE {missing} ON snapshot_ai_inferences FROM recorder")
    with pytest.raises(LabelDatabaseError, match=r"Grant .*label_recorder\.sql for scores") as no:
        record_inferences(database, scores(), model_version=OURS)
    assert SECRET not in str(no.value)
    assert everything(owner) == []


def test_a_sequence_of_the_tables_own_needs_its_own_grant_and_the_error_says_so(
    guarded: tuple[Store, LabelDatabase],
) -> None:
    owner, database = guarded
    owner.execute("GRANT SELECT, INSERT, UPDATE ON snapshot_ai_inferences TO recorder")
    with pytest.raises(LabelDatabaseError, match="grant the user of the URL USAGE on it"):
        record_inferences(database, scores(3), model_version=OURS)
    owner.execute("GRANT USAGE ON SEQUENCE snapshot_ai_inferences_id_seq TO recorder")
    assert record_inferences(database, scores(3), model_version=OURS).new == 3


def test_a_database_that_its_owner_made_read_only_stays_so(postgres: Store) -> None:
    name = postgres.database.description["name"]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(LabelDatabaseError, match="names a read-only copy"):
        record_inferences(postgres.database, scores(3), model_version=OURS)
