"""End to end on PostgreSQL: what an application in Node does wrong is named on the page's check and by the
webhook; mended, by the package, it is silent."""

import json
from pathlib import Path

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetMaterialization,
    AssetSelection,
    DagsterInstance,
    materialize,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from webcam_ml.live import LiveModel
from webcam_ml.monitoring import FINDINGS
from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.build import build_definitions
from webcam_ml.orchestration.checks import CHECKS
from webcam_ml_tests.integration.node_client import CLIENT, build_client, run
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.monitoring.application import Application
from webcam_ml_tests.notify.webhook import Webhook, webhook

__all__ = ["webhook"]

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

CONFIG = {"pictures": 40, "max_unscored_fraction": 1.0}
# Four of a webcam, of which one is drawn.
ROWS = 160
IN_NODE = Path(__file__).parents[1] / "monitoring" / "application.mjs"


def scores_in_node(how: str, model: Path, pictures: list[str]) -> list[float]:
    """What an application says that resizes as sharp does by itself, or one that uses the package."""
    build_client()
    # The package imports itself by its own name.
    command = ["node", "--input-type=module", "-e", IN_NODE.read_text(), "--", how, str(model)]
    said: list[float] = json.loads(run([*command, *pictures], folder=CLIENT, what="Node failed"))
    return said


def test_a_skew_is_named_on_the_check_and_by_the_webhook_and_mended_it_is_silent(
    live: Live,
    made: dict[str, Made],
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    webhook: Webhook,
) -> None:
    first = made["first"]
    application = Application.of(first, postgres_url, live.store)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    definitions = build_definitions(artifacts=live.store.root, cache=Path(first.world.cache))
    with DagsterInstance.ephemeral() as instance:
        make_production_model_known(live, instance)

        def after(how: str) -> dict[str, AssetCheckEvaluation]:
            """What the checks of an audit say after the application has scored all anew."""
            pictures = application.frame["image_path_or_url"].head(ROWS).to_list()
            model = live.production / "binary" / "model.onnx"
            application.execute("DELETE FROM snapshot_ai_inferences")
            application.record(first.version, scores_in_node(how, model, pictures))
            result = materialize(
                [*ASSETS, *CHECKS],
                selection=AssetSelection.assets("served_scores_audit"),
                resources=definitions.resources,
                instance=instance,
                run_config={"ops": {"served_scores_audit": {"config": CONFIG}}},
            )
            assert result.success
            return {one.check_name: one for one in result.get_asset_check_evaluations()}

        for _ in range(2):
            checks = after("careless")
            assert set(checks) == {f"no_{name}" for name in FINDINGS}
            failed = [name for name, one in checks.items() if not one.passed]
            assert failed == ["no_other_preprocessing"]
            said = str(checks["no_other_preprocessing"].description)
            assert "crop to cover and resize by Lanczos and no normalisation" in said
            assert checks["no_other_preprocessing"].severity.value == "ERROR"
            (text,) = webhook.texts  # once, whatever the number of audits
            assert text == f"webcam-ml: served scores, other_preprocessing: {said}"

        assert all(one.passed for one in after("by the package").values())
        assert len(webhook.texts) == 1


def make_production_model_known(live: Live, instance: DagsterInstance) -> None:
    """Store what is live as production_model does, and let Dagster know of it."""
    found = live.found["first"]
    stored = live.works.put(
        "production_model",
        LiveModel("binary", None, {}),
        onnx_model=found["onnx_model"],
        champion_comparison=live.evidence["first"],
    )
    event = AssetMaterialization("production_model", tags={DATA_VERSION_TAG: stored.data_version})
    instance.report_runless_asset_event(event)
