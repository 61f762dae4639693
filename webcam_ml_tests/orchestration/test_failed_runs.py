"""A run that fails is told once, by itself or by the sensor, with the sentence and without secrets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
import sqlalchemy as sa
from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    asset,
    build_sensor_context,
    materialize,
)
from dagster._core.errors import DagsterExecutionInterruptedError

from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.assets import labels_raw
from webcam_ml.orchestration.build import build_definitions
from webcam_ml.orchestration.failures import failing_with_a_sentence
from webcam_ml_tests.label_schema import create_schema
from webcam_ml_tests.notify.webhook import TOKEN, Webhook, webhook

__all__ = ["webhook"]

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

JOB = "data_only"


@asset
@failing_with_a_sentence
def full_disk(context: AssetExecutionContext) -> None:
    raise WebcamMLError("the disk of https://anna:tok3n@store.example is full: free some of it")


@asset
def broken() -> None:
    raise ValueError("tok3n could not be read")


@asset
def ended() -> None:
    raise DagsterExecutionInterruptedError


@dataclass
class Server:
    """What the definitions of a project and its instance do; the daemon's part is `tick`."""

    instance: DagsterInstance
    definitions: Definitions
    cursor: str | None = None

    def run(self, *steps: AssetsDefinition) -> DagsterRun:
        result = materialize(
            list(steps),
            resources=self.definitions.resources,
            instance=self.instance,
            raise_on_error=False,
        )
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        return run

    def tick(self) -> None:
        sensor = self.definitions.get_sensor_def("failed_runs_sensor")
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources=self.definitions.resources,
        ) as context:
            self.cursor = sensor.evaluate_tick(context).cursor or self.cursor

    def killed_run(self) -> DagsterRun:
        """Leave a run as the code server does whose child was killed."""
        run = self.instance.create_run_for_job(
            job_def=self.definitions.resolve_job_def(JOB), status=DagsterRunStatus.STARTED
        )
        self.instance.report_run_failed(run, "terminated by signal 9")
        return run


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    url = f"sqlite:///{tmp_path}/labels.db"
    monkeypatch.setenv("DATABASE_URL", url)
    create_schema(sa.create_engine(url, poolclass=sa.NullPool))
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        definitions = build_definitions(artifacts=tmp_path / "artifacts", cache=tmp_path / "cache")
        yield Server(instance, definitions)


def test_a_run_tells_its_step_and_its_sentence(server: Server, webhook: Webhook) -> None:
    run = server.run(labels_raw)
    (text,) = webhook.texts
    assert text.startswith(
        f"webcam-ml: run {run.run_id[:8]} (assets) failed at labels_raw. No labels are left"
    )


def test_no_address_of_a_sentence_and_nothing_of_a_foreign_error_is_told(
    server: Server, webhook: Webhook
) -> None:
    server.run(full_disk)
    server.run(broken)
    assert [text.partition("failed at ")[2] for text in webhook.texts] == [
        "full_disk. the disk of https://store.example is full: free some of it",
        "broken. ValueError: its trace is in the log of the run.",
    ]


def test_a_killed_run_is_told_by_the_sensor_and_by_a_repeated_tick_not_again(
    server: Server, webhook: Webhook
) -> None:
    server.tick()  # takes its place in the history
    run = server.killed_run()
    before = server.cursor
    for _ in range(3):
        server.cursor = before
        server.tick()
    (text,) = webhook.texts
    assert text == (
        f"webcam-ml: run {run.run_id[:8]} (data_only) failed. It was killed, or could not begin: its "
        "log says more."
    )


def test_what_a_person_ends_and_what_goes_well_is_no_news(server: Server, webhook: Webhook) -> None:
    @asset
    def fine() -> "Nothing":
        return Nothing()

    assert server.run(fine).is_success
    assert not server.run(ended).is_success
    assert webhook.texts == []


@dataclass(frozen=True)
class Nothing:
    """An artifact without content."""

    def save(self, folder: Path) -> None:
        (folder / "nothing.txt").touch()

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()


def test_a_host_that_is_down_fails_no_run(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEBCAM_ML_NOTIFY_URL", f"http://127.0.0.1:9/services/{TOKEN}")
    assert server.run(labels_raw).status is DagsterRunStatus.FAILURE
    assert "1 message does not reach the webhook of WEBCAM_ML_NOTIFY_URL" in caplog.text
    assert TOKEN not in caplog.text
