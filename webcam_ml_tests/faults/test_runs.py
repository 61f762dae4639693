"""Full runs that are killed, doubled or disturbed, and what an undisturbed one leaves in the open."""

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from webcam_ml.live import verify
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.faults.conftest import PASSWORD, Undisturbed, start
from webcam_ml_tests.faults.stored import require_equal, require_nobody_at_work, require_whole
from webcam_ml_tests.integration.project import Project
from webcam_ml_tests.postgres import PostgresServer

pytestmark = pytest.mark.deployed

FEW, MANY = 2, 30


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_after_kills_at_random_moments_a_clean_run_equals_an_undisturbed_one(
    undisturbed: Undisturbed, project: Project, kills: int
) -> None:
    moments = random.Random(kills)
    killed, length = 0, len(undisturbed.log.read_text())
    for number in range(kills):
        if number and moments.random() < 0.3:
            # Back to the cold start, so that early moments meet steps that really write.
            shutil.rmtree(project.artifacts, ignore_errors=True)
            for folder in ("features", "predictions", "images"):
                shutil.rmtree(project.folder / "cache" / folder, ignore_errors=True)
        run = start(project)
        # By the log, not by the clock: how fast the machine is must not matter.
        run.wait_for_bytes(int(length * moments.uniform(0, 0.85)))
        time.sleep(moments.uniform(0, 0.3))
        run.kill()
        killed += run.wait() != 0
        if project.artifacts.exists():
            require_whole(project.artifacts)
            require_nobody_at_work(project.artifacts)
    assert killed > kills * 0.8, "the moments came too late: the runs were over"
    clean = start(project)
    assert clean.wait() == 0, clean.output
    assert "waiting for" not in clean.output
    require_equal(project, undisturbed.project)
    assert verify(ArtifactStore(project.artifacts)) == []
    assert not list(project.artifacts.glob("*/.unfinished-*"))
    assert not list(project.artifacts.glob("*/*.damaged-*"))


def test_no_password_is_left_anywhere(undisturbed: Undisturbed) -> None:
    """Neither in what was printed, nor in lineage.json, nor in Dagster's event log."""
    folder = undisturbed.project.folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"lineage.json", "index.db"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for secret in (PASSWORD, quote(PASSWORD, safe="")):
            assert secret.encode() not in content, path
    # SQLite keeps texts as they are, so that searching its bytes finds them:
    (events,) = folder.rglob("index.db")
    with sqlite3.connect(events) as connection:
        (text,) = connection.execute("SELECT event FROM event_logs LIMIT 1").fetchone()
    assert text.encode()[:40] in b"".join(path.read_bytes() for path in events.parent.iterdir())


@pytest.mark.slow
def test_two_full_runs_at_once_end_as_one(undisturbed: Undisturbed, project: Project) -> None:
    first, second = start(project), start(project)
    assert (first.wait(), second.wait()) == (0, 0), first.output + second.output
    require_equal(project, undisturbed.project)
    assert verify(ArtifactStore(project.artifacts)) == []


DISTURBANCES = {
    "restarted": "",
    "edited": "UPDATE webcam_snapshot_ratings SET rating = 6 - rating",
    "changed": "ALTER TABLE webcam_snapshots RENAME COLUMN calculated_rating TO average",
}


@pytest.mark.slow
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_what_happens_to_the_database_after_the_labels_were_read_changes_nothing(
    undisturbed: Undisturbed,
    project: Project,
    database: tuple[str, str],
    postgres_server: PostgresServer,
    disturbance: str,
) -> None:
    name = database[1].rpartition("@/")[2].partition("?")[0]
    statement = DISTURBANCES[disturbance]
    postgres_server.execute(f"CREATE DATABASE kept TEMPLATE {name}")
    try:
        run = start(project)
        run.wait_for("labels_raw stored")
        if statement:
            postgres_server.execute(statement, database=name)
        else:
            postgres_server.stop()
            postgres_server.start()
        assert run.wait() == 0, run.output
        require_equal(project, undisturbed.project)
    finally:
        postgres_server.execute(
            f"DROP DATABASE {name} WITH (FORCE)",
            f"CREATE DATABASE {name} TEMPLATE kept",
            "DROP DATABASE kept",
        )


@pytest.mark.slow
def test_a_store_that_cannot_be_written_stops_the_run_with_the_setting(
    undisturbed: Undisturbed, project: Project, without_override: Callable[[], str]
) -> None:
    shutil.copytree(undisturbed.project.artifacts, project.artifacts, symlinks=True)
    folders = [project.artifacts, *(p for p in project.artifacts.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        run = start(project, before=without_override())
        assert run.wait() != 0
        assert "WEBCAM_ML_ARTIFACTS" in run.output
        assert "Permission denied" in run.output
    finally:
        for folder in folders:
            folder.chmod(0o755)
    require_equal(project, undisturbed.project)


@pytest.fixture
def without_override() -> Callable[[], str]:
    return lambda: Path(__file__).with_name("capabilities.py").read_text()
