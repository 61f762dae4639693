"""The contract of `orchestration.versions`: what its calls below Dagster's interface must do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import pytest
from dagster import (
    AssetMaterialization,
    AssetsDefinition,
    DagsterInstance,
    ExecuteInProcessResult,
    asset,
    materialize,
)

from webcam_ml.orchestration.io_manager import ArtifactIOManager
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.store import ArtifactStore

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")


@dataclass(frozen=True)
class Note:
    text: str
    before_load: ClassVar[Callable[[], None] | None] = None

    def save(self, folder: Path) -> None:
        (folder / "note.txt").write_text(self.text)

    @classmethod
    def load(cls, folder: Path) -> Self:
        hook, Note.before_load = Note.before_load, None
        if hook is not None:
            hook()
        return cls((folder / "note.txt").read_text())


texts = {"first": "a", "second": "b"}
seen: list[str] = []


@asset
def first() -> Note:
    return Note(texts["first"])


@asset
def second() -> Note:
    return Note(texts["second"])


@asset
def reader(first: Note, second: Note) -> Note:
    seen.append(first.text + second.text)
    return Note(first.text + second.text)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    (tmp_path / "labels.sqlite").touch()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'labels.sqlite'}")
    texts.update(first="a", second="b")
    seen.clear()
    return DagsterInstance.ephemeral()


def run(tmp_path: Path, instance: DagsterInstance, *selected: AssetsDefinition) -> bool:
    return launch(tmp_path, instance, *selected).success


def launch(
    tmp_path: Path, instance: DagsterInstance, *selected: AssetsDefinition
) -> ExecuteInProcessResult:
    workspace = Workspace(artifacts=str(tmp_path / "artifacts"), cache=str(tmp_path / "cache"))
    database = LabelDatabaseResource()
    manager = ArtifactIOManager(
        workspace=workspace, label_database=database, asset_names=["first", "second", "reader"]
    )
    return materialize(
        [first, second, reader],
        selection=list(selected),
        resources={"io_manager": manager},
        instance=instance,
        raise_on_error=False,
    )


def test_dagster_records_the_version_that_the_store_gave(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    assert run(tmp_path, instance, first)
    store = ArtifactStore(tmp_path / "artifacts")
    event = instance.get_latest_materialization_event(first.key)
    assert event is not None
    assert event.asset_materialization is not None
    tags = event.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == store.latest("first").data_version


def test_a_run_that_lands_in_the_middle_of_a_step_does_not_swap_its_input(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    assert run(tmp_path, instance, first, second)
    store = ArtifactStore(tmp_path / "artifacts")
    pinned = store.latest("second").data_version

    def another_run_lands() -> None:
        texts["second"] = "swapped"
        assert run(tmp_path, instance, second)

    Note.before_load = another_run_lands
    assert run(tmp_path, instance, reader)
    assert seen == ["ab"]
    assert store.latest("second").data_version != pinned
    assert store.latest("reader").lineage.inputs["second"] == pinned


def test_the_recorded_version_is_read_even_if_latest_json_points_elsewhere(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    assert run(tmp_path, instance, first, second)
    elsewhere = DagsterInstance.ephemeral()
    texts["second"] = "of another instance"
    assert run(tmp_path, elsewhere, second)
    assert run(tmp_path, instance, reader)
    assert seen == ["ab"]


def test_an_input_that_this_instance_never_made_is_refused(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    assert run(tmp_path, instance, first, second)
    assert not run(tmp_path, DagsterInstance.ephemeral(), reader)
    assert seen == []


@pytest.mark.parametrize("tags", [{"dagster/data_version": "0000"}, {}], ids=["0000", "none"])
def test_an_event_that_was_reported_is_named_where_a_run_stops_at_it(
    tmp_path: Path, instance: DagsterInstance, tags: dict[str, str]
) -> None:
    assert run(tmp_path, instance, first, second)
    instance.report_runless_asset_event(AssetMaterialization("second", tags=tags))
    (failed,) = launch(tmp_path, instance, reader).get_step_failure_events()
    message = str(failed.step_failure_data.error)
    version = tags.get("dagster/data_version", "None")
    assert f"materialization of second (data version {version}) is a reported event" in message
    assert "Materialize second again" in message
    # As the message says: nothing in the store was touched, and a run puts things right.
    assert run(tmp_path, instance, second)
    assert run(tmp_path, instance, reader)
    assert seen == ["ab"]


def test_an_event_that_was_reported_of_a_stored_version_is_read(
    tmp_path: Path, instance: DagsterInstance
) -> None:
    """As after a restored back-up, of which the history knows nothing."""
    assert run(tmp_path, instance, first, second)
    stored = ArtifactStore(tmp_path / "artifacts").latest("second")
    another = DagsterInstance.ephemeral()
    assert run(tmp_path, another, first)
    another.report_runless_asset_event(
        AssetMaterialization("second", tags={"dagster/data_version": stored.data_version})
    )
    assert run(tmp_path, another, reader)
    assert seen == ["ab"]
