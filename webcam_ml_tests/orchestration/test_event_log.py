"""The contract of `orchestration.event_log`: cheap to write, read by the page at once, whole at the end."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun

from webcam_ml.orchestration.event_log import event_log_held_open

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def write(instance: DagsterInstance, run: DagsterRun, message: str) -> None:
    instance.report_engine_event(message, run)


def messages(instance: DagsterInstance, run: DagsterRun) -> list[str]:
    return [entry.dagster_event.message for entry in instance.all_logs(run.run_id)]


def test_a_log_stays_beside_the_database_and_is_put_into_it_at_the_end(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    run = _run(instance)
    write(instance, run, "one")
    (file,) = tmp_path.rglob(f"{run.run_id}.db")
    log = file.with_name(f"{file.name}-wal")
    assert not log.exists()
    with event_log_held_open(instance, run.run_id):
        write(instance, run, "two")
        assert log.stat().st_size > 0
        assert messages(instance, run) == ["one", "two"]
    assert not log.exists()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM event_logs").fetchone() == (2,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_who_watches_a_run_sees_its_events_while_the_files_are_held(
    instance: DagsterInstance,
) -> None:
    run = _run(instance)
    write(instance, run, "one")
    seen, arrived = [], threading.Event()

    def see(entry: object, cursor: str) -> None:
        seen.append(entry)
        if len(seen) == 3:
            arrived.set()

    with event_log_held_open(instance, run.run_id):
        instance.watch_event_logs(run.run_id, None, see)
        write(instance, run, "two")
        write(instance, run, "three")
        assert arrived.wait(60)


def test_an_instance_without_files_has_none_to_hold() -> None:
    with DagsterInstance.ephemeral() as instance, event_log_held_open(instance, "any"):
        pass


def _run(instance: DagsterInstance) -> DagsterRun:
    return instance.add_run(DagsterRun(job_name="some_job"))
