"""Databases as people have them, through the command that people type."""

import json
import re
from pathlib import Path

import pytest

from webcam_ml_tests.integration.project import Project, altered_copy, make_small_demo

SELECTED = "labels_raw,manifest_full,image_index"
CHECK_RESULT = """
from dagster import AssetCheckKey, AssetKey, DagsterInstance
history = DagsterInstance.get().event_log_storage.get_asset_check_execution_history
(record,) = history(AssetCheckKey(AssetKey("image_index"), "{check}"), limit=1)
evaluation = record.event.dagster_event.asset_check_evaluation_data
print(evaluation.passed, evaluation.severity.value, evaluation.description)
"""
ONE_ADDRESS = (
    "UPDATE webcam_snapshots SET firebase_url = (SELECT min(o.firebase_url) FROM webcam_snapshots o"
    " WHERE o.webcam_id = webcam_snapshots.webcam_id)"
)
PLACEHOLDERS = (
    "UPDATE webcam_snapshots SET firebase_url = (SELECT firebase_url FROM webcam_snapshots ORDER BY id"
    " LIMIT 1) WHERE id % 4 = 0"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_small_demo(tmp_path_factory.mktemp("demo"))


def test_one_address_for_all_snapshots_of_a_webcam_is_a_warning(data: str, tmp_path: Path) -> None:
    project = Project(tmp_path, altered_copy(data, tmp_path / "labels.sqlite", ONE_ADDRESS))
    # The demo has a dead picture, which may become that of a whole webcam.
    project.succeed(SELECTED, {"ops": {"image_index": {"config": {"max_failed_fraction": 0.2}}}})
    said = project.python(CHECK_RESULT.format(check="one_file_for_one_snapshot"))
    assert said.startswith("False WARN ")
    assert "of these files have different labels" in said
    assert "the address of a camera's current picture" in said


def test_placeholders_are_said_in_the_sentence_of_the_check(data: str, tmp_path: Path) -> None:
    project = Project(tmp_path, altered_copy(data, tmp_path / "labels.sqlite", PLACEHOLDERS))
    project.succeed(SELECTED)
    said = project.python(CHECK_RESULT.format(check="no_near_duplicates_across_splits"))
    match = re.search(r" (\d+) snapshots show one of (\d+) placeholders", said)
    assert match is not None
    # 40 snapshots and the one whose picture it is; the demo has a card of its own as well.
    assert 41 <= int(match[1]) <= 45
    assert "they are left out; keep_placeholders: true" in said
    meta = json.loads((project.latest("image_index") / "image_index_meta.json").read_text())
    assert meta["counts"]["left_out"] == int(match[1])
    assert meta["counts"]["failed"] <= 1
    said = project.python(CHECK_RESULT.format(check="one_file_for_one_snapshot"))
    assert said.startswith("True WARN ")


def stored_bytes(project: Project) -> bytes:
    return b"".join(path.read_bytes() for path in project.folder.rglob("*") if path.is_file())


def test_values_of_the_environment_are_neither_printed_nor_stored(
    data: str, tmp_path: Path
) -> None:
    project = Project(
        tmp_path, data, {"SECRET_URL": "postgresql://ada:s3cret@db/x", "SEED": "20260212"}
    )

    def config(variable: str) -> dict[str, object]:
        return {"ops": {"manifest_full": {"config": {"seed": {"env": variable}}}}}

    said = project.fail(SELECTED, config("SECRET_URL"))
    assert "SECRET_URL" in said
    assert "s3cret" not in said
    folder = {"resources": {"workspace": {"config": {"artifacts": {"env": "SECRET_URL"}}}}}
    said = project.fail(SELECTED, folder)
    assert "WEBCAM_ML_ARTIFACTS" in said
    assert "s3cret" not in said
    assert not [path for path in tmp_path.rglob("*") if "s3cret" in path.name]
    project.succeed("labels_raw,manifest_full", config("SEED"))
    lineage = json.loads((project.latest("manifest_full") / "lineage.json").read_text())
    assert lineage["config"]["seed"] == {"env": "SEED"}
    assert b"s3cret" not in stored_bytes(project)
