"""End to end on PostgreSQL: an application's skew is named on the page's check and by the webhook."""

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
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.monitoring.application import (
    Application,
    Prepare,
    cropped_and_not_normalised,
    encoded_again,
)
from webcam_ml_tests.notify.webhook import Webhook, webhook

__all__ = ["webhook"]

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

CONFIG = {"pictures": 20, "max_unscored_fraction": 1.0}
ROWS = 100


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

        def after(prepare: Prepare) -> dict[str, AssetCheckEvaluation]:
            """What the checks of an audit say after the application has scored all anew."""
            application.execute("DELETE FROM snapshot_ai_inferences")
            application.score(first.exported, prepare, rows=ROWS)
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
            checks = after(cropped_and_not_normalised)
            assert set(checks) == {f"no_{name}" for name in FINDINGS}
            failed = [name for name, one in checks.items() if not one.passed]
            assert failed == ["no_other_preprocessing"]
            said = str(checks["no_other_preprocessing"].description)
            assert "crop to cover and no normalisation" in said
            assert checks["no_other_preprocessing"].severity.value == "ERROR"
            (text,) = webhook.texts  # once, whatever the number of audits
            assert text == f"webcam-ml: served scores, other_preprocessing: {said}"

        assert all(one.passed for one in after(encoded_again).values())
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
