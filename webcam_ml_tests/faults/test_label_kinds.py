"""Each column of each table made wrong in each way: an error for people, or the right numbers."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webcam_ml.dataset import build_manifest
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelQuery, read_label_values, read_labels
from webcam_ml_tests.label_schema import create_schema, plain_rows
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.labels.test_external_images import TABLE
from webcam_ml_tests.postgres import PostgresServer

NEEDED = {
    "webcams": ("id", "title", "source"),
    "webcam_snapshots": (
        "id", "webcam_id", "phase", "captured_at", "calculated_rating", "firebase_url",
    ),
    "webcam_snapshot_ratings": ("snapshot_id", "user_session_id", "rating"),
}  # fmt: skip
# What an older database lacks: without one of these it is read as such a one.
OPTIONAL = {
    "webcams": ("custom_camera_id",),
    "webcam_snapshots": ("llm_quality", "llm_model"),
    "webcam_snapshot_ratings": ("is_sunset_verdict",),
    "manual_labels": ("source", "image_id", "is_sunset", "rating"),
    "external_images": (
        "id", "image_url", "source", "owner", "license", "llm_quality", "llm_model",
    ),
}  # fmt: skip
NEEDED_PLACES = [(table, column) for table, names in NEEDED.items() for column in names]
COLUMNS = {table: (*NEEDED.get(table, ()), *names) for table, names in OPTIONAL.items()}
# The column by which the rows to change are chosen.
ROW = {
    "webcams": "id", "webcam_snapshots": "id", "webcam_snapshot_ratings": "snapshot_id",
    "manual_labels": "image_id", "external_images": "id",
}  # fmt: skip
QUERIES = (
    LabelQuery(label_source="all_judges", external_images=True),
    LabelQuery(),
    LabelQuery(min_rating_count=2),
    LabelQuery(curator_sessions=("curator-1",)),
    LabelQuery(label_source="public_aggregate"),
)
NUMBERS = ["label_value", "rating_count", "webcam_id", *(f"stars_{star}" for star in range(1, 6))]

# Ways to make a value wrong, as SQL that both databases understand; columns are text by then.
VALUES = {
    "text": "'abc'",
    "decimal comma": "'2,50'",
    "number with a unit": "'4 stars'",
    "empty text": "''",
    "blanks": "'   '",
    "the word NULL": "'NULL'",
    "NULL": "NULL",
    "half stars": "'4.5'",
    "off the scale": "'10'",
    "negative": "'-1'",
    "not a number": "'NaN'",
    "huge": "'1e300'",
    "beyond integers": "'99999999999999999999'",
    "leading zero": "'01'",
    "escape sequence": "'\x1b[2J\x9b'",
    "line ends": "'a\r\nb\tc'",
    "direction mark": "'gpj.\u202eexe'",
    "a time": "'2026-02-30 25:61:00'",
}
SQLITE_VALUES = {
    "not UTF-8": "CAST(x'636166e9' AS TEXT)",
    "bytes": "x'00ff'",
    "a real": "3.25",
    "an integer": "7",
}
WHOLE = {"rows twice": "", "column missing": "", "column renamed in case": ""}
ROWS = plain_rows(n_webcams=20, frames_per_webcam=4)
# Whatever can be judged beside stars is judged, in each of the seven groups of rows.
JUDGED = f"""
ALTER TABLE webcams ADD COLUMN custom_camera_id int;
UPDATE webcams SET custom_camera_id = id % 9;
ALTER TABLE webcam_snapshots ADD COLUMN llm_quality real;
ALTER TABLE webcam_snapshots ADD COLUMN llm_model text;
UPDATE webcam_snapshots SET llm_quality = id / 100.0, llm_model = 'gemini' WHERE id % 2 = 0;
ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean;
UPDATE webcam_snapshot_ratings SET is_sunset_verdict = true;
INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, is_sunset_verdict)
    SELECT id, 'ben', false FROM webcam_snapshots WHERE id % 5 = 0;
CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean, rating int);
INSERT INTO manual_labels SELECT 'webcam', id, true, 5 FROM webcam_snapshots WHERE id % 3 = 0;
INSERT INTO manual_labels SELECT 'webcam', id, false, NULL FROM webcam_snapshots
    WHERE id % 10 = 1 AND id % 3 > 0;
{TABLE};
INSERT INTO external_images (id, source, owner, license, image_url, llm_quality, llm_model)
    SELECT id, 'flickr', 'ada', 'CC0', '/p.jpg', id / 100.0, 'gemini' FROM webcam_snapshots
    WHERE id <= 28;
INSERT INTO manual_labels SELECT 'flickr', id, true, 4 FROM external_images WHERE id % 2 = 0
"""


def fill(store: Store) -> Store:
    create_schema(store.engine)
    store.insert(ROWS)
    store.execute(*JUDGED.split(";"))
    return store


def spoil(store: Store, table: str, column: str, kind: str, chosen: int) -> None:
    """Make a column wrong in one way, in the rows that a number chooses."""
    postgres = store.engine.dialect.name == "postgresql"
    where = f"CAST({ROW[table]} AS BIGINT) % 7 = {chosen}"
    store.execute(
        f"CREATE TABLE copied AS SELECT * FROM {table}",
        f"DROP TABLE {table}" + (" CASCADE" if postgres else ""),
        f"ALTER TABLE copied RENAME TO {table}",
    )
    if kind == "rows twice":
        store.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE {where}")
    elif kind == "column missing":
        store.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    elif kind == "column renamed in case":
        store.execute(f'ALTER TABLE {table} RENAME COLUMN {column} TO "{column.upper()}"')
    else:
        value = (VALUES | SQLITE_VALUES)[kind]
        if postgres and value != "NULL":
            store.execute(f"ALTER TABLE {table} ALTER {column} TYPE text USING {column}::text")
        store.execute(f"UPDATE {table} SET {column} = {value} WHERE {where}")


def touched(change: tuple[str, str], kind: str, chosen: int) -> set[int]:
    """The snapshots that the change may concern."""
    table, column = change
    if column in OPTIONAL[table] and kind.startswith("column "):
        return set(range(1, 81))  # as an older database, which does not have it
    if table in ("webcams", "external_images"):
        return set()  # titles and sources decide no number
    return {id for id in range(1, 81) if id % 7 == chosen}


Clean = Mapping[LabelQuery, pl.DataFrame | None]


@pytest.fixture(scope="module")
def clean(plain_file: Path) -> Clean:
    """What each query gives before anything is spoilt; None where that is an error already."""
    store = Store(f"sqlite:///{plain_file}")
    labels: dict[LabelQuery, pl.DataFrame | None] = {}
    for query in QUERIES:
        try:
            labels[query] = read_labels(store.database, query).frame
        except WebcamMLError:
            labels[query] = None
    assert labels[QUERIES[0]] is not None
    return labels


def require_error_or_right_numbers(
    store: Store, query: LabelQuery, clean: pl.DataFrame | None, concerned: set[int]
) -> bool:
    """Read; whether it was refused. Anything but an error for people is a failure of the test."""
    try:
        labels = read_labels(store.database, query)
    except WebcamMLError as error:
        said = str(error)
        assert not any(sign in said for sign in "\x1b\x9b\r\n\t\u202e"), said
        return True
    assert clean is not None
    frame = labels.frame
    assert frame["snapshot_id"].is_unique().all()
    assert labels.off_scale().is_empty()
    assert min(labels.drops.values()) >= 0
    assert frame.height + sum(labels.drops.values()) == labels.counts.snapshots == 80
    mine, before = (
        one.filter(~pl.col("snapshot_id").is_in(list(concerned))).select("snapshot_id", *NUMBERS)
        for one in (frame, clean)
    )
    assert mine.equals(before)
    values = read_label_values(store.database, query)
    assert values.frame.equals(frame.select(values.frame.columns))
    try:
        build_manifest(labels)
    except WebcamMLError:
        return True
    return False


def try_all_queries(
    store: Store, clean: Clean, change: tuple[str, str], kind: str, chosen: int
) -> None:
    spoil(store, *change, kind, chosen)
    for query in QUERIES:
        require_error_or_right_numbers(store, query, clean[query], touched(change, kind, chosen))


PLACES = st.sampled_from([(table, column) for table, names in COLUMNS.items() for column in names])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    change=PLACES, kind=st.sampled_from([*VALUES, *SQLITE_VALUES, *WHOLE]), chosen=st.integers(0, 6)
)
def test_sqlite_spoilt_in_any_way_gives_an_error_or_the_right_numbers(
    change: tuple[str, str], kind: str, chosen: int, clean: Clean, plain_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "labels.db"
    shutil.copy(plain_file, path)
    try_all_queries(Store(f"sqlite:///{path}"), clean, change, kind, chosen)


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "labels.db"
    fill(Store(f"sqlite:///{path}"))
    return path


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=PLACES, kind=st.sampled_from([*VALUES, *WHOLE]), chosen=st.integers(0, 6))
def test_postgresql_spoilt_in_any_way_gives_an_error_or_the_right_numbers(
    change: tuple[str, str], kind: str, chosen: int, clean: Clean, fresh: Callable[[], Store]
) -> None:
    try_all_queries(fresh(), clean, change, kind, chosen)


@pytest.mark.slow
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=PLACES, kind=st.sampled_from([*VALUES, *WHOLE]), chosen=st.integers(0, 6))
def test_postgresql_spoilt_in_any_way_a_thousand_times(
    change: tuple[str, str], kind: str, chosen: int, clean: Clean, fresh: Callable[[], Store]
) -> None:
    try_all_queries(fresh(), clean, change, kind, chosen)


@pytest.fixture
def fresh(postgres_server: PostgresServer, postgres_url: str) -> Callable[[], Store]:
    """Make the tables anew in the database of the test."""

    def make() -> Store:
        store = Store(postgres_url)
        store.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        return fill(store)

    return make


def test_the_ways_are_seen_to_be_wrong(clean: Clean, plain_file: Path, tmp_path: Path) -> None:
    """Of every kind something is refused, so that the tests above prove something."""
    unseen = {*VALUES, *SQLITE_VALUES, *WHOLE}
    query = LabelQuery()
    for kind in sorted(unseen):
        for table, column in NEEDED_PLACES:
            path = tmp_path / "labels.db"
            shutil.copy(plain_file, path)
            store = Store(f"sqlite:///{path}")
            spoil(store, table, column, kind, 1)
            concerned = touched((table, column), kind, 1)
            if require_error_or_right_numbers(store, query, clean[query], concerned):
                unseen.discard(kind)
                break
    assert unseen == {"column renamed in case"}  # SQLite does not mind
