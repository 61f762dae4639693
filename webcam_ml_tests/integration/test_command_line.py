"""The graph as a user runs it: the real dagster command line.

A run that ends well, one that is refused and one that fails are processes of their own; those that
differ from them by the graph alone are forked (`webcam_ml_tests/forking.py`).
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import sqlalchemy as sa

import webcam_ml
from webcam_ml.dataset import SplitConfig
from webcam_ml.export import ExportedModel, differences_from_torch, parity_pictures
from webcam_ml.labels import LabelDatabase, read_inferences, record_inferences
from webcam_ml.training import Checkpoint
from webcam_ml_tests.integration.project import (
    DAGSTER,
    REPOSITORY,
    SMALL,
    WEBCAM_ML,
    Project,
    altered_copy,
    copy_database,
    make_small_demo,
)
from webcam_ml_tests.label_schema import create_schema

# All but the release: a small test split can carry no verdict, and the gates say so.
REPORTED = "*disagreement_report,rating_queue"
MANIFESTS = "labels_raw,manifest_full,manifest_train,manifest_val,manifest_test"
CONTRACT_FILES = {
    "manifest_full": ["manifest_full.csv", "export_meta.json"],
    "manifest_train": ["manifest_train.csv"],
    "manifest_val": ["manifest_val.csv"],
    "manifest_test": ["manifest_test.csv"],
    "checkpoint": ["best.pt", "train_summary.json", "predictions.csv"],
    "eval_report": ["eval_report.json"],
    "onnx_model": ["model.onnx", "model.meta.json"],
    "disagreement_report": ["disagreement_report.json"],
    "rating_queue": ["rating_queue.csv", "rating_queue.json"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_small_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: str) -> Project:
    """A project in which the whole graph was materialized once."""
    project = Project(tmp_path_factory.mktemp("project"), data)
    ran = project.run(*project.materialize_command(REPORTED, SMALL))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the finished project that a test may ruin."""
    copy = tmp_path / "copy"
    for name in ("home", "artifacts"):
        shutil.copytree(finished.folder / name, copy / name, symlinks=True)
    (copy / "cache").symlink_to(finished.folder / "cache")
    return Project(copy, finished.database_url)


def test_the_whole_graph_leaves_the_files_of_the_contract(finished: Project) -> None:
    for asset, names in CONTRACT_FILES.items():
        folder = finished.latest(asset)
        for name in [*names, "lineage.json"]:
            assert (folder / name).stat().st_size > 0, f"{asset}/{name}"
        pointer = json.loads((folder.parent / "latest.json").read_text())
        assert set(pointer) == {"version", "data_version", "created_at"}


def test_a_notebook_reads_every_table_and_document_that_the_graph_stored(
    finished: Project,
) -> None:
    store = webcam_ml.open_store(finished.artifacts, cache=finished.folder / "cache")
    for pointer in finished.artifacts.glob("*/latest.json"):
        asset = pointer.parent.name
        files = json.loads((finished.latest(asset) / "lineage.json").read_text())["files"]
        for name, ending in (file.rsplit(".", 1) for file in files):
            if ending == "csv":
                rows = pl.read_csv(finished.latest(asset) / f"{name}.csv", infer_schema=False)
                assert len(store.table(asset, name)) == rows.height, f"{asset}/{name}"
            elif ending == "json":
                assert store.document(asset, name) is not None
    assert store.picture(1).dtype == np.uint8


def test_lineage_names_everything_that_a_model_was_made_from(finished: Project) -> None:
    lineage = json.loads((finished.latest("onnx_model") / "lineage.json").read_text())
    assert {"labels_raw", "manifest_full", "image_index", "checkpoint"} <= set(lineage["ancestors"])
    for asset, version in lineage["ancestors"].items():
        stored = json.loads((finished.latest(asset) / "lineage.json").read_text())
        assert stored["data_version"] == version
    assert lineage["inputs"].keys() == {
        "checkpoint",
        "eval_report",
        "image_index",
        "manifest_train",
    }
    assert lineage["config"] == {}
    assert lineage["database"]["dialect"] == "sqlite"
    assert lineage["code_version"]["package"]
    assert set(lineage["files"]["model.onnx"]) == {"sha256", "size"}


def test_a_misspelt_asset_gets_a_sentence_with_the_nearest_name(finished: Project) -> None:
    ran = finished.run(*finished.materialize_command("labls_raw"))
    assert (ran.returncode, ran.stdout) == (1, "")
    said = ran.stderr
    assert "Traceback" not in said
    assert said.startswith("nothing was run: ")
    assert "did you mean" in said
    assert '"labels_raw"' in said
    assert len(said.splitlines()) < 8


def test_running_again_makes_no_new_version_and_says_so(finished: Project) -> None:
    before = finished.versions()
    output = finished.succeed(REPORTED, SMALL)
    assert finished.versions() == before
    for asset in CONTRACT_FILES:
        assert f"{asset} unchanged" in output
    assert "features: 0 pictures computed" in output


def test_equal_data_in_another_folder_give_equal_versions(
    finished: Project, tmp_path: Path
) -> None:
    elsewhere = Project(tmp_path, finished.database_url)
    elsewhere.succeed(REPORTED, SMALL)
    for asset in CONTRACT_FILES:
        ours = json.loads((finished.latest(asset) / "lineage.json").read_text())
        theirs = json.loads((elsewhere.latest(asset) / "lineage.json").read_text())
        assert ours["data_version"] == theirs["data_version"], asset
        assert ours["files"] == theirs["files"], asset


def test_the_model_runs_in_plain_onnxruntime_on_pictures_of_any_size(finished: Project) -> None:
    session = onnxruntime.InferenceSession(str(finished.latest("onnx_model") / "model.onnx"))
    random = np.random.default_rng(0)
    for shape in ((1, 1, 1, 3), (3, 77, 41, 3), (1, 600, 1200, 3)):
        picture = random.integers(0, 256, shape, dtype=np.uint8)
        raw_score, ai_rating = session.run(["raw_score", "ai_rating"], {"image": picture})
        assert raw_score.shape == (shape[0],)
        assert ((raw_score >= 0) & (raw_score <= 1)).all()
        np.testing.assert_allclose(ai_rating, 1 + 4 * raw_score, rtol=1e-6)


def test_the_model_agrees_with_torch_on_photographs(finished: Project) -> None:
    exported = ExportedModel.load(finished.latest("onnx_model"))
    checkpoint = Checkpoint.load(finished.latest("checkpoint"))
    differences = differences_from_torch(exported.model, checkpoint.model, parity_pictures())
    assert max(differences.values()) <= 1e-4


@pytest.mark.parametrize("select", ["manifest_test", "+checkpoint"])
def test_parts_of_the_graph_can_be_selected(project: Project, select: str) -> None:
    before = project.versions()
    project.succeed(select, SMALL)
    assert project.versions() == before


def test_manifests_of_another_target_type_and_eval_report_alone_are_refused(
    project: Project,
) -> None:
    regression = {"ops": {"manifest_full": {"config": {"target_type": "regression"}}}}
    project.succeed("manifest_full,manifest_train,manifest_val,manifest_test", regression)
    before = project.versions()
    output = project.fail("eval_report")
    assert "its inputs checkpoint and " in output
    assert "different versions of manifest_full" in output
    assert "--select 'checkpoint,image_index'" in output
    assert project.versions() == before
    # What the message says is what helps.
    project.succeed("checkpoint,image_index,eval_report", SMALL)
    report = json.loads((project.latest("eval_report") / "eval_report.json").read_text())
    assert report["target_type"] == "regression"


def test_recorded_scores_are_audited_and_the_candidates_own_written_over_them(
    project: Project,
) -> None:
    database = LabelDatabase(str(project.database_url))
    version = json.loads((project.latest("onnx_model") / "model.meta.json").read_text())[
        "model_version"
    ]
    candidate = json.loads(
        (project.latest("disagreement_report") / "disagreement_report.json").read_text()
    )
    manifest = pl.read_csv(project.latest("manifest_full") / "manifest_full.csv")
    poisoned = manifest.select("snapshot_id", raw_score=pl.lit(0.5), ai_rating=pl.lit(3.0))
    record_inferences(database, poisoned, model_version=version)
    config = {"predictions": "database", "model_version": version, "record_inferences": True}
    project.succeed("disagreement_report", {"ops": {"disagreement_report": {"config": config}}})
    audit = json.loads(
        (project.latest("disagreement_report") / "disagreement_report.json").read_text()
    )
    trained_on = candidate["counts"]["prediction_kinds"]["out_of_fold"]
    assert audit["counts"]["left_out"] == {"version_was_trained_on_it": trained_on}
    assert audit["counts"]["compared"] == manifest.height - trained_on
    assert {row["raw_score"] for row in audit["worst"]} == {0.5}
    own = {row["snapshot_id"]: row for row in candidate["worst"] if row["split"] != "train"}
    recorded = read_inferences(database, version).filter(pl.col("snapshot_id").is_in(list(own)))
    assert recorded.height == len(own) > 0
    for snapshot_id, raw_score, ai_rating in recorded.iter_rows():
        assert raw_score == pytest.approx(own[snapshot_id]["raw_score"], abs=1e-6)
        assert ai_rating == pytest.approx(own[snapshot_id]["ai_rating"], abs=0.011)


def test_config_of_an_unselected_asset_has_no_effect_and_says_so(project: Project) -> None:
    regression = {"ops": {"manifest_full": {"config": {"target_type": "regression"}}}}
    before = project.versions()
    output = project.succeed("manifest_test", regression)
    assert "config is given for manifest_full, which is not selected" in output
    assert project.versions() == before


def test_a_stored_file_changed_by_hand_is_noticed_and_healed(project: Project) -> None:
    path = project.latest("manifest_full") / "manifest_full.csv"
    path.write_text(path.read_text().replace("sunset", "sunrise"))
    output = project.fail("manifest_test")
    assert "manifest_full.csv is not what was stored" in output
    assert "Materialize manifest_full again" in output
    project.succeed("manifest_full,manifest_test")


def test_a_run_killed_in_its_middle_leaves_nothing_half_written(
    project: Project, tmp_path: Path
) -> None:
    before = project.versions()
    other = {
        "ops": {**SMALL["ops"], "labels_raw": {"config": {"label_source": "public_aggregate"}}}
    }
    run = project.fork(*project.materialize_command(REPORTED, other))
    run.wait_until(lambda: project.versions()["manifest_full"] != before["manifest_full"])
    run.kill()
    assert run.wait() == -signal.SIGKILL, run.output
    project.succeed(REPORTED, other)
    for asset, versions in project.versions().items():
        assert set(before[asset]) <= set(versions)
        assert not list((project.artifacts / asset).glob(".unfinished-*"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "DATABASE_URL"),
        ("sqlite:////nowhere/labels.sqlite", "/nowhere/labels.sqlite"),
        ("mysql://someone:secret@host/db", "mysql"),
        ("postgresql://someone:secret@127.0.0.1:1/db", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_read_is_a_clear_error_without_password(
    project: Project, url: str | None, message: str
) -> None:
    before = project.versions()
    project.database_url = url
    output = project.fail("labels_raw")
    # The reason comes last, below the traces that Dagster logs.
    assert message in output.rpartition("Materialization failed.")[2]
    assert "secret" not in output
    assert project.versions() == before


def test_a_misspelt_asset_in_the_config_is_refused_before_anything_runs(project: Project) -> None:
    output = project.fail("labels_raw", {"ops": {"manifest_ful": {"config": {}}}})
    assert "did you mean manifest_full?" in output.splitlines()[-1]
    assert "there is no asset of that name; did you mean manifest_full?" in output
    assert "labels_raw unchanged" not in output


def test_a_misspelt_field_is_refused_in_few_lines_with_all_faults(project: Project) -> None:
    fields = {"min_ratings": 2, "min_rating_count": 0}
    output = project.fail("labels_raw", {"ops": {"labels_raw": {"config": fields}}})
    said = output[output.index("nothing was run") :].splitlines()
    assert len(said) == 3
    assert "min_rating_count is 0; it must be a whole number of at least 1" in said[1]
    assert "there is no field min_ratings; did you mean min_rating_count?" in said[2]
    assert "Traceback" not in output


def test_labels_of_one_class_stop_the_run_before_anything_is_stored(
    project: Project, tmp_path: Path
) -> None:
    before = project.versions()
    project.database_url = altered_copy(
        str(project.database_url),
        tmp_path / "dull.sqlite",
        "UPDATE webcam_snapshots SET calculated_rating = 2 WHERE calculated_rating IS NOT NULL",
    )
    ran = project.run(*project.materialize_command("labels_raw,manifest_full"))
    output = ran.stdout + ran.stderr
    assert ran.returncode == 1, output
    assert "binary_threshold 4 leaves 0 of " in output
    assert "All of them are labelled 2 stars" in output
    assert project.versions()["manifest_full"] == before["manifest_full"]


def test_a_split_without_rows_stops_the_run_and_names_the_percentage(project: Project) -> None:
    before = project.versions()
    webcams = pl.read_csv(project.latest("labels_raw") / "labels.csv")["webcam_id"].unique()
    narrow = {"train_pct": 98, "val_pct": 1, "test_pct": 1}
    seed = next(
        seed
        for seed in range(1000)
        if "val" not in SplitConfig(seed=seed, **narrow).assign(webcams)["split"]
    )
    config = {"ops": {"manifest_full": {"config": {**narrow, "seed": seed}}}}
    output = project.fail("manifest_full", config)
    assert "the val split is empty" in output
    assert "val_pct" in output
    assert project.versions() == before


def test_unreadable_images_stop_the_run_and_say_why(project: Project, tmp_path: Path) -> None:
    project.database_url = altered_copy(
        str(project.database_url),
        tmp_path / "dead.sqlite",
        "UPDATE webcam_snapshots SET firebase_url = '/gone/' || id",
    )
    output = project.fail("labels_raw,manifest_full,image_index")
    assert "not_found" in output
    assert "/gone" in output


def test_manifests_from_postgresql_equal_those_from_sqlite(
    finished: Project, tmp_path: Path, postgres_url: str
) -> None:
    engine = sa.create_engine(postgres_url)
    create_schema(engine)
    engine.dispose()
    copy_database(str(finished.database_url), postgres_url)
    project = Project(tmp_path, postgres_url.replace("postgresql://", "postgres://"))
    project.succeed(MANIFESTS)
    config = SplitConfig()
    for name in ("full", "train", "val", "test"):
        ours = project.latest(f"manifest_{name}") / f"manifest_{name}.csv"
        theirs = finished.latest(f"manifest_{name}") / f"manifest_{name}.csv"
        assert ours.read_bytes() == theirs.read_bytes()
        for webcam, split in pl.read_csv(ours).select("webcam_id", "split").iter_rows():
            assert split == config.split_of(webcam)


# How each config file and --select go together, as docs/configuration.md says.
CONFIG_FILES = {
    "all_judges.yaml": MANIFESTS,
    "auto.yaml": MANIFESTS,
    "demo.yaml": "*checkpoint",
    "finetune.yaml": MANIFESTS,
    "manual_binary.yaml": MANIFESTS,
    "manual_two_raters.yaml": MANIFESTS,
    "public_aggregate.yaml": MANIFESTS,
    "regression.yaml": MANIFESTS,
    "retrain.yaml": MANIFESTS,
}


@pytest.fixture(scope="module")
def well_rated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database in which most snapshots have three raters or more."""
    return make_small_demo(tmp_path_factory.mktemp("rated"), webcams=100, snapshots=300, raters=5)


@pytest.mark.parametrize("name", sorted(CONFIG_FILES))
def test_each_config_file_works_with_its_selection(
    data: str, well_rated: str, tmp_path: Path, name: str
) -> None:
    project = Project(tmp_path, data if name == "demo.yaml" else well_rated)
    project.succeed(CONFIG_FILES[name], REPOSITORY / "configs" / name)
    meta = json.loads((project.latest("manifest_full") / "export_meta.json").read_text())
    expected = {
        "all_judges.yaml": ("all_judges", 1, "binary"),
        "manual_two_raters.yaml": ("manual_only", 2, "binary"),
        "public_aggregate.yaml": ("public_aggregate", 3, "binary"),
        "regression.yaml": ("manual_only", 1, "regression"),
    }.get(name, ("manual_only", 1, "binary"))
    assert (meta["label_source"], meta["min_rating_count"], meta["target_type"]) == expected


def test_no_config_file_is_untested() -> None:
    # test_both_targets.py has the other, which is a job's.
    tested = {*CONFIG_FILES, "both.yaml"}
    assert {path.name for path in (REPOSITORY / "configs").glob("*.yaml")} == tested


def test_too_few_raters_say_which_setting_helps(finished: Project, tmp_path: Path) -> None:
    project = Project(tmp_path, finished.database_url)
    many = {"ops": {"labels_raw": {"config": {"min_rating_count": 9}}}}
    output = project.fail(MANIFESTS, many)
    assert "min_rating_count" in output
    assert "rated snapshots" in output


def test_definitions_are_valid_in_the_workspace_file(finished: Project) -> None:
    result = finished.run(DAGSTER, "definitions", "validate", "-w", "workspace.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_sensor_is_listed_as_off_and_its_preview_says_why_nothing_is_due(
    finished: Project,
) -> None:
    listed = finished.run(DAGSTER, "sensor", "list", "-w", "workspace.yaml")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "label_growth_sensor [STOPPED]" in listed.stdout
    sensor = ("sensor", "preview", "label_growth_sensor", "-w", "workspace.yaml")
    preview = finished.run(DAGSTER, *sensor)
    assert preview.returncode == 0, preview.stdout + preview.stderr
    # Trainings of the tests before this one are of the same labels.
    assert "0 of 50 new labels since " in preview.stdout


@pytest.mark.slow
def test_a_run_from_the_shell_holds_the_sensor_back_until_it_is_killed(
    data: str, tmp_path: Path
) -> None:
    project = Project(tmp_path, data)
    sensor = ("sensor", "preview", "label_growth_sensor", "-w", "workspace.yaml")
    run = project.fork(*project.materialize_command("*checkpoint", SMALL))
    run.wait_until(lambda: bool(list((project.artifacts / ".runs").glob("*.lock"))))
    os.kill(run.pid, signal.SIGSTOP)
    assert "(assets, started) contains checkpoint" in project.run(DAGSTER, *sensor).stdout
    run.kill()
    assert run.wait() == -signal.SIGKILL, run.output
    assert "returning run requests for 1 run(s)" in project.run(DAGSTER, *sensor).stdout


def test_the_summary_says_what_there_is(finished: Project) -> None:
    result = finished.run(WEBCAM_ML, "summary", "--since", "9999999999")
    assert result.returncode == 0, result.stderr
    for text in ("Labels: ", "Pictures: ", "roc_auc", "Disagreement: ", "(unchanged)"):
        assert text in result.stdout
