"""What a run writes of itself costs little while its SQLite files are held open.

Dagster opens and closes a connection for each of a run's hundreds of events. Whoever is the last to
close a database in WAL mode copies its log into it and removes the log, which waits for the disk four
times more than the event does. While another connection is open nobody is the last. An event is as
safe as before: it is on the disk when it is stored.

The page notices what a run has done by a change of the database's file, which the log keeps from
changing; so the file is touched. The paths are Dagster's internals; a contract test checks them.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from dagster import DagsterInstance

SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def event_log_held_open(instance: DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the files of a run's events open, if the instance keeps them in SQLite.

    Args:
        instance: Of the run.
        run_id: A run that has events already.
    """
    # Loading the definitions does without SQLAlchemy; an instance with such files has it loaded.
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
        INDEX_SHARD_NAME,
        SqliteEventLogStorage,
    )

    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    of_run, index = (Path(storage.path_for_shard(name)) for name in (run_id, INDEX_SHARD_NAME))
    with ExitStack() as held:
        for file in (of_run, index):
            connection = held.enter_context(closing(sqlite3.connect(file)))
            # The files are opened by the first question.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        held.enter_context(_touched(of_run))
        yield


@contextmanager
def _touched(file: Path) -> Iterator[None]:
    """Touch a database whenever its log has grown."""
    log, over = file.with_name(f"{file.name}-wal"), Event()

    def look() -> None:
        seen = 0
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            # A run may be wiped from the history while it runs.
            with suppress(FileNotFoundError):
                written = log.stat().st_mtime_ns
                if written != seen:
                    os.utime(file)
                    seen = written

    thread = Thread(target=look, name="event_log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
