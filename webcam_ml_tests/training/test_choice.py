"""`model_name: auto`: one of several backbones, chosen on the training webcams alone."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from webcam_ml.contracts import SettingsError, target_of
from webcam_ml.dataset import SplitConfig, TargetConfig
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BackboneSpec, Cost, measure_cost, prepare_backbone
from webcam_ml.store import ArtifactStore, Provenance, StoredArtifact
from webcam_ml.training import (
    Checkpoint,
    Choice,
    TrainingResult,
    TrainingSettings,
    earlier_choice,
    train,
)
from webcam_ml.training._choice import Candidate, compare_candidates
from webcam_ml_tests.dataset.judges.said import JUDGES, with_judges
from webcam_ml_tests.stores.tiny import TINY, tiny_backbone
from webcam_ml_tests.world import SPEC, World, make_labels, make_world

BINARY = target_of("binary")
SMALL = SPEC.model_name
DATABASE = {"name": "labels", "demo": False}


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with tiny_backbone():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


def auto(**fields: Any) -> TrainingSettings:
    group = {"candidates": (TINY, SMALL), **fields}
    return TrainingSettings(model_name="auto", weights="none", image_size=64, auto=group)


def choose(
    world: World,
    settings: TrainingSettings,
    *,
    cache: Path | None = None,
    choice: Choice | None = None,
) -> TrainingResult:
    return train(
        world.rows("train"),
        world.rows("val"),
        meta=world.manifest.meta,
        settings=settings,
        images=world.images,
        cache=cache or world.cache,
        choice=choice,
    )


def named(world: World, name: str) -> Checkpoint:
    spec = BackboneSpec(model_name=name, weights="none", image_size=64)
    return world.train(spec=spec).checkpoint


def by_name(account: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {one["model_name"]: one for one in account["candidates"]}


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_the_chosen_model_is_the_one_that_its_name_gives_and_losses_are_those_of_the_probes(
    world: World, tmp_path: Path, target_type: str
) -> None:
    target = TargetConfig(target_type=target_type)
    here = replace(make_world(tmp_path, target=target, labels=world.labels), cache=world.cache)
    trained = choose(here, auto()).checkpoint
    account = trained.summary["auto"]
    assert trained.summary["model_name"] == account["chosen"] == trained.model.model_name
    assert trained.weights == named(here, account["chosen"]).weights
    found = by_name(account)
    for name in (TINY, SMALL):
        search = named(here, name).summary["head"]["search"]
        least = min(one["out_of_fold_loss"] for one in search)
        assert found[name]["out_of_fold_loss"] == round(least, 6)
        assert found[name]["within_budget"]
    least = min(one["out_of_fold_loss"] for one in found.values())
    for one in found.values():
        difference = one["difference_to_best"]
        assert difference["value"] == pytest.approx(one["out_of_fold_loss"] - least, abs=2e-6)
    assert found[TINY]["megabytes"] < found[SMALL]["megabytes"]


def test_judges_count_in_the_choice_as_in_the_probe(tmp_path: Path) -> None:
    everything = make_world(tmp_path, labels=make_labels(webcams=90, per_webcam=8, folder=tmp_path))
    labels = with_judges(everything.labels, {"good": JUDGES["good"]}, known=0.7)
    judged = replace(make_world(tmp_path / "w", labels=labels), cache=everything.cache)
    assert judged.rows("train").judged.height > 0
    found = by_name(choose(judged, auto()).checkpoint.summary["auto"])
    search = named(judged, TINY).summary["head"]["search"]
    least = min(one["out_of_fold_loss"] for one in search)
    assert found[TINY]["out_of_fold_loss"] == round(least, 6)


def test_labels_of_validation_and_test_do_not_move_the_choice(world: World, tmp_path: Path) -> None:
    chosen = choose(world, auto()).checkpoint.summary["auto"]
    others = world.manifest.frame.filter(pl.col("split") != "train")["webcam_id"]
    turned = world.labels.frame.with_columns(
        pl.when(pl.col("webcam_id").is_in(others.implode()))
        .then(6 - pl.col("label_value"))
        .otherwise(pl.col("label_value"))
        .alias("label_value")
    )
    other = make_world(tmp_path, labels=replace(world.labels, frame=turned))
    again = choose(other, auto(), cache=world.cache).checkpoint
    assert again.summary["auto"] == {
        **chosen,
        "labels_sha256": other.manifest.meta.labels_sha256,
    }
    assert again.summary["auto"]["labels_sha256"] != chosen["labels_sha256"]


def test_a_second_training_computes_nothing_and_gives_equal_bytes(world: World) -> None:
    first = choose(world, auto())
    again = choose(world, auto())
    train_pictures = world.rows("train").frame["sha256"].n_unique()
    val_pictures = world.rows("val").frame["sha256"].n_unique()
    assert (again.features_computed, again.features_reused) == (
        0,
        2 * train_pictures + val_pictures,
    )
    assert again.checkpoint.weights == first.checkpoint.weights
    assert again.checkpoint.summary == first.checkpoint.summary


# --- the rule -------------------------------------------------------------------------------------


def candidates(**milliseconds: float) -> list[Candidate]:
    cost = {name: Cost(milliseconds=ms, megabytes=1.0) for name, ms in milliseconds.items()}
    return [
        Candidate(BackboneSpec(model_name=name, weights="none"), cost[name], True, loss=0.0)
        for name in milliseconds
    ]


def drawn_values(
    seed: int, offset: float, noise: float
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Values of a good head, and of one that is worse by noise and an offset in the log-odds."""
    random = np.random.default_rng(seed)
    webcams = np.repeat(np.arange(60), 5)
    good = random.normal(scale=2, size=len(webcams))
    target = (random.uniform(size=len(good)) < 1 / (1 + np.exp(-good))).astype(float)
    worse = good + offset + random.normal(scale=noise, size=len(good))
    return {"resnet50": good, "resnet18": worse}, target, webcams


def compared(
    values: dict[str, np.ndarray], target: np.ndarray, webcams: np.ndarray, **milliseconds: float
) -> tuple[dict[str, Candidate], str]:
    listed = [
        replace(one, loss=BINARY.loss(target, values[one.spec.model_name]))
        for one in candidates(**milliseconds)
    ]
    found, chosen = compare_candidates(
        listed, values, target, webcams, asked=BINARY, random_state=0
    )
    return {one.spec.model_name: one for one in found}, chosen.spec.model_name


def test_the_cheaper_is_taken_where_it_cannot_be_told_from_the_best_and_only_there() -> None:
    alike = drawn_values(3, offset=0.0, noise=0.02)
    assert compared(*alike, resnet50=80, resnet18=40)[1] == "resnet18"
    assert compared(*alike, resnet50=40, resnet18=80)[1] == "resnet50"
    apart = drawn_values(3, offset=0.0, noise=2.0)
    assert compared(*apart, resnet50=80, resnet18=40)[1] == "resnet50"


def test_the_standard_error_is_that_of_whole_webcams() -> None:
    values, target, webcams = drawn_values(5, offset=0.3, noise=0.5)
    found, _ = compared(values, target, webcams, resnet50=80, resnet18=40)
    difference = found["resnet18"].difference
    assert difference is not None
    rows = np.logaddexp(0, -np.where(target == 1, 1, -1) * values["resnet18"])
    rows -= np.logaddexp(0, -np.where(target == 1, 1, -1) * values["resnet50"])
    of_webcams = rows.reshape(60, 5).mean(axis=1)
    assert difference.value == pytest.approx(of_webcams.mean())
    assert difference.standard_error == pytest.approx(of_webcams.std(ddof=1) / 60**0.5, rel=0.1)
    # Five copies of a row of each webcam are no more evidence than one.
    copied = [values[name][::5].repeat(5) for name in values]
    once = dict(zip(values, copied, strict=True))
    many = compared(once, target[::5].repeat(5), webcams, resnet50=80, resnet18=40)[0]
    few = compared(
        {name: one[::5] for name, one in once.items()},
        target[::5],
        webcams[::5],
        resnet50=80,
        resnet18=40,
    )[0]
    for one, other in zip(many.values(), few.values(), strict=True):
        assert one.difference is not None
        assert other.difference is not None
        assert one.difference.standard_error == pytest.approx(other.difference.standard_error)


# --- cost and budget ------------------------------------------------------------------------------


def test_cost_is_measured_once_for_a_graph_and_again_where_the_note_is_gone_or_damaged(
    world: World, tmp_path: Path
) -> None:
    spec = BackboneSpec(model_name=TINY, weights="none", image_size=64)
    graph = prepare_backbone(spec, cache=tmp_path)
    first = measure_cost(graph, cache=tmp_path)
    assert first.milliseconds > 0
    assert first.megabytes == round(len(graph.model) / 1e6, 1)
    (note,) = tmp_path.glob("backbones/*/milliseconds.json")
    note.write_text(note.read_text().replace(f"{first.milliseconds}", "1234.5"))
    assert measure_cost(graph, cache=tmp_path).milliseconds == 1234.5
    for content in ("{", "[]", note.read_text().replace(graph.fingerprint, "of another graph")):
        note.write_text(content)
        assert measure_cost(graph, cache=tmp_path).milliseconds < 1000
    assert prepare_backbone(spec, cache=tmp_path) == graph


def test_what_is_beyond_the_budget_is_not_chosen_and_nothing_is_computed_of_it(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "backbones").symlink_to((world.cache / "backbones").resolve())
    result = choose(world, auto(max_megabytes=1), cache=tmp_path)
    found = by_name(result.checkpoint.summary["auto"])
    assert result.checkpoint.model.model_name == TINY
    assert "1 are beyond the budget" in result.checkpoint.summary["auto"]["verdict"]
    assert not found[SMALL]["within_budget"]
    assert found[SMALL]["out_of_fold_loss"] is None
    assert found[SMALL]["difference_to_best"] is None
    pictures = pl.concat([world.rows("train").frame, world.rows("val").frame])["sha256"].n_unique()
    assert (result.features_computed, result.features_reused) == (pictures, 0)


def test_a_budget_that_nobody_meets_names_what_each_costs(world: World) -> None:
    with pytest.raises(WebcamMLError) as caught:
        choose(world, auto(max_milliseconds=1e-6, max_megabytes=0.001))
    text = str(caught.value)
    assert "no candidate is within max_milliseconds 1e-06 and max_megabytes 0.001" in text
    for name in (TINY, SMALL):
        assert re.search(rf"{name} \([\d.]+ ms, [\d.]+ MB\)", text)
    assert "Raise the budget (auto), or add a smaller candidate" in text


# --- a choice that is kept ------------------------------------------------------------------------


def stored_checkpoint(
    store: ArtifactStore, checkpoint: Checkpoint, database: Mapping[str, Any] = DATABASE
) -> StoredArtifact:
    return store.write(
        "checkpoint", checkpoint, inputs={}, provenance=Provenance("run", database=database)
    )[0]


def made_earlier(stored: StoredArtifact, days: float) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    changed = replace(stored.lineage, created_at=long_ago)
    (stored.folder / "lineage.json").write_bytes(changed.to_json())


def test_a_kept_choice_is_found_by_its_question_and_by_its_age(
    world: World, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path)
    meta = world.manifest.meta

    def found(origin: Mapping[str, Any] = DATABASE, **fields: Any) -> Choice | None:
        return earlier_choice(store, settings=auto(**fields), meta=meta, origin=origin)

    assert found() is None
    trained = choose(world, auto()).checkpoint
    stored = stored_checkpoint(store, trained)
    for reconsider in ("never", "monthly"):
        kept = found(reconsider=reconsider)
        assert kept is not None
        assert kept.account == trained.summary["auto"]
        assert kept.kept_from == stored.version
        assert kept.spec.model_name == trained.model.model_name
    assert found(reconsider="always") is None
    # Another question, or labels of another database.
    assert found(max_milliseconds=1000) is None
    assert found(origin={"name": "labels", "demo": True}) is None
    other = replace(meta, target_type="regression", binary_threshold=None)
    assert earlier_choice(store, settings=auto(), meta=other, origin=DATABASE) is None
    # A split that may have webcams in test which the choice was made on.
    for split in ({"seed": 1}, {"train_pct": 60, "test_pct": 25}):
        other = replace(meta, split_config=SplitConfig(**split))
        assert earlier_choice(store, settings=auto(), meta=other, origin=DATABASE) is None
    plain = TrainingSettings(model_name=SMALL, weights="none")
    assert earlier_choice(store, settings=plain, meta=meta, origin=DATABASE) is None
    # One that a clock which was wrong wrote in the future is named all the same.
    made_earlier(stored, days=-2)
    ahead = found()
    assert ahead is not None
    assert ahead.kept_from == stored.version
    # A model of the same choice on other labels keeps its age.
    made_earlier(stored, days=29)
    later = replace(trained, summary={**trained.summary, "labels_sha256": "of other labels"})
    stored_checkpoint(store, later)
    assert found() is not None
    made_earlier(stored, days=31)
    assert found() is None
    never = found(reconsider="never")
    assert never is not None
    assert never.kept_from == stored.version


def test_a_damaged_checkpoint_is_passed_over(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ArtifactStore(tmp_path)
    stored = stored_checkpoint(store, choose(world, auto()).checkpoint)
    (stored.folder / "best.pt").write_bytes(b"cut")
    meta = world.manifest.meta
    assert earlier_choice(store, settings=auto(), meta=meta, origin=DATABASE) is None
    assert "what this checkpoint chose is passed over" in caplog.text


def test_a_kept_choice_trains_that_backbone_and_looks_at_no_other(
    world: World, tmp_path: Path
) -> None:
    made = choose(world, auto()).choice
    assert made is not None
    other = SMALL if made.spec.model_name == TINY else TINY
    spec = next(one for one in auto().backbones if one.model_name == other)
    kept = replace(made, spec=spec, account={**made.account, "chosen": other}, kept_from="v")
    (tmp_path / "backbones").symlink_to((world.cache / "backbones").resolve())
    result = choose(world, auto(), cache=tmp_path, choice=kept)
    assert result.checkpoint.weights == named(world, other).weights
    assert result.checkpoint.summary["auto"]["chosen"] == other
    assert len(list((tmp_path / "features").glob("*.sqlite"))) == 1


# --- settings -------------------------------------------------------------------------------------


def test_each_candidate_sees_the_size_that_it_was_made_for_unless_one_is_set() -> None:
    group = {"candidates": ["resnet18", "timm/tf_efficientnet_lite4.in1k"]}
    sizes = [one.image_size for one in TrainingSettings(model_name="auto", auto=group).backbones]
    assert sizes == [224, 380]
    with_size = TrainingSettings(model_name="auto", image_size=96, auto=group)
    assert [one.image_size for one in with_size.backbones] == [96, 96]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"candidates": ["resnet18"]}, "candidates names resnet18, and auto chooses among two"),
        ({"candidates": ["resnet18", "resnet18"]}, "chooses among two or more"),
        ({"candidates": []}, "candidates names none"),
        ({"candidates": ["resnet18", "resnet5"]}, r"'resnet5', .*did you mean resnet50\?"),
        ({"candidates": ["resnet18", "auto"]}, "'auto', which is no backbone"),
        ({"max_milliseconds": 0}, "max_milliseconds is 0.*above 0"),
        ({"reconsider": "weekly"}, "reconsider is 'weekly'; it must be never, monthly or always"),
    ],
)
def test_what_auto_cannot_mean_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(model_name="auto", auto=fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"auto": {"candidates": [SMALL, "resnet18"]}},
            "model_name is resnet18, so there is nothing",
        ),
        (
            {"model_name": "auto", "weights": "w.pt"},
            r"weights is a file \(w.pt\), .*one network only",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**fields)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ("timm/vit_tiny_patch16_22", "did you mean .*timm/vit_tiny_patch16_224"),
        ("timm/mobilenetv5_300m_enc", r"gives no pooled features but \[1, 2048, 16, 16\]"),
        ("timm/convnextv2_atto.fcmae_ft_in1k", "allow_noncommercial_weights: true"),
    ],
)
def test_a_candidate_that_cannot_be_used_is_refused_before_the_run(
    candidate: str, message: str
) -> None:
    with pytest.raises(WebcamMLError, match=message):
        TrainingSettings(
            model_name="auto", auto={"candidates": ["resnet18", candidate]}
        ).judge_before_run()


def test_without_timm_its_candidates_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm.models", raising=False)
    settings = TrainingSettings(
        model_name="auto", auto={"candidates": ["resnet18", "timm/never_asked_before"]}
    )
    with pytest.raises(WebcamMLError, match=r"pip install 'webcam-ml\[timm\]'"):
        settings.judge_before_run()
