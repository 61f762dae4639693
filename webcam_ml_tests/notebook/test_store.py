"""What a notebook reads: the store that version 0.1 wrote, which lacks what came later."""

import ast
import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import webcam_ml
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalDocument
from webcam_ml.export import ModelMeta
from webcam_ml.live import LiveModel
from webcam_ml.notebook import DOCUMENTS, TABLES, Store
from webcam_ml.store import ArtifactDamagedError
from webcam_ml_tests.integration.project import REPOSITORY
from webcam_ml_tests.stores.earlier import V0_1, EarlierStore, copy_of

CAME_LATER = {
    ("eval_report", "predictions"),
    ("rating_queue", "rating_queue"),
    ("served_scores_audit", "served_scores_audit"),
}
STORED = [
    (asset, name)
    for asset, tables in TABLES.items()
    for name in tables
    if (asset, name) not in CAME_LATER
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> EarlierStore:
    return copy_of(V0_1, tmp_path_factory.mktemp("notebook") / "project")


@pytest.fixture
def store(project: EarlierStore, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Opened as a notebook in the project folder does."""
    monkeypatch.chdir(project.folder)
    for name in ("WEBCAM_ML_ARTIFACTS", "WEBCAM_ML_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return webcam_ml.open_store()


def cells(path: Path) -> list[dict[str, str]]:
    """The file as the standard library reads it, without the apostrophe before a formula."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: re.sub(r"^'(?=[=+\-@\t\r'])", "", value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize(("asset", "name"), STORED)
def test_a_table_has_the_rows_of_its_file(
    project: EarlierStore, store: Store, asset: str, name: str
) -> None:
    stored = project.latest(asset)

    frame = store.table(asset, name)

    rows = cells(stored.folder / f"{name}.csv")
    assert list(frame.columns) == list(TABLES[asset][name].names)
    assert len(frame) == len(rows)
    for column in frame.columns.intersection(list(rows[0]) if rows else []):
        texts = [row[column] for row in rows]
        assert [value == "" for value in texts] == frame[column].isna().tolist(), column
        for text, value in zip(texts, frame[column], strict=True):
            if pd.isna(value):
                continue
            if isinstance(value, pd.Timestamp):
                assert value == pd.Timestamp(text)
            else:
                assert value == type(value)(text)
    assert frame.attrs["version"] == stored.version
    assert frame.attrs["lineage"]["data_version"] == stored.data_version
    assert frame.attrs["lineage"]["inputs"] == dict(stored.lineage.inputs)


def test_every_csv_and_json_of_every_asset_has_a_name(project: EarlierStore) -> None:
    for stored in project.versions():
        for file in stored.lineage.files:
            stem, _, ending = file.rpartition(".")
            if ending in ("csv", "json"):
                named = TABLES if ending == "csv" else DOCUMENTS
                assert stem in named[stored.asset], f"{stored.asset}/{file}"


def test_times_are_times_and_whole_numbers_stay_whole(store: Store) -> None:
    frame = store.table("manifest_full")

    assert frame["captured_at"].dt.tz is not None
    assert frame["snapshot_id"].dtype == "int64"
    assert frame["target_label"].dtype == "float64"
    assert frame.loc[0, "captured_at"] == pd.Timestamp("2026-02-12T08:00:00Z")


@pytest.mark.parametrize(
    ("asset", "name"),
    [(a, n) for a, names in DOCUMENTS.items() for n in names if (a, n) not in CAME_LATER],
)
def test_every_document_is_read(store: Store, asset: str, name: str) -> None:
    assert store.document(asset, name) is not None


def test_a_document_is_the_value_that_the_graph_works_with(
    project: EarlierStore, store: Store
) -> None:
    report = store.document("eval_report")
    assert isinstance(report, EvalDocument)
    assert isinstance(store.document("onnx_model"), ModelMeta)
    assert isinstance(store.document("production_model"), LiveModel)
    model = store.document("onnx_model").model_version
    expected = project.expected["models"][model]
    metric = report.metrics[expected["primary_metric"]]
    assert {name: getattr(metric, name) for name in expected["value"]} == expected["value"]


def test_versions_are_had_by_name_and_the_newest_is_the_latest(store: Store) -> None:
    versions = store.versions("manifest_full")

    assert len(versions) == 3
    assert store.table("manifest_full").attrs["version"] == versions[0]
    for version in versions:
        assert store.table("manifest_full", version=version).attrs["version"] == version
    targets = [store.document("manifest_full", version=one).target_type for one in versions]
    assert set(targets) == {"binary", "regression"}


def test_a_picture_is_the_one_that_was_fetched(store: Store) -> None:
    picture = store.picture(217)

    with Image.open("pictures/217.jpg") as original:
        expected = np.asarray(original.convert("RGB"))
    assert picture.shape == expected.shape
    assert picture.dtype == np.uint8
    # Decoders of JPEG differ by a level or two.
    assert np.abs(picture.astype(int) - expected).max() <= 4


def test_a_picture_that_is_not_in_the_cache_says_where_caches_are_named(
    project: EarlierStore, tmp_path: Path
) -> None:
    elsewhere = webcam_ml.open_store(project.store.root, cache=tmp_path / "empty")
    with pytest.raises(WebcamMLError, match=r"open_store\(cache=…\) or WEBCAM_ML_CACHE"):
        elsewhere.picture(217)
    assert webcam_ml.open_store(project.store.root).picture(217).size


def test_unknown_names_are_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(WebcamMLError, match="did you mean manifest_full"):
        store.table("manifest_ful")
    with pytest.raises(WebcamMLError, match=r"table of manifest_full details.*snapshot_details"):
        store.table("manifest_full", "details")
    with pytest.raises(WebcamMLError, match="no asset with tables onnx_model"):
        store.table("onnx_model")
    with pytest.raises(WebcamMLError, match="did you mean eval_report"):
        store.document("eval_reprot")
    with pytest.raises(WebcamMLError, match="no version yesterday") as unknown:
        store.table("manifest_full", version="yesterday")
    assert str(unknown.value).endswith(", ".join(store.versions("manifest_full")))
    with pytest.raises(WebcamMLError, match="no snapshot 999999: it has "):
        store.picture(999999)


def test_a_table_that_came_later_says_how_to_have_it(store: Store) -> None:
    for asset, name in CAME_LATER:
        says = f"{name}.csv: an earlier version|has no {asset} yet: materialize it first"
        with pytest.raises(WebcamMLError, match=says):
            store.table(asset, name)


def test_what_is_not_what_was_stored_is_not_shown(tmp_path: Path) -> None:
    project = copy_of(V0_1, tmp_path / "project")
    store = webcam_ml.open_store(project.store.root)
    path = project.latest("manifest_full").folder / "manifest_full.csv"
    path.write_bytes(path.read_bytes().replace(b",4.0,", b",1.0,"))
    with pytest.raises(ArtifactDamagedError):
        store.table("manifest_full")
    with pytest.raises(ArtifactDamagedError):
        store.document("manifest_full")
    sha256 = store.table("image_index").set_index("snapshot_id").loc[217, "sha256"]
    (picture,) = project.cache.rglob(f"{sha256}*")
    picture.write_bytes(picture.read_bytes()[:-40])
    with pytest.raises(WebcamMLError):
        store.picture(217)


def test_a_folder_without_a_store_is_an_error_that_says_what_to_name_and_run(
    tmp_path: Path,
) -> None:
    with pytest.raises(WebcamMLError, match=r"WEBCAM_ML_ARTIFACTS.*dagster asset materialize"):
        webcam_ml.open_store(tmp_path / "none")


def test_importing_the_package_loads_no_library_and_the_definitions_no_pandas() -> None:
    script = """
import sys
print({m.partition(".")[0] for m in sys.modules} - set(sys.stdlib_module_names))
import webcam_ml
print({m.partition(".")[0] for m in sys.modules} - set(sys.stdlib_module_names))
import webcam_ml.definitions
print("pandas" in sys.modules)
"""
    before, after, pandas = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert ast.literal_eval(after) - ast.literal_eval(before) == {"webcam_ml"}
    assert pandas == "False"


@pytest.mark.usefixtures("store")
def test_the_worked_example_runs_as_it_stands(project: EarlierStore) -> None:
    text = (REPOSITORY / "docs" / "notebook.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) >= 5

    script = "\n".join(blocks)
    namespace: dict[str, object] = {}
    exec(compile(script, "docs/notebook.md", "exec"), namespace)

    assert (project.folder / "notebook.png").stat().st_size > 5_000
    by_split = namespace["by_split"]
    assert isinstance(by_split, pd.DataFrame)
    assert set(by_split.index) == {"train", "val", "test"}
