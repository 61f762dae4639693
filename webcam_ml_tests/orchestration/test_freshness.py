"""What the page calls stale, evaluated as the daemon does, on a real history that grows old."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey, AssetMaterialization, DagsterInstance
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time

from webcam_ml.orchestration.build import build_definitions
from webcam_ml_tests.integration.project import REPOSITORY

# Dagster's own modules use what their libraries deprecate.
pytestmark = pytest.mark.filterwarnings("default")

DAYS = {
    "labels_raw": [(29, "PASS"), (31, "WARN"), (61, "FAIL")],
    "production_model": [(59, "PASS"), (61, "WARN"), (121, "FAIL")],
}


@pytest.mark.parametrize("asset", DAYS)
def test_an_asset_grows_stale_on_the_days_that_the_documents_say(asset: str) -> None:
    node = build_definitions().resolve_asset_graph().get(AssetKey(asset))
    evaluator = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(node.freshness_policy)]()
    with DagsterInstance.ephemeral() as instance:

        def state(days: float) -> FreshnessState:
            with freeze_time(datetime.now(UTC) + timedelta(days=days)):
                context = LoadingContextForTest(instance)
                return asyncio.run(evaluator.evaluate_freshness(context, node))

        assert state(0) is FreshnessState.UNKNOWN
        instance.report_runless_asset_event(AssetMaterialization(asset))
        for days, expected in DAYS[asset]:
            assert state(days).value == expected


@pytest.mark.parametrize("path", ["dagster.yaml", "deploy/postgres/dagster.yaml"])
def test_no_instance_file_turns_it_off(path: str, tmp_path: Path) -> None:
    settings = yaml.safe_load((REPOSITORY / path).read_text())
    assert "freshness" not in settings
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert instance.freshness_enabled
