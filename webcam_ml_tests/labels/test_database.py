"""Opening a label database: what can be wrong with it is named, and its password never is."""

import socket
import sqlite3
import traceback
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, read_labels
from webcam_ml.labels._stream import fetch
from webcam_ml_tests.label_schema import plain_rows
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer

SECRET = "pa:s/w0@r d%"
QUOTED = "pa%3As%2Fw0%40r%20d%25"


def everything_said(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def refusal(url: str) -> str:
    """What is said when labels are read from this URL."""
    with pytest.raises(LabelDatabaseError) as caught:
        read_labels(LabelDatabase(url), LabelQuery())
    said = everything_said(caught.value)
    for secret in (SECRET, QUOTED, "s%2Fw0", "s/w0"):
        assert secret not in said
    return str(caught.value)


# The environment variable and the URL.


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_database_url_the_error_says_how_to_set_it(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(LabelDatabaseError, match="export DATABASE_URL=URL"):
        LabelDatabase.from_env()


def test_database_url_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///demo/labels.db\n")
    assert LabelDatabase.from_env().description == {
        "dialect": "sqlite",
        "host": "",
        "name": "demo/labels.db",
    }


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_description_and_text_name_the_database_without_credentials(scheme: str) -> None:
    database = LabelDatabase(f"{scheme}://ada:{QUOTED}@db.example:5433/sunset?sslmode=require")
    assert database.description == {
        "dialect": "postgresql",
        "host": "db.example:5433",
        "name": "sunset",
    }
    for text in (str(database), repr(database)):
        assert "sunset" in text
        assert "ada" not in text
        assert SECRET not in text
        assert QUOTED not in text


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("labels.db", "cannot be read as one"),
        ("postgresql://ada:s3cret/sunset", "cannot be read as one"),
        ("postgresql://ada:s3cret@db:port/sunset", "cannot be read as one"),
        ("postgresql://ada:s3@cret@db/sunset", "write them as %40"),
        ("postgresql://a/da:s3cret@db/sunset", "write them as %40"),
        ("mysql://ada:s3cret@db/sunset", "is for mysql"),
        ("postgresql+asyncpg://ada:s3cret@db/sunset", r"is for postgresql\+asyncpg"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://labels.db", "two slashes"),
        ("sqlite:///file:labels.db?mode=rwc&uri=true", "SQLite options"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_quoting_it(url: str, problem: str) -> None:
    with pytest.raises(LabelDatabaseError, match=problem) as caught:
        LabelDatabase(url)
    said = everything_said(caught.value)
    assert "s3" not in said
    assert "cret" not in said


# SQLite files.


def test_a_missing_file_is_named_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal("sqlite:///labels.db")
    assert f"there is no file {tmp_path}/labels.db" in said
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_starts_at_the_working_directory(
    sqlite: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.insert(plain_rows())
    monkeypatch.chdir(tmp_path.parent)
    path = f"{tmp_path.name}/labels.db"
    assert read_labels(LabelDatabase(f"sqlite:///{path}"), LabelQuery()).frame.height == 48


def test_odd_characters_in_a_path_are_only_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20#ü"
    folder.mkdir()
    sqlite3.connect(folder / "labels.db").close()
    assert "has no tables at all" in refusal(f"sqlite:///{folder}/labels.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_text("snapshot_id,rating\n" * 100)
    assert "file is not a database" in refusal(f"sqlite:///{tmp_path}/labels.db")


def test_an_sqlite_connection_cannot_write(sqlite: Store) -> None:
    with (
        pytest.raises(LabelDatabaseError, match="readonly"),
        sqlite.database.reading() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM webcams")


# PostgreSQL servers.


def test_a_postgresql_connection_cannot_write(postgres: Store) -> None:
    with (
        pytest.raises(LabelDatabaseError, match="read-only transaction"),
        postgres.database.reading() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM webcams")


def test_a_password_with_any_characters_opens_and_a_wrong_one_is_refused(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.login("ada", SECRET), postgres_server.fresh_database() as url:
        name = LabelDatabase(url).description["name"]
        right = postgres_server.url(name, user="ada", password=SECRET)
        wrong = postgres_server.url(name, user="ada", password=SECRET + SECRET)
        assert "has no tables at all" in refusal(right)
        said = refusal(wrong)
        assert "password authentication failed" in said
        assert "Check user and password in DATABASE_URL" in said
        said = refusal(postgres_server.url(name, user="ada"))
        assert "Add the password to DATABASE_URL" in said


def test_a_password_among_the_options_is_kept_as_quiet(postgres_server: PostgresServer) -> None:
    with postgres_server.login("ada", "other"):
        url = postgres_server.url("postgres", user="ada")
        assert "password authentication failed" in refusal(f"{url}&password={QUOTED}")


def test_what_the_server_says_is_cleaned_of_the_password(postgres_server: PostgresServer) -> None:
    # The server repeats the name of a user that it does not know: here it is the password too.
    said = refusal(postgres_server.url("postgres", user=SECRET, password=SECRET))
    assert 'role "***" does not exist' in said


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ("/nowhere", "Check the names of database and user"),
        ("/postgres?nonsense=1", "Check what follows the ?"),
    ],
)
def test_a_database_or_option_that_does_not_exist_is_named(
    end: str, what: str, postgres_server: PostgresServer
) -> None:
    url = f"postgresql://postgres:{QUOTED}@{end}"
    between = "&" if "?" in end else "?"
    assert what in refusal(f"{url}{between}host={postgres_server.socket_folder}")


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused, and nobody else's
        port = taken.getsockname()[1]
        said = refusal(f"postgresql://ada:{QUOTED}@127.0.0.1:{port}/sunset")
    assert f'Cannot open PostgreSQL database "sunset" on 127.0.0.1:{port}: ' in said
    assert "Is the server running there?" in said


def test_a_host_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        said = refusal(f"postgresql://ada:{QUOTED}@127.0.0.1:{port}/sunset?connect_timeout=2")
    assert "The host does not answer" in said


def test_a_connection_that_is_cut_during_a_read_is_an_error_that_says_so(
    postgres: Store, postgres_server: PostgresServer
) -> None:
    postgres.insert(plain_rows())

    def read_while_the_server_ends_the_connection() -> None:
        with postgres.database.reading() as connection:
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            postgres_server.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
            numbers = sa.select(sa.text("id FROM webcam_snapshots"))
            fetch(connection, numbers, {"id": pl.Int64}, total=48, what="webcam_snapshots")

    with pytest.raises(LabelDatabaseError, match=r"terminat.*Nothing was stored") as caught:
        read_while_the_server_ends_the_connection()
    assert "psycopg2" not in everything_said(caught.value)


# Tables and columns.


@pytest.mark.parametrize("table", ["webcams", "webcam_snapshots", "webcam_snapshot_ratings"])
def test_a_missing_table_is_named(table: str, store: Store) -> None:
    store.execute(f"ALTER TABLE {table} RENAME TO renamed")
    said = refusal(store.url)
    assert f"has no table {table}" in said
    assert "It has: " in said
    assert "renamed" in said


@pytest.mark.parametrize(
    ("table", "column", "instead"),
    [
        ("webcams", "title", "tittle"),
        ("webcam_snapshots", "firebase_url", '"firebaseUrl"'),
        ("webcam_snapshot_ratings", "user_session_id", "session_id"),
    ],
)
def test_a_missing_column_is_named_with_what_is_near(
    table: str, column: str, instead: str, store: Store
) -> None:
    store.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {instead}")
    said = refusal(store.url)
    assert f"table {table} has no column {column} (near: {instead.strip(chr(34))})" in said


def test_case_matters_in_postgresql_only(store: Store) -> None:
    store.insert(plain_rows())
    store.execute('ALTER TABLE webcams RENAME COLUMN title TO "Title"')
    if store.engine.dialect.name == "sqlite":
        assert read_labels(store.database, LabelQuery()).frame.height == 48
    else:
        assert "has no column title (near: Title)" in refusal(store.url)


def test_tables_in_a_schema_off_the_search_path_are_found(postgres: Store) -> None:
    postgres.insert(plain_rows())
    postgres.execute(
        "CREATE SCHEMA app",
        *(
            f"ALTER TABLE {table} SET SCHEMA app"
            for table in ("webcams", "webcam_snapshots", "webcam_snapshot_ratings")
        ),
    )
    said = refusal(postgres.url)
    assert "but schema app has one" in said
    advised = "options=-csearch_path%3Dapp"
    assert advised in said
    database = LabelDatabase(f"{postgres.url}&{advised}")
    assert read_labels(database, LabelQuery()).frame.height == 48
