"""A full run that nothing disturbed, on PostgreSQL behind a password: what the others must equal."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from webcam_ml_tests.faults.labelled import everything, fill, make_rows
from webcam_ml_tests.forking import Run
from webcam_ml_tests.integration.project import Project
from webcam_ml_tests.label_schema import Rows
from webcam_ml_tests.postgres import PostgresServer
from webcam_ml_tests.world import SHARED_VARIABLE

ROLE, PASSWORD = "reader", "hunter2-%&/:@ö"


@dataclass(frozen=True)
class Undisturbed:
    """The project of that run, which tests only read, and what it printed."""

    project: Project
    log: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="package")
def rows() -> Rows:
    """Labels of pictures in one place, also when several processes share the tests."""
    return make_rows(Path(os.environ[SHARED_VARIABLE]) / "labelled")


@pytest.fixture(scope="package")
def database(rows: Rows, postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """The URL of a role that may only read, with its password, and the owner's."""
    with postgres_server.login(ROLE, PASSWORD), postgres_server.fresh_database() as owner:
        fill(owner, rows)
        name = owner.rpartition("@/")[2].partition("?")[0]
        postgres_server.execute(
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}", database=name
        )
        yield postgres_server.url(name, user=ROLE, password=PASSWORD), owner


@pytest.fixture(scope="package")
def undisturbed(request: pytest.FixtureRequest) -> Undisturbed:
    """Made once, also when several processes share the tests."""
    folder = Path(os.environ[SHARED_VARIABLE]) / "undisturbed"
    log = folder / "log.txt"
    with FileLock(folder.with_suffix(".lock")):
        if log.exists():
            # Its database may belong to another process; nothing asks for it any more.
            return Undisturbed(Project(folder, None), log)
        url, _ = request.getfixturevalue("database")
        project = Project(folder, url)
        run = start(project)
        assert run.wait() == 0, run.output
        log.write_text(run.output)
        return Undisturbed(project, log)


@pytest.fixture
def project(database: tuple[str, str], tmp_path: Path) -> Project:
    """An empty project on the same labels."""
    return Project(tmp_path / "project", database[0])


def start(project: Project, *, before: str = "") -> Run:
    """Start a full run."""
    return project.fork(*everything(project), before=before)
