"""Fixtures and settings that every test module may use."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from webcam_ml_tests.live.fixtures import live, made, prepared
from webcam_ml_tests.postgres import postgres_server, postgres_url
from webcam_ml_tests.seaweed import s3
from webcam_ml_tests.world import SHARED_VARIABLE

# pytest finds a fixture by its name in a conftest.
__all__ = ["live", "made", "postgres_server", "postgres_url", "prepared", "s3"]

# A property that holds, holds on a busy machine too: no example has a time limit.
settings.register_profile("webcam-ml", deadline=None)
settings.load_profile("webcam-ml")


@pytest.fixture(scope="session", autouse=True)
def _shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for the whole run, also when several processes share the work."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    os.environ[SHARED_VARIABLE] = str(folder)
    yield
    del os.environ[SHARED_VARIABLE]
