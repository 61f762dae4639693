"""Jobs: the ways in which people run the graph, each with its description."""

from pathlib import Path
from typing import Any

import yaml
from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT / "configs"


def build_jobs() -> list[UnresolvedAssetJobDefinition]:
    """Make the jobs that the page and the shell offer."""
    return [
        define_asset_job(
            "whole_graph",
            selection=AssetSelection.all(),
            description="Everything, from the ratings in the label database to the report of "
            "where model and people disagree. Uses the defaults unless config is given.",
        ),
        define_asset_job(
            "demo",
            selection=AssetSelection.all(),
            config=read_config("demo.yaml"),
            description="The whole graph with configs/demo.yaml filled in: no ImageNet weights are "
            "needed. Meant for the drawn webcams of `webcam-ml demo-data`.",
        ),
    ]


def read_config(name: str) -> dict[str, Any]:
    """Read one of the run configs that come with the project."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return config
