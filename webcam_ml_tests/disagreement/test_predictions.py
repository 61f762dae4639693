"""Which prediction stands beside which rating: real models, a real store, a real label database."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from webcam_ml.contracts import target_of
from webcam_ml.dataset import build_manifest
from webcam_ml.dataset.duplicates import DuplicateWebcams
from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
from webcam_ml.disagreement import (
    DisagreementSettings,
    expected_correction,
    report_disagreement,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import (
    INFERENCE_SCHEMA,
    LabelDatabase,
    LabelDatabaseError,
    read_inferences,
    record_inferences,
)
from webcam_ml.live import promote_override
from webcam_ml.scoring import ModelError, Score
from webcam_ml.training import fit_platt, fit_probe
from webcam_ml_tests.disagreement.compared_rows import QUICK, build, compared_rows
from webcam_ml_tests.disagreement.graph import ALL, Graph
from webcam_ml_tests.label_schema import Rows, insert_rows, snapshot
from webcam_ml_tests.live.models import Works
from webcam_ml_tests.world import make_labels


def closed() -> LabelDatabase:
    raise AssertionError("the database is not asked")


# --- the candidate --------------------------------------------------------------------------------


def test_train_rows_are_out_of_fold_and_all_others_are_scored_by_the_model_file(
    graph: Graph,
) -> None:
    document = graph.report().document
    own = {row["snapshot_id"]: row for row in graph.rows().to_dicts()}
    folds = dict(
        graph.made["binary"].checkpoint.predictions["snapshot_id", "raw_score"].iter_rows()
    )
    assert document.counts.compared == len(own) == len(document.worst)
    for row in document.worst:
        assert row.prediction_kind == ("out_of_fold" if row.split == "train" else "model")
        expected = (
            folds if row.split == "train" else {row.snapshot_id: own[row.snapshot_id]["own_score"]}
        )
        assert row.raw_score == pytest.approx(expected[row.snapshot_id], abs=1e-6)
    train = [row for row in document.worst if row.split == "train"]
    differing = [abs(row.raw_score - own[row.snapshot_id]["own_score"]) > 1e-3 for row in train]
    assert sum(differing) > 0.9 * len(train)


def test_the_database_is_opened_only_if_it_is_asked_for_something(graph: Graph) -> None:
    found, world = graph.found["binary"], graph.made["binary"].world
    report_disagreement(
        found["onnx_model"],
        graph.made["binary"].checkpoint,
        world.manifest,
        world.index,
        settings=DisagreementSettings(**QUICK),
        store=graph.store,
        database=closed,
        images=world.images,
        cache=world.cache,
    )


def test_pictures_gone_since_training_are_counted_and_cost_the_report_nothing_else(
    graph: Graph, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = graph.made["binary"]
    lost = {"train": 5, "val": 3, "test": 2}
    gone = {split: made.world.rows(split).frame.head(n) for split, n in lost.items()}
    shutil.copytree(made.world.cache / "images", tmp_path / "cache" / "images")
    for digest in pl.concat(gone.values())["sha256"]:
        (tmp_path / "cache" / "images" / digest[:2] / digest).unlink()
    world = replace(made.world, images=ImageCache(tmp_path / "cache"), cache=tmp_path / "cache")
    report = replace(graph, made={"binary": replace(made, world=world)}).report()
    counts = report.document.counts
    assert counts.left_out == {"picture_gone_from_cache": 5}
    assert counts.compared == made.world.manifest.frame.height - 5
    assert "materialize image_index again" in caplog.text
    # Train rows keep their out-of-fold prediction, and a card that says that the picture is gone.
    listed = {row.snapshot_id for row in report.document.worst}
    assert set(gone["train"]["snapshot_id"]) <= listed
    assert report.gallery.count('class="gone"') == 5


def learned_from_wrong_labels(seed: int) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """Train rows of which a tenth is wrong, out-of-fold, and what the head says that learned them.

    There are more features than rows, as with a real backbone, so that the head can learn rows by heart.
    """
    rng = np.random.default_rng(seed)
    n, features = 250, 500
    truth = rng.choice(5, p=(0.5, 0.1, 0.1, 0.15, 0.15), size=n) + 1
    x = rng.normal(size=(n, features))
    x[:, :8] += 0.75 * (truth - 3)[:, None]
    wrong = rng.permutation(n) < n // 10
    stars = np.where(wrong, (truth - 1 + rng.integers(1, 5, n)) % 5 + 1, truth)
    target = (stars >= 4).astype(np.float64)
    probe = fit_probe(
        x,
        target,
        rng.integers(0, 50, n),
        asked=target_of("binary"),
        class_weight="none",
        random_state=0,
    )
    platt = fit_platt(probe.out_of_fold, target)
    rows = compared_rows(n).with_columns(
        pl.Series("label_value", stars.astype(np.float64)),
        pl.Series("raw_score", platt(probe.out_of_fold)),
        pl.Series("is_wrong", wrong),
        *(pl.Series(f"stars_{star}", (stars == star).astype(np.int64)) for star in range(1, 6)),
        rating_count=pl.lit(1),
        split=pl.lit("train"),
        prediction_kind=pl.lit("out_of_fold"),
    )
    return rows, platt(probe.head(x))


def test_wrong_train_labels_that_in_sample_predictions_hide_come_first() -> None:
    planted = found = found_in_sample = 0
    for seed in range(4):
        rows, in_sample = learned_from_wrong_labels(seed)
        by_heart = rows.with_columns(raw_score=pl.Series(in_sample))
        with pytest.raises(ValueError, match="would hide their wrong labels"):
            build(by_heart.with_columns(prediction_kind=pl.lit("model")))

        wrong = set(rows.filter("is_wrong")["snapshot_id"])
        settings = DisagreementSettings(limit=len(wrong), **QUICK)
        worst = {row.snapshot_id for row in build(rows, settings=settings).document.worst}
        hiding = by_heart.with_columns(pl.Series("rank", expected_correction(by_heart)))
        first = hiding.sort("rank", descending=True)["snapshot_id"].head(len(wrong))
        planted += len(wrong)
        found += len(worst & wrong)
        found_in_sample += len(set(first) & wrong)
    # A random list would find a tenth.
    assert found > 0.45 * planted
    assert found_in_sample < 0.7 * found


# --- recording ------------------------------------------------------------------------------------


def test_the_model_files_own_scores_are_recorded_also_of_train_rows(graph: Graph) -> None:
    plain = graph.report()
    report = graph.report(record_inferences=True)
    assert report.document == plain.document
    recorded = read_inferences(graph.database, graph.version())
    own = graph.rows()
    scores = [Score.of(score, model_version="x") for score in own["own_score"]]
    assert recorded["snapshot_id"].to_list() == own["snapshot_id"].to_list()
    assert recorded["raw_score"].to_list() == [score.raw_score for score in scores]
    assert recorded["ai_rating"].to_list() == [score.ai_rating for score in scores]
    assert read_inferences(graph.database, graph.version("regression")).is_empty()


def test_a_model_that_does_not_speak_records_nothing(graph: Graph) -> None:
    made = graph.made["binary"]
    meta = made.exported.meta.model_copy(update={"model_version": "binary-somebody-else"})
    found = dict(graph.found["binary"])
    found["onnx_model"] = Works(graph.store).put(
        "onnx_model",
        replace(made.exported, meta=meta),
        graph.found["binary"]["onnx_model"].lineage.database,
        **{name: found[name] for name in ("checkpoint", "eval_report", "image_index")},
    )
    with pytest.raises(ModelError, match="model_version"):
        replace(graph, found={"binary": found}).report(record_inferences=True)
    for version in ("binary-somebody-else", graph.version(), "baseline-v1"):
        assert read_inferences(graph.database, version).is_empty()


def test_scores_never_go_to_a_database_that_the_labels_did_not_come_from(
    graph: Graph, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path}/other.sqlite"
    shutil.copy(tmp_path / "labels.sqlite", tmp_path / "other.sqlite")
    for settings in ({"record_inferences": True}, {"predictions": "database"}):
        with pytest.raises(WebcamMLError, match=r"other\.sqlite.*labels\.sqlite.*Nothing was"):
            graph.report(url=other, **settings)
    assert read_inferences(LabelDatabase(other), graph.version()).is_empty()


# --- what the application recorded ----------------------------------------------------------------


def record(graph: Graph, target: str = "binary", of: pl.Expr | None = None) -> pl.DataFrame:
    """Let the application have scored some of the rows with the model of a target type."""
    own = graph.rows(target)
    own = own if of is None else own.filter(of)
    scores = [Score.of(score, model_version="x") for score in own["own_score"]]
    frame = pl.DataFrame(
        {
            "snapshot_id": own["snapshot_id"],
            "raw_score": [score.raw_score for score in scores],
            "ai_rating": [score.ai_rating for score in scores],
        },
        schema=INFERENCE_SCHEMA,
    )
    record_inferences(graph.database, frame, model_version=graph.version(target))
    return own


def test_an_audit_compares_what_was_recorded_and_leaves_out_what_was_trained_on(
    graph: Graph,
) -> None:
    own = record(graph, of=pl.col("snapshot_id") % 4 > 0)
    document = graph.audit(model_version=graph.version())
    counts = document.counts
    expected = own.filter(pl.col("split") != "train")
    assert {row.snapshot_id for row in document.worst} == set(expected["snapshot_id"])
    scores = dict(expected["snapshot_id", "own_score"].iter_rows())
    for row in document.worst:
        assert row.raw_score == pytest.approx(scores[row.snapshot_id], abs=1e-6)
        assert row.prediction_kind == "recorded"
        assert row.model_version == document.model_version == graph.version()
    labelled = graph.made["binary"].world.manifest.frame.height
    assert counts.left_out == {
        "not_recorded": labelled - own.height,
        "version_was_trained_on_it": own.height - expected.height,
    }
    assert counts.compared + sum(counts.left_out.values()) == labelled
    meta = graph.made["binary"].exported.meta
    assert document.near_threshold.decision_threshold == meta.decision_threshold


def test_the_live_model_is_audited_by_default_and_a_candidate_by_name(graph: Graph) -> None:
    record(graph)
    with pytest.raises(WebcamMLError, match=rf"no binary model is live.*{graph.version()} \("):
        graph.audit()
    promote_override(graph.store, graph.version(), reason="a test")
    assert graph.audit().model_version == graph.version()
    with pytest.raises(WebcamMLError, match="no regression model is live"):
        graph.audit("regression")


def test_labels_that_came_after_training_are_audited_and_known_webcams_said_to_be(
    graph: Graph,
) -> None:
    record(graph)
    made = graph.made["binary"]
    # As if the version had been trained before half of each webcam's labels were there.
    early = made.checkpoint.predictions.filter(pl.col("snapshot_id") % 2 == 0)
    late = made.world.manifest.frame.filter(
        (pl.col("split") == "train") & (pl.col("snapshot_id") % 2 == 1)
    )
    found = dict(graph.found["binary"])
    works, database = Works(graph.store), found["onnx_model"].lineage.database
    found["checkpoint"] = works.put(
        "checkpoint", replace(made.checkpoint, predictions=early), database,
        **{name: found[name] for name in ("manifest_train", "manifest_val", "image_index")},
    )  # fmt: skip
    shutil.rmtree(found["onnx_model"].folder)
    found["onnx_model"] = works.put(
        "onnx_model", made.exported, database,
        **{name: found[name] for name in ("checkpoint", "eval_report", "image_index")},
    )  # fmt: skip
    document = replace(graph, found={"binary": found}).audit(model_version=graph.version())
    known = [row for row in document.worst if row.prediction_kind == "recorded_known_webcam"]
    assert {row.snapshot_id for row in known} == set(late["snapshot_id"])
    assert document.counts.prediction_kinds["recorded_known_webcam"] == late.height
    assert document.ranking.fitted_rows == document.counts.compared - late.height


def test_a_camera_that_is_known_under_one_id_is_known_under_the_other(graph: Graph) -> None:
    record(graph)
    found, world = graph.found["binary"], graph.made["binary"].world
    first_of = dict(world.manifest.frame.group_by("split").agg(pl.col("webcam_id").min()).rows())
    pair = tuple(sorted((first_of["train"], first_of["test"])))
    twins = DuplicateWebcams((pair,), "0" * 64, compared=40, left_out=0)
    meta = replace(world.manifest.meta, duplicate_webcams=twins)
    document = report_disagreement(
        found["onnx_model"],
        graph.made["binary"].checkpoint,
        replace(world.manifest, meta=meta),
        world.index,
        settings=DisagreementSettings(
            limit=ALL, predictions="database", model_version=graph.version(), **QUICK
        ),
        store=graph.store,
        database=lambda: graph.database,
        images=world.images,
        cache=world.cache,
    ).document
    kinds = {(row.webcam_id, row.prediction_kind) for row in document.worst}
    known = {webcam_id for webcam_id, kind in kinds if kind == "recorded_known_webcam"}
    assert known == {first_of["test"]}


def test_a_version_of_another_target_type_is_refused_with_those_that_would_do(graph: Graph) -> None:
    record(graph)
    record(graph, "regression")
    with pytest.raises(WebcamMLError, match=r"regression model.*never mixed") as refused:
        graph.audit(model_version=graph.version("regression"))
    assert f"{graph.version()} (" in str(refused.value)
    assert graph.audit("regression", model_version=graph.version("regression")).target_type == (
        "regression"
    )


def test_a_version_without_rows_is_an_error_that_lists_those_with_some(graph: Graph) -> None:
    record(graph, "regression")
    graph.execute(
        "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version, raw_score, ai_rating)"
        " VALUES (1, 'binary-of-old', 0.5, 3.0), (2, 'binary-of-old', 0.5, 3.0)"
    )
    with pytest.raises(WebcamMLError, match="nothing is recorded under") as refused:
        graph.audit(model_version=graph.version())
    said = str(refused.value)
    rows = graph.rows("regression").height
    assert f"{graph.version('regression')} ({rows} rows)" in said
    assert "binary-of-old (2 rows, not a model of this store)" in said


@pytest.mark.parametrize(
    "version", ["binary-of-old", "baseline-v1", "../../etc", "'; DROP TABLE x"]
)
def test_a_version_that_the_store_does_not_know_is_not_compared(graph: Graph, version: str) -> None:
    with pytest.raises(WebcamMLError, match=r"no model of .*trained on is not known.*none"):
        graph.audit(model_version=version)


def test_records_that_break_the_contract_are_left_out_and_counted(graph: Graph) -> None:
    own = record(graph, of=pl.col("split") == "test")
    first, second, third, fourth = own["snapshot_id"].to_list()[:4]
    graph.execute(
        f"UPDATE snapshot_ai_inferences SET raw_score = 7.5 WHERE snapshot_id = {first}",
        f"UPDATE snapshot_ai_inferences SET raw_score = NULL WHERE snapshot_id = {second}",
        # A rating that does not follow from its score: one of the two is another model's.
        f"UPDATE snapshot_ai_inferences SET raw_score = 0.5, ai_rating = 4.5 WHERE snapshot_id = {third}",
        # The application may round the other way.
        f"UPDATE snapshot_ai_inferences SET raw_score = 0.5, ai_rating = 3.01 WHERE snapshot_id = {fourth}",
    )
    document = graph.audit(model_version=graph.version())
    assert document.counts.left_out["recorded_score_unusable"] == 3
    assert document.counts.compared == own.height - 3


def test_an_audit_with_nothing_unseen_says_what_was_left_out(graph: Graph) -> None:
    own = record(graph, of=pl.col("split") == "train")
    with pytest.raises(WebcamMLError, match=f"version_was_trained_on_it: {own.height}"):
        graph.audit(model_version=graph.version())


def test_without_a_table_of_inferences_only_what_needs_it_fails(graph: Graph) -> None:
    graph.execute("DROP TABLE snapshot_ai_inferences")
    assert graph.report().document.counts.compared
    for settings in ({"record_inferences": True}, {"predictions": "database"}):
        with pytest.raises(LabelDatabaseError, match="no table snapshot_ai_inferences"):
            graph.report(**settings)


def test_an_audit_shows_pictures_and_its_kind_of_prediction(graph: Graph) -> None:
    record(graph, of=pl.col("split") == "test")
    report = graph.report(predictions="database", model_version=graph.version())
    assert report.gallery.count("data:image/jpeg") == report.document.counts.listed
    assert "test · recorded" in report.gallery
    assert "as the application recorded it" in report.gallery
    assert "as the application recorded it" not in graph.report().gallery


@pytest.mark.slow
def test_fifty_thousand_recorded_rows_make_a_report_like_any_other(
    graph: Graph, tmp_path: Path
) -> None:
    n = 50_000
    rng = np.random.default_rng(0)
    # One picture for all, so that the database is what is large.
    picture = graph.made["binary"].world.labels.frame["image_path_or_url"][0]
    labels = make_labels(webcams=2_500, per_webcam=n // 2_500)
    labels = replace(labels, frame=labels.frame.with_columns(image_path_or_url=pl.lit(picture)))
    manifest = build_manifest(labels)
    index = build_image_index(
        manifest.frame, cache=graph.made["binary"].world.images, settings=ImageSettings()
    )
    raw = rng.random(n).round(6)
    frame = pl.DataFrame(
        {
            "snapshot_id": range(1, n + 1),
            "raw_score": raw,
            "ai_rating": (1 + 4 * raw).round(2),
        },
        schema=INFERENCE_SCHEMA,
    )
    graph.execute("DELETE FROM webcam_snapshots")
    engine = sa.create_engine(graph.url)
    snapshots = labels.frame["snapshot_id", "webcam_id"].rows()
    insert_rows(engine, Rows(snapshots=tuple(snapshot(*row) for row in snapshots)))
    engine.dispose()
    record_inferences(graph.database, frame, model_version=graph.version())
    found, world = graph.found["binary"], graph.made["binary"].world
    report = report_disagreement(
        found["onnx_model"],
        graph.made["binary"].checkpoint,
        manifest,
        index,
        settings=DisagreementSettings(predictions="database", model_version=graph.version()),
        store=graph.store,
        database=lambda: graph.database,
        images=world.images,
        cache=world.cache,
    )
    counts = report.document.counts
    assert counts.compared + counts.left_out["version_was_trained_on_it"] == n
    assert len(report.gallery.encode()) < 5_000_000


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"predictions": "app"}, "it must be model or database"),
        ({"model_version": "binary-x"}, "Set predictions: database"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(WebcamMLError, match=says):
        DisagreementSettings(**settings)
