"""Candidates that are trained once for this folder, and a graph around them for each test."""

from pathlib import Path

import pytest

from webcam_ml_tests.disagreement.graph import Graph, make_candidates, make_graph
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.world import made_once


@pytest.fixture(scope="session")
def made() -> dict[str, Made]:
    return made_once("compared", make_candidates)


@pytest.fixture
def graph(made: dict[str, Made], tmp_path: Path) -> Graph:
    return make_graph(made, tmp_path)
