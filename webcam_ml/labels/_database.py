"""The connection to the label database: which one, opened for what, errors explained.

What is read from it belongs in `_read`, and the one table that is written in `_inferences`. Nothing
here says a password: what the driver reports is cleaned of it, and its own exception is not shown.
"""

import difflib
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote, quote_plus

import psycopg2
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SAWarning

from webcam_ml.errors import WebcamMLError

ENVIRONMENT_VARIABLE = "DATABASE_URL"
POSTGRESQL_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg2"})
SQLITE_SCHEMES = frozenset({"sqlite", "sqlite+pysqlite"})

EXAMPLES = (
    "postgresql://user:password@host:5432/database for PostgreSQL, sqlite:///folder/file.db for "
    "SQLite (four slashes for an absolute path)"
)

# A server that does not answer within seconds is not there; one that falls silent in the middle
# of a read is noticed after about a minute instead of never. A URL's own settings win.
POSTGRESQL_CONNECTION: Mapping[str, str | int] = {
    "application_name": "webcam-ml",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# How long a reader waits for a writer to finish its commit, in seconds.
SQLITE_LOCK_TIMEOUT = 30.0

# `_stream` uses the driver's own cursor, so its errors arrive bare as well.
DRIVER_ERRORS = (DBAPIError, psycopg2.Error, sqlite3.Error)


# The table by which a demo is told from real labels.
DEMO_MARK = "webcam_ml_demo"

Mode = Literal["ro", "rw"]


class LabelDatabaseError(WebcamMLError):
    """The label database cannot be found, opened, read or written, or lacks a table or column."""


class LabelDatabase:
    """A label database, named by its URL; opened for reading only unless `writing` is asked for.

    Args:
        url: `postgresql://`, `postgres://` or `postgresql+psycopg2://` for PostgreSQL,
            `sqlite:///path` for SQLite; a relative path starts at the working directory.

    Raises:
        LabelDatabaseError: The URL is malformed or names a database of another kind.
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)

    @classmethod
    def from_env(cls) -> Self:
        """Return the database that the environment variable DATABASE_URL names.

        Raises:
            LabelDatabaseError: It is unset, empty or malformed.
        """
        url = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
        if not url:
            raise LabelDatabaseError(
                f"{ENVIRONMENT_VARIABLE} is not set. It names the label database and has no "
                f"default: export {ENVIRONMENT_VARIABLE}=URL, with a URL like {EXAMPLES}."
            )
        return cls(url)

    @property
    def description(self) -> dict[str, str]:
        """Dialect, host and name, without credentials, for a record of where labels came from.

        The host is empty for SQLite, whose name is the path as the URL gives it.
        """
        if self._is_sqlite:
            return {"dialect": "sqlite", "host": "", "name": str(self._url.database)}
        host = self._url.host or self._option("host") or os.environ.get("PGHOST") or "local socket"
        port = self._url.port or self._option("port")
        name = self._url.database or self._option("dbname") or os.environ.get("PGDATABASE")
        return {
            "dialect": "postgresql",
            "host": f"{host}:{port}" if port else host,
            "name": name or "default",
        }

    def __str__(self) -> str:
        description = self.description
        if self._is_sqlite:
            return f"SQLite database {description['name']}"
        return f'PostgreSQL database "{description["name"]}" on {description["host"]}'

    def __repr__(self) -> str:
        return f"<LabelDatabase: {self}>"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection inside one read-only transaction that sees one state of the data.

        PostgreSQL: REPEATABLE READ, READ ONLY. SQLite: an explicit BEGIN on a file opened with
        `mode=ro`, which creates nothing.

        Raises:
            LabelDatabaseError: The database cannot be reached or opened, the login is refused, or
                the connection breaks or a statement fails inside the block.
        """
        connection = self._connect("ro")
        try:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection
        except DRIVER_ERRORS as error:
            # After a failure there is nothing to roll back, and often nobody to tell.
            connection.invalidate()
            raise LabelDatabaseError(self._explain_read(error)) from None
        finally:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, committed when the block ends without an error.

        PostgreSQL: READ COMMITTED, so that an upsert meets what the application wrote meanwhile.
        SQLite: BEGIN IMMEDIATE with foreign keys enforced, as PostgreSQL does; no file is created.

        Raises:
            LabelDatabaseError: As for `reading`, or the database refuses what is written; then
                nothing of it is there.
        """
        connection = self._connect("rw")
        try:
            if self._is_sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
        except DRIVER_ERRORS as error:
            connection.invalidate()
            raise LabelDatabaseError(self._explain_write(error)) from None
        finally:
            # What was not committed is rolled back.
            connection.close()

    def is_demo(self) -> bool:
        """Whether `webcam-ml demo-data` made this database; read from a mark that it leaves.

        Raises:
            LabelDatabaseError: The database cannot be reached.
        """
        with self.reading() as connection:
            return sa.inspect(connection).has_table(DEMO_MARK)

    def require_columns(
        self, connection: sa.Connection, needed: Mapping[str, Sequence[str]]
    ) -> None:
        """Check that tables (or views) and their columns exist.

        Raises:
            LabelDatabaseError: One is missing; it is named, with what is there instead.
        """
        with warnings.catch_warnings():
            # Other columns may have types that SQLAlchemy does not know, PostGIS's for example.
            warnings.simplefilter("ignore", SAWarning)
            inspector = sa.inspect(connection)
            for table, columns in needed.items():
                if not inspector.has_table(table):
                    raise LabelDatabaseError(self._explain_missing_table(inspector, table))
                existing = [column["name"] for column in inspector.get_columns(table)]
                # SQLite does not mind the case of a name, PostgreSQL does.
                known = {name.lower() for name in existing} if self._is_sqlite else set(existing)
                missing = [name for name in columns if name not in known]
                if missing:
                    raise LabelDatabaseError(
                        f"{self}: table {table} has no column {' and no column '.join(missing)}"
                        f"{_suggestion(missing, existing)}. It has: {', '.join(existing)}."
                    )

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def _sqlite_path(self) -> Path:
        return Path(str(self._url.database)).resolve()

    def _option(self, name: str) -> str:
        """Return a query parameter of the URL; a repeated one (several hosts) joined."""
        value = self._url.query.get(name, "")
        return value if isinstance(value, str) else ",".join(value)

    def _connect(self, mode: Mode) -> sa.Connection:
        engine = self._sqlite_engine(mode) if self._is_sqlite else self._postgresql_engine(mode)
        try:
            return engine.connect()
        except DRIVER_ERRORS as error:
            raise LabelDatabaseError(self._explain_connect(error)) from None

    def _postgresql_engine(self, mode: Mode) -> sa.Engine:
        settings = {
            name: value
            for name, value in POSTGRESQL_CONNECTION.items()
            if name not in self._url.query
        }
        return sa.create_engine(
            self._url,
            connect_args=settings,
            poolclass=sa.NullPool,
            isolation_level="REPEATABLE READ" if mode == "ro" else "READ COMMITTED",
            # A writer does not insist: an owner who made the database read-only meant it.
            execution_options={"postgresql_readonly": True} if mode == "ro" else {},
        )

    def _sqlite_engine(self, mode: Mode) -> sa.Engine:
        path = self._sqlite_path
        if not path.is_file():
            raise LabelDatabaseError(
                f"{self} does not exist: there is no file {path}. Check {ENVIRONMENT_VARIABLE}; a "
                f"relative path starts at the working directory, {Path.cwd()}."
            )
        return sa.create_engine(
            "sqlite://",
            creator=_sqlite_opener(path, mode),
            poolclass=sa.NullPool,
            paramstyle="named",  # like psycopg2's, so that `_stream` can treat both alike
        )

    def _explain_connect(self, error: Exception) -> str:
        said = self._said(error)
        advice = _advice(said, CONNECTION_ADVICE, otherwise=f"Check {ENVIRONMENT_VARIABLE}.")
        return f"Cannot open {self}: {said}. {advice}"

    def _explain_read(self, error: Exception) -> str:
        said = self._said(error)
        advice = _advice(
            said, READ_ADVICE, otherwise="Nothing was stored; run it again when the database is up."
        )
        return f"Reading {self} failed: {said}. {advice}"

    def _explain_write(self, error: Exception) -> str:
        said = self._said(error)
        advice = _advice(said, WRITE_ADVICE, otherwise="Run it again when the database is up.")
        return f"Writing to {self} failed, and nothing was written: {said}. {advice}"

    def _explain_missing_table(self, inspector: sa.Inspector, table: str) -> str:
        there = sorted([*inspector.get_table_names(), *inspector.get_view_names()])
        listed = f"It has: {', '.join(there)}." if there else "It has no tables at all."
        elsewhere: list[str] = []
        if not self._is_sqlite:
            elsewhere = [
                schema
                for schema in inspector.get_schema_names()
                if inspector.has_table(table, schema=schema)
            ]
        hint = _suggestion([table], there)
        if elsewhere:
            hint = (
                f", but schema {elsewhere[0]} has one: put it on the search path, for example "
                f"with ?options=-csearch_path%3D{elsewhere[0]} at the end of {ENVIRONMENT_VARIABLE}"
            )
        return (
            f"{self} has no table {table}{hint}. {listed} "
            f"Does {ENVIRONMENT_VARIABLE} name the application's database?"
        )

    def _said(self, error: Exception) -> str:
        """What the driver said, on one line, without statement, parameters or password."""
        cause: object = error
        if isinstance(error, DBAPIError) and error.orig is not None:
            cause = error.orig
        text = " ".join(str(cause).split()) or type(cause).__name__
        secrets = {self._url.password, self._option("password"), self._option("sslpassword")}
        # The longest first, in case one is part of another.
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret)):
                text = text.replace(spelling, "***")
        return text.rstrip(". ")


# What to do about what PostgreSQL, libpq or SQLite says, by a part of its words.
CONNECTION_ADVICE: Mapping[str, str] = {
    "password authentication failed": (
        f"Check user and password in {ENVIRONMENT_VARIABLE}; characters such as @ : / # in them "
        "must be percent-encoded (@ as %40)."
    ),
    "no password supplied": f"Add the password to {ENVIRONMENT_VARIABLE}: user:password@host.",
    "does not exist": f"Check the names of database and user in {ENVIRONMENT_VARIABLE}.",
    "could not translate host name": f"Check the host in {ENVIRONMENT_VARIABLE}.",
    "Connection refused": (
        f"Is the server running there? Check host and port in {ENVIRONMENT_VARIABLE}."
    ),
    "No such file or directory": (
        f"Is the server running? Check the host in {ENVIRONMENT_VARIABLE}; without one, a local "
        "socket is tried."
    ),
    "timeout expired": (
        f"The host does not answer. Check host and port in {ENVIRONMENT_VARIABLE}, and firewalls."
    ),
    "invalid connection option": f"Check what follows the ? in {ENVIRONMENT_VARIABLE}.",
}
READ_ADVICE: Mapping[str, str] = {
    "statement timeout": (
        "The server gave up on the statement, not webcam-ml: raise statement_timeout for the user of "
        f"the URL (?options=-cstatement_timeout%3D10min at the end of {ENVIRONMENT_VARIABLE}, or ALTER "
        "ROLE), or run it again when the database is less busy."
    ),
    "permission denied": "Grant the user of the URL SELECT on the tables of the labels.",
    "file is not a database": f"Check the path in {ENVIRONMENT_VARIABLE}.",
    "database is locked": "Another program is writing to it; run it again when that is done.",
}
SNAPSHOT_DELETED = (
    "A snapshot was deleted since its label was read: materialize labels_raw and what follows from it "
    "again."
)
WRITE_ADVICE: Mapping[str, str] = {
    "permission denied for sequence": (
        "The table numbers its rows by a sequence of its own: grant the user of the URL USAGE on it."
    ),
    "permission denied": (
        "Grant the user of the URL SELECT, INSERT and UPDATE on snapshot_ai_inferences."
    ),
    "readonly database": "Make the file and its folder writable.",
    "read-only transaction": f"{ENVIRONMENT_VARIABLE} names a read-only copy: name the original.",
    "foreign key": SNAPSHOT_DELETED,
    "FOREIGN KEY": SNAPSHOT_DELETED,
    "ON CONFLICT": (
        "The table needs UNIQUE (snapshot_id, model_version), by which a second recording finds the "
        "first."
    ),
    "database is locked": "Another program is writing to it; run it again when that is done.",
}


def _parse(text: str) -> sa.URL:
    """Return the URL with its driver named; no error quotes any part that may be a password."""
    try:
        url = sa.make_url(text.strip())
    except (ArgumentError, ValueError):
        raise _bad_url("cannot be read as one") from None
    if url.drivername in SQLITE_SCHEMES:
        if url.host or url.username:
            raise _bad_url("has two slashes where the path of an SQLite file needs three")
        if not url.database or url.database == ":memory:":
            raise _bad_url("names no file, and an SQLite database in memory has no labels")
        if url.database.startswith("file:") or url.query:
            raise _bad_url("has SQLite options; the path alone is wanted, it is only read anyway")
        return url.set(drivername="sqlite+pysqlite")
    if url.drivername in POSTGRESQL_SCHEMES:
        # Cut at the wrong @, the rest of a password would pass for a host or a database.
        if text.count("@") > 1 or "@" in f"{url.host}{url.database}":
            raise _bad_url("has an @ or a / in user name or password; write them as %40 and %2F")
        return url.set(drivername="postgresql+psycopg2")
    raise _bad_url(
        f"is for {url.drivername}, but labels are read from PostgreSQL (through psycopg2) or SQLite"
    )


def _bad_url(problem: str) -> LabelDatabaseError:
    return LabelDatabaseError(f"The database URL {problem}. Write {EXAMPLES}.")


def _advice(said: str, known: Mapping[str, str], *, otherwise: str) -> str:
    """Return what to do about the first known symptom in the driver's words."""
    return next((advice for symptom, advice in known.items() if symptom in said), otherwise)


def _sqlite_opener(path: Path, mode: Mode) -> Callable[[], sqlite3.Connection]:
    def open_file() -> sqlite3.Connection:
        # isolation_level None: the module begins no transaction on its own, least of all for a
        # SELECT, so the BEGIN above is the only one.
        return sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=SQLITE_LOCK_TIMEOUT,
        )

    return open_file


def _suggestion(missing: Sequence[str], existing: Sequence[str]) -> str:
    """Return which existing names come near the missing ones, case and underscores apart."""
    plain = {name.lower().replace("_", ""): name for name in existing}
    near = [
        plain[match[0]]
        for name in missing
        if (match := difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1))
    ]
    return f" (near: {', '.join(near)})" if near else ""
