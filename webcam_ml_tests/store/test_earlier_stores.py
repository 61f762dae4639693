"""What earlier versions stored is read, verified, compared with, rolled back to and reported on."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest
from dagster import AssetMaterialization, DagsterInstance

from webcam_ml.contracts import LABELS_TABLE, DocumentError, TableError
from webcam_ml.dataset import (
    Manifest,
    SplitConfig,
    TargetConfig,
    build_manifest,
    rows_with_pictures,
)
from webcam_ml.dataset.duplicates import ComparedImages, compare_images
from webcam_ml.dataset.images import ImageIndex, ImageSettings, build_image_index
from webcam_ml.disagreement import (
    DisagreementReport,
    DisagreementSettings,
    report_disagreement,
)
from webcam_ml.evaluation import EvalReport, evaluate_checkpoint
from webcam_ml.export import ExportedModel, export_candidate
from webcam_ml.judging import Comparison, compare_with_champion
from webcam_ml.labels import (
    LabelQuery,
    Labels,
    LabelValues,
    label_growth,
    read_label_values,
    read_labels,
)
from webcam_ml.live import (
    LiveModel,
    candidate_counter,
    promote_override,
    rollback,
    verify,
    were_live,
)
from webcam_ml.orchestration.retraining.history import last_training
from webcam_ml.store import Artifact, ArtifactStore, Provenance, StoredArtifact
from webcam_ml.training import Checkpoint, TrainingSettings, train
from webcam_ml_tests.stores.earlier import (
    V0_1,
    EarlierStore,
    Edit,
    copy_of,
    one_column_less,
    one_column_more,
)
from webcam_ml_tests.stores.tiny import TINY, tiny_backbone

VALUES: Mapping[str, type[Artifact]] = {
    "labels_raw": Labels,
    "manifest_full": Manifest,
    "manifest_train": Manifest,
    "manifest_val": Manifest,
    "manifest_test": Manifest,
    "image_index": ComparedImages,
    "checkpoint": Checkpoint,
    "eval_report": EvalReport,
    "onnx_model": ExportedModel,
    "disagreement_report": DisagreementReport,
    "champion_comparison": Comparison,
    "production_model": LiveModel,
}
VARIANTS: Mapping[str, Edit | None] = {
    "as it is": None,
    "one column more": one_column_more,
    "one column less": one_column_less,
}

# The first says since which labels a model was trained on and what reads it, the second by which
# settings and on which pair it was judged, the others what was rated again and who said what.
GROWN = (
    "model.meta.json",
    "champion_comparison.json",
    "disagreement_report.json",
    "disagreement_report.csv",
    "relabel_queue.csv",
)


@pytest.fixture(params=VARIANTS)
def earlier(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EarlierStore]:
    copy = copy_of(V0_1, tmp_path / "project", VARIANTS[request.param])
    monkeypatch.chdir(copy.folder)
    with tiny_backbone():
        yield copy


@pytest.fixture
def v0_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EarlierStore:
    copy = copy_of(V0_1, tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    return copy


def test_every_version_of_every_asset_is_read(earlier: EarlierStore) -> None:
    assert {stored.asset for stored in earlier.versions()} == set(VALUES)
    for stored in earlier.versions():
        stored.load(VALUES[stored.asset])
    for asset, data_version in earlier.expected["latest"].items():
        assert earlier.latest(asset).data_version == data_version
    for name, model in earlier.expected["models"].items():
        exported = earlier.store.find("onnx_model", model["onnx_model"]).load(ExportedModel)
        assert exported.meta.model_version == name
        assert exported.meta.metrics[model["primary_metric"]] == model["value"]
        # What model.meta.json did not say yet.
        assert exported.meta.label_query is exported.meta.oldest_runtimes is None


def test_what_is_read_is_written_again_to_the_same_bytes(
    v0_1: EarlierStore, tmp_path: Path
) -> None:
    for stored in v0_1.versions():
        folder = tmp_path / "again" / stored.version
        folder.mkdir(parents=True)
        stored.load(VALUES[stored.asset]).save(folder)
        for path in folder.iterdir():
            if path.name not in GROWN:
                assert path.read_bytes() == (stored.folder / path.name).read_bytes(), path
            if path.name == "champion_comparison.json":
                assert Comparison.load(folder) == stored.load(Comparison)
            if path.name == "disagreement_report.json":
                again, before = (
                    json.loads((one / path.name).read_bytes()) for one in (folder, stored.folder)
                )
                assert again["counts"].pop("rated_again") == 0
                assert again == before
            if path.suffix == ".csv" and path.name in GROWN:
                again, before = (
                    pl.read_csv(one / path.name, infer_schema=False)
                    for one in (folder, stored.folder)
                )
                assert again.select(before.columns).equals(before), path


def test_rows_that_are_read_lack_nothing_but_what_is_not_there(earlier: EarlierStore) -> None:
    labels, plain = (
        one.latest("labels_raw").load(Labels).frame for one in (earlier, EarlierStore(V0_1))
    )
    assert labels.schema == plain.schema
    there = [name for name in labels.columns if labels[name].null_count() < labels.height]
    assert labels.select(there).equals(plain.select(there))
    optional = {column.name for column in LABELS_TABLE.columns if not column.needed}
    assert set(labels.columns) - set(there) <= optional


def test_all_that_is_live_is_verified(earlier: EarlierStore) -> None:
    assert verify(earlier.store) == []


def test_an_earlier_model_is_rolled_back_to(earlier: EarlierStore) -> None:
    before = earlier.expected["ledger"][1]["version"]
    damaged = earlier.store.root / "production" / "versions" / before / "model.meta.json"
    whole = damaged.read_bytes()
    damaged.write_text("{}")
    assert rollback(earlier.store, target_type="binary").version == before
    # Brought back from the store as it was, not as today's code would write it.
    assert damaged.read_bytes() == whole
    assert verify(earlier.store) == []


def put(
    store: ArtifactStore, asset: str, value: Artifact, **inputs: StoredArtifact
) -> StoredArtifact:
    return store.write(asset, value, inputs=inputs, provenance=Provenance("run"))[0]


def make_candidate(earlier: EarlierStore) -> dict[str, StoredArtifact]:
    """Retrain by today's code, on the application's own averages, into the earlier store."""
    store, images, cache = earlier.store, earlier.images, earlier.cache
    labels = read_labels(earlier.database, LabelQuery(label_source="manual_only"))
    full = build_manifest(
        labels,
        target=TargetConfig(),
        split=SplitConfig(train_pct=40, val_pct=20, test_pct=40),
    )
    index = build_image_index(full.frame, cache=images, settings=ImageSettings())
    compared = compare_images(full.frame, index, images=images, cache=cache)
    found = {"labels_raw": put(store, "labels_raw", labels)}

    def keep(asset: str, value: Artifact, *inputs: str) -> None:
        found[asset] = put(store, asset, value, **{name: found[name] for name in inputs})

    keep("manifest_full", full, "labels_raw")
    parts = {name: full.split(name) for name in ("train", "val", "test")}
    for name, part in parts.items():
        keep(f"manifest_{name}", part, "manifest_full")
    keep("image_index", compared, "manifest_full")
    checkpoint = train(
        rows_with_pictures(parts["train"], index),
        rows_with_pictures(parts["val"], index),
        meta=full.meta,
        settings=TrainingSettings(
            model_name=TINY,
            weights="none",
            image_size=32,
            class_weight="balanced",
        ),
        images=images,
        cache=cache,
    ).checkpoint
    keep("checkpoint", checkpoint, "manifest_train", "manifest_val", "image_index")
    report = evaluate_checkpoint(
        checkpoint, parts["val"], parts["test"], index,
        images=images, cache=cache, bootstrap_samples=200,
    ).report  # fmt: skip
    keep("eval_report", report, "checkpoint", "manifest_val", "manifest_test", "image_index")
    exported = export_candidate(
        checkpoint, report, index, labels=full.meta, images=images, cache=cache
    )
    keep("onnx_model", exported, "checkpoint", "eval_report", "manifest_train", "image_index")
    return found


def compare(earlier: EarlierStore, found: Mapping[str, StoredArtifact]) -> Comparison:
    return compare_with_champion(
        found["onnx_model"],
        found["eval_report"].load(EvalReport),
        found["manifest_val"].load(Manifest),
        found["manifest_test"].load(Manifest),
        found["image_index"].load(ImageIndex),
        store=earlier.store,
        were_live=were_live(earlier.store, "binary"),
        count_candidate=candidate_counter(earlier.store, "binary"),
        images=earlier.images,
    ).comparison


def test_a_new_candidate_is_compared_with_the_earlier_champion(earlier: EarlierStore) -> None:
    evidence = compare(earlier, make_candidate(earlier)).evidence
    assert evidence.champion is not None
    assert evidence.champion.model_version == earlier.expected["live"]["binary"]
    assert evidence.champion.metrics["roc_auc"].rival.value is not None
    changes = {(one.kind, one.what): (one.champion, one.candidate) for one in evidence.changes}
    assert changes["definition", "label_source"] == ("public_aggregate", "manual_only")
    assert ("definition", "min_rating_count") not in changes
    # Webcams of its train and validation rows are known: only the test split is left.
    assert evidence.champion.rows_left_out == 0


def test_an_earlier_candidate_is_compared_with_the_champion_of_its_day(
    v0_1: EarlierStore,
) -> None:
    names = ("onnx_model", "eval_report", "manifest_val", "manifest_test", "image_index")
    comparison = compare(v0_1, {name: v0_1.latest(name) for name in names})
    before = v0_1.latest("champion_comparison").load(Comparison).evidence
    champion = comparison.evidence.champion
    assert champion is not None
    assert champion.pair is not None
    # What the version of that day did not measure yet.
    later = {"pair": None, "judged_by": None, "on_live_labels": None, "known_pictures": None}
    assert champion.model_copy(update=later) == before.champion
    candidate = comparison.evidence.candidate
    assert candidate.label_source == "public_aggregate"
    assert candidate.model_copy(update={"label_source": None}) == before.candidate


@pytest.mark.parametrize("predictions", ["model", "database"])
def test_disagreement_with_an_earlier_model_is_reported(
    earlier: EarlierStore, predictions: str
) -> None:
    report = report_disagreement(
        earlier.latest("onnx_model"),
        earlier.latest("checkpoint").load(Checkpoint),
        earlier.latest("manifest_full").load(Manifest),
        earlier.latest("image_index").load(ImageIndex),
        settings=DisagreementSettings(predictions=predictions, limit=12, bootstrap_samples=200),
        store=earlier.store,
        database=lambda: earlier.database,
        images=earlier.images,
        cache=earlier.cache,
    )
    assert report.document.model_version == earlier.expected["live"]["binary"]
    if predictions == "model" and "phase" in _header(earlier, "manifest_full"):
        before = earlier.latest("disagreement_report").load(DisagreementReport)
        assert report.document.counts == before.document.counts


def _header(earlier: EarlierStore, asset: str) -> list[str]:
    path = earlier.latest(asset).folder / f"{asset}.csv"
    return path.read_text().partition("\n")[0].split(",")


def test_a_model_that_was_evaluated_before_is_evaluated_again(earlier: EarlierStore) -> None:
    report = evaluate_checkpoint(
        earlier.latest("checkpoint").load(Checkpoint),
        earlier.latest("manifest_val").load(Manifest),
        earlier.latest("manifest_test").load(Manifest),
        earlier.latest("image_index").load(ImageIndex),
        images=earlier.images,
        cache=earlier.cache,
        bootstrap_samples=200,
    ).report
    before = earlier.latest("eval_report").load(EvalReport)
    metric = report.document.metrics["roc_auc"]
    assert metric.value == pytest.approx(before.document.metrics["roc_auc"].value, abs=1e-6)
    phases = {one.group for one in report.document.slices if one.by == "phase"}
    assert phases in ({"sunrise", "sunset"}, {"unknown"})


def test_growth_is_measured_from_labels_of_an_earlier_training(earlier: EarlierStore) -> None:
    checkpoint = earlier.latest("checkpoint")
    first = min(
        (stored for stored in earlier.versions() if stored.asset == "checkpoint"),
        key=lambda stored: stored.lineage.created_at,
    )
    query = LabelQuery(label_source="public_aggregate")
    now = read_label_values(earlier.database, query)
    with DagsterInstance.ephemeral() as instance:
        for stored in (first, checkpoint):
            instance.report_runless_asset_event(
                AssetMaterialization(
                    "checkpoint", tags={"dagster/data_version": stored.data_version}
                )
            )
        new = []
        for target_type in ("binary", "regression"):
            training = last_training(
                instance, earlier.store, query=query, target=TargetConfig(target_type=target_type)
            )
            assert training is not None
            before = LabelValues.load(training.labels.folder)
            new.append(label_growth(before, now, positive_from=4.0).new)
    assert new == [0, 80]


BROKEN = {
    "missing": ("webcam_id", "camera", r"lacks webcam_id"),
    "twice": ("split", "webcam_id", r"has the column webcam_id 2 times"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_needed_column_that_is_missing_or_twice_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    old, new, message = BROKEN[fault]

    def edit(name: str, rows: list[list[str]]) -> list[list[str]]:
        if name != "manifest_train.csv":
            return rows
        return [[new if cell == old else cell for cell in rows[0]], *rows[1:]]

    broken = copy_of(V0_1, tmp_path / "project", edit)
    monkeypatch.chdir(broken.folder)
    names = ("onnx_model", "eval_report", "manifest_val", "manifest_test", "image_index")
    with pytest.raises(TableError, match=rf"manifest_train\.csv {message}.*Materialize"):
        compare(broken, {name: broken.latest(name) for name in names})


def test_a_needed_column_of_another_type_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(name: str, rows: list[list[str]]) -> list[list[str]]:
        if name != "labels.csv":
            return rows
        value = rows[0].index("label_value")
        return [rows[0], *([*row[:value], "good", *row[value + 1 :]] for row in rows[1:])]

    broken = copy_of(V0_1, tmp_path / "project", edit)
    monkeypatch.chdir(broken.folder)
    with pytest.raises(TableError, match=r"labels\.csv has 'good' in the column label_value"):
        LabelValues.load(broken.latest("labels_raw").folder)


DOCUMENTS = {
    "labels_meta.json": "labels_raw",
    "export_meta.json": "manifest_full",
    "image_index_meta.json": "image_index",
    "near_duplicates_meta.json": "image_index",
    "train_summary.json": "checkpoint",
    "eval_report.json": "eval_report",
    "model.meta.json": "onnx_model",
    "parity.json": "onnx_model",
    "disagreement_report.json": "disagreement_report",
    "champion_comparison.json": "champion_comparison",
    "production_model.json": "production_model",
}
LATER = r"has schema_version 99, and this version of webcam-ml knows up to [12].*Upgrade webcam-ml"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_a_later_version_says_to_upgrade(v0_1: EarlierStore, name: str) -> None:
    asset = DOCUMENTS[name]
    folder = v0_1.latest(asset).folder
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | {"schema_version": 99}))
    with pytest.raises(Exception, match=rf"{name} {LATER}") as caught:
        VALUES[asset].load(folder)
    assert "aterialize" not in str(caught.value)


@pytest.mark.parametrize("name", ["lineage.json", "ledger.jsonl", "ledger.head"])
def test_a_store_of_a_later_version_says_to_upgrade(v0_1: EarlierStore, name: str) -> None:
    if name == "lineage.json":
        path = v0_1.latest("onnx_model").folder / name
    else:
        path = v0_1.store.root / "production" / name
    lines = path.read_text()
    path.write_text(lines.replace("{", '{"schema_version": 99, ', 1))
    with pytest.raises(DocumentError, match=LATER):
        promote_override(v0_1.store, "anything", reason="a try")
