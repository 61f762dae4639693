"""A label database that is slow, locked, cut short or changed while labels are read."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, Labels, read_labels
from webcam_ml_tests.label_schema import plain_rows
from webcam_ml_tests.labels.conftest import Store, postgres
from webcam_ml_tests.postgres import PostgresServer

# pytest finds a fixture by its name in the module.
__all__ = ["postgres"]

WAITERS = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


class Reading(threading.Thread):
    """Reads labels in the background."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.labels: Labels | None = None
        self.error: LabelDatabaseError | None = None
        self._url = url
        self.start()

    def run(self) -> None:
        try:
            self.labels = read_labels(LabelDatabase(self._url), LabelQuery())
        except LabelDatabaseError as error:
            self.error = error

    def refusal(self) -> str:
        self.join(60)
        assert self.error is not None
        return str(self.error)


@contextmanager
def held_up(store: Store, statement: str) -> Iterator[sa.Connection]:
    """Run a statement whose lock keeps readers waiting until the block is left."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)
        yield connection


def wait_for_waiter(store: Store) -> None:
    deadline = time.monotonic() + 60
    with store.engine.connect() as connection:
        while not connection.execute(WAITERS).scalar_one():
            assert time.monotonic() < deadline
            connection.rollback()
            time.sleep(0.02)


def test_a_slow_database_is_waited_for(postgres: Store) -> None:
    postgres.insert(plain_rows())
    with held_up(postgres, "LOCK TABLE webcam_snapshot_ratings IN ACCESS EXCLUSIVE MODE"):
        reading = Reading(postgres.url)
        wait_for_waiter(postgres)
    reading.join(60)
    assert reading.error is None
    assert reading.labels is not None
    assert reading.labels.frame.equals(read_labels(postgres.database, LabelQuery()).frame)


def test_a_statement_timeout_says_which_setting_and_stores_nothing(postgres: Store) -> None:
    postgres.insert(plain_rows())
    with held_up(postgres, "LOCK TABLE webcam_snapshot_ratings IN ACCESS EXCLUSIVE MODE"):
        said = Reading(f"{postgres.url}&options=-cstatement_timeout%3D300").refusal()
    assert "statement timeout" in said
    assert "statement_timeout" in said


def test_a_column_that_is_renamed_while_labels_are_read_is_named(postgres: Store) -> None:
    """The reader has looked at the columns already, and waits for the table."""
    postgres.insert(plain_rows())
    rename = "ALTER TABLE webcam_snapshots RENAME COLUMN calculated_rating TO average"
    with held_up(postgres, rename):
        reading = Reading(postgres.url)
        wait_for_waiter(postgres)
    assert "calculated_rating" in reading.refusal()


def test_a_server_that_is_restarted_while_labels_are_read_is_an_error_and_then_fine(
    postgres: Store, postgres_server: PostgresServer
) -> None:
    postgres.insert(plain_rows())
    before = read_labels(postgres.database, LabelQuery())
    connection = postgres.engine.connect()
    connection.exec_driver_sql("LOCK TABLE webcam_snapshot_ratings IN ACCESS EXCLUSIVE MODE")
    reading = Reading(postgres.url)
    wait_for_waiter(postgres)
    postgres_server.stop()
    postgres_server.start()
    connection.invalidate()
    connection.close()
    assert "Run it again when the database is up" in reading.refusal()
    assert read_labels(postgres.database, LabelQuery()).frame.equals(before.frame)
