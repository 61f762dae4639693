"""An empty database with the application's schema, once on SQLite and once on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase
from webcam_ml_tests.label_schema import Rows, create_schema, insert_rows
from webcam_ml_tests.postgres import PostgresServer


class Store:
    """A database under test: filled through its owner's engine, read through a LabelDatabase."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.database = LabelDatabase(url)

    def insert(self, rows: Rows) -> None:
        insert_rows(self.engine, rows)

    def execute(self, *statements: str) -> None:
        # Without parameters, or psycopg2 would take a per cent sign for one.
        with self.engine.execution_options(no_parameters=True).begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@pytest.fixture
def sqlite(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/labels.db")
    create_schema(store.engine)
    return store


@pytest.fixture
def postgres(postgres_url: str) -> Store:
    store = Store(postgres_url)
    create_schema(store.engine)
    return store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[Store]:
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path}/labels.db")
        create_schema(store.engine)
        yield store
        return
    with postgres_server.fresh_database() as url:
        store = Store(url)
        create_schema(store.engine)
        yield store
