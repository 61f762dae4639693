from pathlib import Path

import sqlalchemy as sa

from webcam_ml.labels import DEMO_MARK, LabelDatabase
from webcam_ml_tests.label_schema import create_schema
from webcam_ml_tests.postgres import PostgresServer


def mark(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {DEMO_MARK} (seed INTEGER)")
    engine.dispose()


def with_schema(url: str) -> str:
    engine = sa.create_engine(url)
    create_schema(engine)
    engine.dispose()
    return url


def test_only_a_database_with_the_mark_is_a_demo(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path / 'labels.sqlite'}", postgres_url):
        with_schema(url)
        assert not LabelDatabase(url).is_demo()
        mark(url)
        assert LabelDatabase(url).is_demo()


def test_a_role_that_may_only_read_the_three_tables_can_tell(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.login("reader", "pw"), postgres_server.fresh_database() as url:
        with_schema(url)
        mark(url)
        name = sa.make_url(url).database
        assert name is not None
        postgres_server.execute("GRANT SELECT ON webcams TO reader", database=name)
        assert LabelDatabase(postgres_server.url(name, user="reader", password="pw")).is_demo()
