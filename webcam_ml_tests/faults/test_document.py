"""docs/reliability.md names tests that exist."""

import re

from webcam_ml_tests.integration.project import REPOSITORY

TESTS = REPOSITORY / "webcam_ml_tests"


def test_every_test_of_the_table_exists() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    named = re.findall(r"`([a-z_]+/test_[a-z_]+\.py)(?:::(test_\w+))?", text)
    assert len(named) > 30
    for path, test in named:
        assert not test or f"def {test}(" in (TESTS / path).read_text(), f"{path}::{test}"


def test_every_test_of_this_suite_is_in_the_table() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    rows = ("test_runs", "test_database", "test_clock", "test_pictures", "test_page")
    for module in rows:
        source = (TESTS / "faults" / f"{module}.py").read_text()
        for test in re.findall(r"^def (test_\w+)\(", source, re.M):
            assert test in text, test
