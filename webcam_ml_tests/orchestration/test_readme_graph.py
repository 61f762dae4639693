"""The graph that the README draws is the graph that runs."""

import itertools
import re

from webcam_ml.orchestration.assets import ASSETS
from webcam_ml_tests.integration.project import REPOSITORY


def drawn() -> set[tuple[str, str]]:
    (graph,) = re.findall(
        r"^```mermaid\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S
    )
    edges = set()
    for line in graph.splitlines()[1:]:
        steps = [
            re.findall(r"\w+", step.replace("[(label database)]", "")) for step in line.split("-->")
        ]
        for froms, tos in itertools.pairwise(steps):
            edges |= {(upstream, asset) for upstream in froms for asset in tos}
    return edges


def test_the_readme_draws_every_edge_of_the_graph_and_no_other() -> None:
    wired = {
        (upstream.to_user_string(), asset.to_user_string())
        for definition in ASSETS
        for asset, inputs in definition.asset_deps.items()
        for upstream in inputs
    }
    assert drawn() == wired | {("db", "labels_raw")}
