"""Fixtures and settings that every test module may use."""

from hypothesis import settings

from webcam_ml_tests.postgres import postgres_server, postgres_url

# pytest finds a fixture by its name in a conftest.
__all__ = ["postgres_server", "postgres_url"]

# A property that holds, holds on a busy machine too: no example has a time limit.
settings.register_profile("webcam-ml", deadline=None)
settings.load_profile("webcam-ml")
