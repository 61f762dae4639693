"""Training with rows that only judges know: soft targets, no more and no less."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize

from webcam_ml.contracts import Target, sigmoid, target_of
from webcam_ml.dataset import SplitConfig, TargetConfig
from webcam_ml.labels import Labels
from webcam_ml.training import FineTuneSettings, JudgedRows, fit_probe
from webcam_ml.training._finetune import FineTuneTask, _weights, fine_tune
from webcam_ml_tests.dataset.judges.said import JUDGES, Judge, with_external, with_judges
from webcam_ml_tests.training.test_probe import drawn
from webcam_ml_tests.world import World, draw, make_labels, make_world

ASKED = [target_of("binary"), target_of("regression")]
SPLIT = SplitConfig(train_pct=60, val_pct=20, test_pct=20)  # that of a world
# Enough to see that what is learned differs.
EPOCH = FineTuneSettings(epochs=1, batch_size=32, learning_rate=1e-4, warmup_epochs=0.5)
BY_TYPE = pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)


def judged_rows(*, seed: int = 1, weight: float = 0.3, shift: int = 10**6) -> JudgedRows:
    """Rows of webcams that people know nothing of, unless `shift` is 0."""
    features, target, groups = drawn(seed=seed)
    random = np.random.default_rng(seed)
    share = np.clip(0.2 + 0.6 * target + random.normal(scale=0.1, size=len(target)), 0, 1)
    return JudgedRows(features, share, np.full(len(share), weight), groups + shift)


def test_a_share_is_learned_as_the_soft_optimum() -> None:
    features, target, groups = drawn()
    judged = judged_rows()
    probe = fit_probe(features, target, groups, asked=ASKED[0], judged=judged)
    # The weighted cross entropy with soft targets, minimised directly.
    x = features.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = (np.concatenate([x, judged.features.astype(np.float64)]) - mean) / scale
    t = np.concatenate([target, judged.target])
    w = np.concatenate([np.ones(len(target)), judged.weight])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value = z @ parameters[:-1] + parameters[-1]
        each = np.logaddexp(0, value) - t * value
        residual = probe.penalty * w * (sigmoid(value) - t)
        penalty = parameters[:-1] @ parameters[:-1] / 2
        gradient = np.append(z.T @ residual + parameters[:-1], residual.sum())
        return float(probe.penalty * (w * each).sum() + penalty), gradient

    found = minimize(loss, np.zeros(z.shape[1] + 1), jac=True, method="BFGS", tol=1e-10).x
    expected = z[: len(x)] @ found[:-1] + found[-1]
    np.testing.assert_allclose(probe.head(features), expected, atol=5e-3)


@BY_TYPE
def test_a_row_that_weighs_one_and_is_sure_counts_like_one_of_people(asked: Target) -> None:
    """In the fit itself; what it is standardised by stays people's."""
    features, target, groups = drawn()
    twice = JudgedRows(features, target, np.ones(len(target)), groups + 10**6)
    doubled = fit_probe(features, target, groups, asked=asked, judged=twice)
    alone = fit_probe(
        np.tile(features, (2, 1)), np.tile(target, 2), np.tile(groups, 2), asked=asked
    )
    if doubled.penalty == alone.penalty:
        np.testing.assert_allclose(doubled.head(features), alone.head(features), atol=5e-3)
    assert not np.allclose(
        doubled.head(features), fit_probe(features, target, groups, asked=asked).head(features)
    )


@BY_TYPE
def test_no_head_sees_a_judge_on_the_webcams_that_it_is_judged_on(asked: Target) -> None:
    features, target, groups = drawn()
    judged = judged_rows(shift=0, weight=0.2)
    before = fit_probe(features, target, groups, asked=asked, judged=judged)
    compared = 0
    for group in np.unique(groups)[:6]:
        own = judged.groups == group
        turned = replace(judged, target=np.where(own, 1 - judged.target, judged.target))
        after = fit_probe(features, target, groups, asked=asked, judged=turned)
        if after.penalty != before.penalty:
            continue
        compared += 1
        rows = groups == group
        np.testing.assert_array_equal(after.out_of_fold[rows], before.out_of_fold[rows])
        assert (after.out_of_fold[~rows] != before.out_of_fold[~rows]).any()
    assert compared >= 2


@BY_TYPE
def test_judges_move_neither_standardisation_nor_folds(asked: Target) -> None:
    features, target, groups = drawn()
    far = replace(judged_rows(weight=1e-9), features=judged_rows().features * 50)
    with_far = fit_probe(features, target, groups, asked=asked, judged=far)
    alone = fit_probe(features, target, groups, asked=asked)
    assert (with_far.folds, with_far.penalty) == (alone.folds, alone.penalty)
    np.testing.assert_allclose(with_far.head(features), alone.head(features), atol=5e-3)


def test_balanced_classes_are_those_of_people() -> None:
    features, target, groups = drawn()
    many = judged_rows(weight=1e-9)
    one_sided = replace(many, target=np.ones(len(many.target)))
    heads = [
        fit_probe(
            features, target, groups, asked=ASKED[0], class_weight="balanced", judged=judged
        ).head(features)
        for judged in (None, one_sided)
    ]
    np.testing.assert_allclose(heads[0], heads[1], atol=5e-3)


def world_of(folder: Path, labels: Labels, target: TargetConfig) -> World:
    return make_world(folder, labels=labels, target=target)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> World:
    """What people would say of every snapshot; pictures are drawn by it."""
    folder = tmp_path_factory.mktemp("judged")
    return make_world(folder / "all", labels=make_labels(webcams=90, per_webcam=8, folder=folder))


@pytest.fixture
def labels(everything: World) -> Labels:
    return everything.labels


@pytest.fixture
def cache(everything: World) -> Path:
    return everything.cache


def draw_photos(folder: Path) -> Path:
    folder.mkdir()
    for number in range(1, 31):
        (folder / f"photo{number}.jpg").write_bytes(draw(1 + number % 5, 5000 + number))
    return folder


def heard(labels: Labels, judges: Mapping[str, Judge]) -> Labels:
    return with_judges(labels, judges, known=0.7)


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_a_judge_is_learned_from_on_training_webcams_only(
    labels: Labels, cache: Path, tmp_path: Path, target_type: str
) -> None:
    target = TargetConfig(target_type=target_type)
    judged = heard(labels, {"good": JUDGES["good"]})
    assert judged.judged is not None
    world = world_of(tmp_path / "judged", judged, target)
    trained = world.train(cache).checkpoint
    alone = world_of(tmp_path / "alone", replace(judged, judged=None), target)
    assert world.rows("train").judged.height > 0
    assert trained.summary["judged"]["rows"] == world.rows("train").judged.height
    without = alone.train(cache).checkpoint
    assert trained.weights != without.weights
    assert "judged" not in without.summary
    # Predictions are of people's rows: a judge's are learned from and nothing else.
    assert trained.predictions["snapshot_id"].equals(without.predictions["snapshot_id"])
    for name in ("rows", "webcams", "baselines"):
        assert trained.summary[name] == without.summary[name]

    other = turned(judged, lambda webcam: SPLIT.split_of(webcam) != "train")
    again = world_of(tmp_path / "turned", other, target).train(cache).checkpoint
    assert again.weights == trained.weights


def turned(labels: Labels, of: Callable[[int], bool]) -> Labels:
    """Let the judge say the opposite of every snapshot of some webcams."""
    assert labels.judged is not None
    known = [labels.frame, labels.judged.snapshots]
    places = pl.concat([one.select("snapshot_id", "webcam_id") for one in known])
    chosen = places.filter(pl.Series([of(webcam) for webcam in places["webcam_id"]]))
    before = labels.judged.said
    said = before.with_columns(
        value=pl.when(pl.col("snapshot_id").is_in(chosen["snapshot_id"].implode()))
        .then(1 - pl.col("value"))
        .otherwise(pl.col("value"))
    )
    assert not said.equals(before)
    assert said.columns == before.columns
    return replace(labels, judged=replace(labels.judged, said=said))


class NotTrainedError(Exception):
    """It is enough to know what would be learned."""


def task_of(world: World, cache: Path, **settings: object) -> FineTuneTask:
    """What fine-tuning is to learn in a world."""
    tasks: list[FineTuneTask] = []

    def keep(model: object, task: FineTuneTask, **others: object) -> None:
        tasks.append(task)
        raise NotTrainedError

    with pytest.MonkeyPatch.context() as patch, suppress(NotTrainedError):
        patch.setattr("webcam_ml.training._training.challenge", keep)
        world.train(cache, strategy="finetune", finetune=EPOCH, **settings)
    (task,) = tasks
    return task


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_fine_tuning_learns_the_manifests_targets_with_its_weights(
    labels: Labels, cache: Path, tmp_path: Path, target_type: str
) -> None:
    heard_good = heard(labels, {"good": JUDGES["good"]})
    photos = draw_photos(tmp_path / "photos")
    judged = with_external(heard_good, "good", pictures=30, gold=12, folder=photos)
    world = world_of(tmp_path / "judged", judged, TargetConfig(target_type=target_type))
    train, val = world.rows("train"), world.rows("val")
    people = train.of_people.frame
    assert {"people", "judge:good"} == set(train.judged["label_origin"])
    assert set(people["label_weight"]) == {1.0}
    # A judge says nothing of what the epoch is chosen by.
    assert set(val.frame["label_origin"]) == {"people"}
    expected = pl.concat([people, train.judged, val.frame])
    target = target_of(target_type).to_head(expected["target_label"].to_numpy())
    weight = np.concatenate([np.ones(people.height), train.judged["label_weight"].to_numpy()])

    task = task_of(world, cache)
    assert task.digests == expected["sha256"].to_list()
    assert task.train_rows == len(weight)
    np.testing.assert_array_equal(task.target, target)
    np.testing.assert_array_equal(_weights(task), weight.astype(np.float32))
    if target_type == "binary":
        # Balanced are the classes of people, whatever share a judge calls positive.
        positive = float((people["target_label"] == 1).mean())
        learned = target[: len(weight)]
        of_class = learned * 0.5 / positive + (1 - learned) * 0.5 / (1 - positive)
        balanced = task_of(world, cache, class_weight="balanced")
        np.testing.assert_allclose(_weights(balanced), weight * of_class, rtol=1e-6)


def test_fine_tuning_hears_a_judge_on_training_webcams_only(
    labels: Labels, cache: Path, tmp_path: Path
) -> None:
    judged = heard(labels, {"good": JUDGES["good"]})
    assert judged.judged is not None
    train_webcam = next(
        one for one in judged.judged.snapshots["webcam_id"] if SPLIT.split_of(one) == "train"
    )

    worlds = {
        name: world_of(tmp_path / name, said, TargetConfig())
        for name, said in {
            "before": judged,
            "reserved": turned(judged, lambda one: SPLIT.split_of(one) != "train"),
            "other": turned(judged, lambda one: one == train_webcam),
        }.items()
    }
    tasks = {name: task_of(world, cache) for name, world in worlds.items()}
    head = tasks["before"].head
    np.testing.assert_array_equal(tasks["reserved"].head.weight, head.weight)
    # All start from one head: that it hears the judge itself is shown above.
    before, reserved, other = (
        fine_tune(
            replace(task, head=head),
            settings=EPOCH,
            images=worlds[name].images,
            cache=tmp_path / f"{name}-tuned",
        )
        for name, task in tasks.items()
    )
    assert before.backbone is not None
    assert reserved.backbone is not None
    assert other.backbone is not None
    for name, tensor in before.backbone.items():
        assert torch.equal(tensor, reserved.backbone[name])
    assert before.history == reserved.history
    weight = next(name for name, tensor in before.backbone.items() if tensor.ndim > 1)
    assert not torch.equal(before.backbone[weight], other.backbone[weight])


@pytest.mark.parametrize("target_type", ["binary", "regression"])
@pytest.mark.parametrize("name", ["noise", "constant", "inverted"])
def test_a_judge_that_cannot_be_trusted_changes_no_byte_of_the_model(
    labels: Labels, cache: Path, tmp_path: Path, name: str, target_type: str
) -> None:
    target = TargetConfig(target_type=target_type)
    judged = heard(labels, {name: JUDGES[name]})
    world = world_of(tmp_path / "judged", judged, target)
    alone = world_of(tmp_path / "alone", replace(judged, judged=None), target)
    trained = world.train(cache).checkpoint
    assert trained.weights == alone.train(cache).checkpoint.weights


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_photographs_teach_the_head_and_touch_nothing_else(
    labels: Labels, cache: Path, tmp_path: Path, target_type: str
) -> None:
    target = TargetConfig(target_type=target_type)
    photos = draw_photos(tmp_path / "photos")
    (photos / "photo7.jpg").unlink()  # a dead address
    nobody = heard(labels, {"noise": JUDGES["noise"]})
    with_gold = with_external(nobody, "noise", pictures=30, gold=12, folder=photos)
    scored_alone = with_external(nobody, "noise", pictures=30, gold=0, folder=photos)
    trained = world_of(tmp_path / "gold", with_gold, target)
    rows = trained.rows("train")
    assert sorted(rows.judged["snapshot_id"]) == [one for one in range(-12, 0) if one != -7]
    assert rows.left_out == {"not_found": 1}
    checkpoint = trained.train(cache).checkpoint
    assert checkpoint.summary["judged"] == {"rows": 11, "weight": 11 * 0.25}
    without = world_of(tmp_path / "alone", nobody, target).train(cache).checkpoint
    assert checkpoint.weights != without.weights
    for name in ("rows", "webcams", "baselines"):
        assert checkpoint.summary[name] == without.summary[name]
    assert checkpoint.predictions["snapshot_id"].equals(without.predictions["snapshot_id"])
    # Scores of a judge that does not speak add nothing: the same bytes.
    unheard = world_of(tmp_path / "scores", scored_alone, target).train(cache).checkpoint
    assert unheard.weights == without.weights
