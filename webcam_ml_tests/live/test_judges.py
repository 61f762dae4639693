"""Judges beside those of the live model, and what of them is a change of definition."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from webcam_ml.dataset import Manifest, build_manifest
from webcam_ml.judging._changes import changes_between
from webcam_ml.live import judges_beside_live
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made, Works

GOOD = {"good": JUDGES["good"]}


def moved(move: Callable[[pl.Expr], pl.Expr]) -> Manifest:
    labels = many_labels(GOOD, webcams=240)
    assert labels.judged is not None
    said = labels.judged.said.with_columns(value=move(pl.col("value")))
    return build_manifest(replace(labels, judged=replace(labels.judged, said=said)))


def test_without_a_live_model_there_is_nothing_to_agree_with(tmp_path: Path) -> None:
    meta = build_manifest(many_labels(GOOD)).meta
    found = judges_beside_live(meta, ArtifactStore(tmp_path))
    assert found.verdict.passed
    assert found.verdict.reason == "No binary model is live."
    assert found.judges == ()


def test_a_judge_that_the_live_model_did_not_hear_is_named(
    prepared: Live, made: dict[str, Made]
) -> None:
    of_people = judges_beside_live(made["better"].world.manifest.meta, prepared.store)
    assert of_people.verdict.passed
    assert of_people.verdict.reason.startswith("No judge speaks, and none did")
    found = judges_beside_live(build_manifest(many_labels(GOOD)).meta, prepared.store)
    assert not found.verdict.passed
    assert "good speaks and was not heard before" in found.verdict.reason
    assert [one.judge for one in found.judges] == ["good"]


def test_a_judge_that_moved_is_another_definition_and_one_that_learned_more_is_not(
    made: dict[str, Made], tmp_path: Path
) -> None:
    labels = many_labels(GOOD, webcams=240)
    manifest = build_manifest(labels)
    world = replace(made["first"].world, labels=labels, manifest=manifest)
    works = Works(ArtifactStore(tmp_path / "artifacts"))
    model = works.add(replace(made["first"], world=world))["onnx_model"]

    def changes(now: Manifest) -> dict[str, str]:
        found = changes_between(model, model, now.meta, works.store)
        return {one.what: one.kind for one in found}

    assert changes(manifest) == {}
    fewer = replace(labels, frame=labels.frame.filter(pl.col("snapshot_id") % 9 > 0))
    learned = changes(build_manifest(fewer))
    assert "definition" not in learned.values()
    assert learned["calibration of judges"] == "data"
    other = changes(moved(lambda score: (score + 0.15).clip(0, 1)))
    assert other["what scores of good mean"] == "definition"
    assert other["calibration of judges"] == "data"
