"""The connection to the label database: which one, opened for what, errors explained.

What is read from it belongs in `_read`, and the one table that is written in `_inferences`. No
message shows a password: it is removed from what the driver reports, whose exception is not shown.
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

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SAWarning

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels._driver import (
    CANNOT_OPEN,
    DRIVER_ERRORS,
    ENVIRONMENT_VARIABLE,
    READ_ONLY,
    ROW_SECURITY,
    connection_advice,
    driver_said,
    is_about_the_connection,
    is_written_ahead,
    read_advice,
    sqlite_file_advice,
    write_advice,
)
from webcam_ml.printable import printable

POSTGRESQL_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+psycopg2"})
SQLITE_SCHEMES = frozenset({"sqlite", "sqlite+pysqlite"})

EXAMPLES = (
    "postgresql://user:password@host:5432/database for PostgreSQL, sqlite:///folder/file.db for "
    "SQLite (four slashes for an absolute path)"
)

# A server that does not answer within seconds counts as absent; one that stops answering in the
# middle of a read is noticed after about a minute instead of never. A URL's own settings win.
POSTGRESQL_CONNECTION: Mapping[str, str | int] = {
    "application_name": "webcam-ml",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
# Server, database or role may have another zone, in which CURRENT_TIMESTAMP would be stored where a column
# has no zone, and times with one be shown. In the transaction, for poolers pass on no options.
TIMES_IN_UTC = "SET LOCAL TIME ZONE 'UTC'"
# How long a reader waits for a writer to finish its commit, in seconds.
SQLITE_LOCK_TIMEOUT = 30.0

# The table that only a demo database has.
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

        PostgreSQL: REPEATABLE READ, READ ONLY, times in UTC, and an error where row-level security would
        hide rows from the user of the URL. SQLite: an explicit BEGIN on a file opened with `mode=ro`,
        which creates nothing.

        Raises:
            LabelDatabaseError: The database cannot be reached or opened, the login is refused, or
                the connection breaks or a statement fails inside the block.
        """
        connection = self._connect("ro")
        try:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql(TIMES_IN_UTC)
                # Rows that a policy hides would be missing without notice: PostgreSQL is to refuse.
                connection.exec_driver_sql("SET LOCAL row_security = off")
            yield connection
        except UnicodeDecodeError as error:
            connection.invalidate()
            raise LabelDatabaseError(self._explain_undecodable(error)) from None
        except DRIVER_ERRORS as error:
            role = self._role(connection) if ROW_SECURITY in str(error) else ""
            # After a failure there is nothing to roll back, and often no server to send it to.
            connection.invalidate()
            raise LabelDatabaseError(self._explain_read(error, role=role)) from None
        finally:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, committed when the block ends without an error.

        PostgreSQL: READ COMMITTED, so that an upsert sees what the application wrote meanwhile; times in
        UTC. SQLite: BEGIN IMMEDIATE with foreign keys enforced, as PostgreSQL does; no file is created.

        Raises:
            LabelDatabaseError: As for `reading`, or the database refuses what is written; then
                nothing of it is stored.
        """
        connection = self._connect("rw")
        try:
            if self._is_sqlite:
                connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(TIMES_IN_UTC)
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
                known = self._known(inspector, table)
                missing = [name for name in columns if name not in known]
                if missing:
                    columns_there = inspector.get_columns(table)
                    existing = [printable(column["name"]) for column in columns_there]
                    raise LabelDatabaseError(
                        f"{self}: table {table} has no column {' and no column '.join(missing)}"
                        f"{_suggestion(missing, existing)}. It has: {', '.join(existing)}."
                    )

    def has_columns(self, connection: sa.Connection, table: sa.TableClause) -> bool:
        """Whether a table (or view) with all of these columns exists; an older database lacks some."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)
            inspector = sa.inspect(connection)
            if not inspector.has_table(table.name):
                return False
            return set(table.columns.keys()) <= self._known(inspector, table.name)

    def may_read(self, connection: sa.Connection, table: sa.TableClause) -> bool:
        """Whether the user of the URL may read these columns of a table that exists."""
        if self._is_sqlite:
            return True
        rights = (
            sa.func.has_column_privilege(table.name, column.name, "SELECT") for column in table.c
        )
        return all(connection.execute(sa.select(*rights)).one())

    def _known(self, inspector: sa.Inspector, table: str) -> set[str]:
        names = [str(column["name"]) for column in inspector.get_columns(table)]
        # SQLite ignores the case of a name, PostgreSQL does not.
        return {name.lower() for name in names} if self._is_sqlite else set(names)

    def require_origin(self, origin: Mapping[str, object]) -> None:
        """Check that this is the database that something was made from.

        Snapshot ids mean nothing in another one: they would be taken for other pictures.

        Args:
            origin: Its `description`, as lineage.json records it; may hold more.

        Raises:
            LabelDatabaseError: It is another one.
        """
        here = self.description
        if any(origin.get(fact) != value for fact, value in here.items()):
            was = ", ".join(
                str(origin.get(fact, "unknown")) for fact in here if origin.get(fact) != ""
            )
            raise LabelDatabaseError(
                f"{ENVIRONMENT_VARIABLE} names the {self}, and the labels were read from another one "
                f"({was}): snapshot ids would not mean the same pictures. Nothing was read or written. "
                f"Set {ENVIRONMENT_VARIABLE} as it was for labels_raw, or materialize labels_raw and "
                "what follows again"
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
            # For a writer nothing is set: a database that its owner made read-only stays so.
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
        said = self.said(error)
        if CANNOT_OPEN in said:
            return f"Cannot open {self}: {said}. {sqlite_file_advice(self._sqlite_path)}"
        return f"Cannot open {self}: {said}. {connection_advice(said)}"

    def _explain_read(self, error: Exception, *, role: str = "") -> str:
        said = self.said(error)
        # If a reader cannot make the files beside a WAL file, SQLite reports a read-only database.
        if CANNOT_OPEN in said or (READ_ONLY in said and is_written_ahead(self._sqlite_path)):
            advice = sqlite_file_advice(self._sqlite_path)
        else:
            advice = read_advice(said, lost=is_about_the_connection(error), role=printable(role))
        return f"Reading {self} failed: {said}. Nothing was stored. {advice}"

    def _explain_write(self, error: Exception) -> str:
        said = self.said(error)
        advice = write_advice(said, lost=is_about_the_connection(error))
        return f"Writing to {self} failed, and nothing was written: {said}. {advice}"

    def _explain_undecodable(self, error: UnicodeDecodeError) -> str:
        return (
            f"Reading {self} failed: it holds text that is not UTF-8 ({error.object[:60]!r}). Nothing "
            "was stored. Write the text anew as UTF-8; a server with the encoding SQL_ASCII keeps "
            "whatever it is sent."
        )

    def _role(self, connection: sa.Connection) -> str:
        """The role that reads, after a statement was refused: a login may act as another role."""
        try:
            connection.rollback()
            return str(connection.scalar(sa.select(sa.func.current_user())))
        except DRIVER_ERRORS:
            return self._url.username or "of the URL"

    def _explain_missing_table(self, inspector: sa.Inspector, table: str) -> str:
        names = [*inspector.get_table_names(), *inspector.get_view_names()]
        there = sorted(printable(name) for name in names)
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
                f"with ?options=-csearch_path%3D{elsewhere[0]} at the end of {ENVIRONMENT_VARIABLE} or, "
                f"where a pooler refuses options, ALTER ROLE … SET search_path = {elsewhere[0]}, public"
            )
        return (
            f"{self} has no table {table}{hint}. {listed} "
            f"Does {ENVIRONMENT_VARIABLE} name the application's database?"
        )

    def said(self, error: Exception) -> str:
        """What the driver said, without statement, parameters or password, fit to be shown."""
        text = driver_said(error)
        secrets = {self._url.password, self._option("password"), self._option("sslpassword")}
        # The longest first, in case one is part of another.
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret)):
                text = text.replace(spelling, "***")
        return printable(text)


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
        # Split at the wrong @, the rest of a password would be taken for a host or a database.
        if text.count("@") > 1 or "@" in f"{url.host}{url.database}":
            raise _bad_url("has an @ or a / in user name or password; write them as %40 and %2F")
        return url.set(drivername="postgresql+psycopg2")
    raise _bad_url(
        f"is for {url.drivername}, but labels are read from PostgreSQL (through psycopg2) or SQLite"
    )


def _bad_url(problem: str) -> LabelDatabaseError:
    return LabelDatabaseError(f"The database URL {problem}. Write {EXAMPLES}.")


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
    """Name the existing names that are like the missing ones, ignoring case and underscores."""
    plain = {name.lower().replace("_", ""): name for name in existing}
    near = [
        plain[match[0]]
        for name in missing
        if (match := difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1))
    ]
    return f" (near: {', '.join(near)})" if near else ""
