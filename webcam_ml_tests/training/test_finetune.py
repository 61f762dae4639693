import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from webcam_ml.contracts import target_of
from webcam_ml.dataset import TargetConfig, rows_with_pictures
from webcam_ml.disagreement._predictions import candidate_predictions
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import adopt_backbone, extract_features, prepare_backbone
from webcam_ml.features._half import MIN_SIZE
from webcam_ml.metrics import WebcamEstimate, paired_difference
from webcam_ml.metrics._scales import IDENTITY
from webcam_ml.training import Checkpoint, FineTuneSettings, TrainingSettings, fit_probe, predict
from webcam_ml.training._challenge import Challenge
from webcam_ml.training._finetune import FineTuned, FineTuneTask, fine_tune, validation_metric
from webcam_ml.training._finetune_files import load_state
from webcam_ml.training._finetune_settings import Machine, find_machine
from webcam_ml.training._lightning import augment, share_of_rate
from webcam_ml_tests.world import SPEC, World, make_labels, make_world

# Two epochs over 88 pictures at 64 pixels: what is proved does not depend on their number.
SHORT = FineTuneSettings(epochs=2, batch_size=16, learning_rate=1e-4, warmup_epochs=0.5)
CPU = Machine(accelerator="cpu", devices=1, precision="32-true")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks of this size gain nothing from a second thread, and tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def task(world: World) -> FineTuneTask:
    return make_task(world)


def make_task(world: World) -> FineTuneTask:
    train, val = (world.rows(split).frame for split in ("train", "val"))
    rows = pl.concat([train, val])
    target = rows["target_label"].to_numpy().astype(np.float64)
    binary = world.manifest.meta.target_type == "binary"
    if not binary:
        target = (target - 1.0) / 4.0
    graph = prepare_backbone(SPEC, cache=world.cache)
    digests = rows["sha256"].to_list()
    features = extract_features(graph, digests, images=world.images, cache=world.cache)
    head = fit_probe(
        features.values[: train.height],
        target[: train.height],
        train["camera_id"].to_numpy(),
        asked=target_of(world.manifest.meta.target_type),
    ).head
    return FineTuneTask(
        graph=graph,
        head=head,
        spec=SPEC,
        digests=digests,
        target=target,
        train_rows=train.height,
        target_type=world.manifest.meta.target_type,
    )


def tune(world: World, task: FineTuneTask, cache: Path, **changes: object) -> FineTuned:
    return fine_tune(
        task,
        settings=SHORT.model_copy(update=changes),
        images=world.images,
        cache=cache,
    )


@pytest.fixture(scope="module")
def tuned(world: World, task: FineTuneTask, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """An undisturbed training."""
    return tune(world, task, tmp_path_factory.mktemp("undisturbed"))


def test_training_starts_exactly_at_the_probe(
    world: World, task: FineTuneTask, tuned: FineTuned
) -> None:
    features = extract_features(
        task.graph,
        task.digests[task.train_rows :],
        images=world.images,
        cache=world.cache,
    )
    target = task.target[task.train_rows :]
    value = task.head(features.values)
    start = tuned.history[0]
    loss = float(np.mean(np.logaddexp(0, value) - target * value))
    # Whole grey levels and another engine: that is all that differs.
    assert start["val_metric"] == pytest.approx(roc_auc_score(target, value), abs=0.02)
    assert start["val_loss"] == pytest.approx(loss, abs=0.02)


def test_every_epoch_is_in_the_history_and_the_best_one_is_kept(tuned: FineTuned) -> None:
    assert [entry["epoch"] for entry in tuned.history] == [0, 1, 2]
    assert tuned.history[0]["train_loss"] is None
    assert all(entry["train_loss"] is not None for entry in tuned.history[1:])
    metrics = [entry["val_metric"] for entry in tuned.history[1:]]
    assert tuned.best_epoch == 1 + int(np.argmax(metrics))
    assert tuned.stopped == "all 2 epochs are done"


def test_equal_seeds_give_equal_networks_and_other_seeds_others(
    world: World, task: FineTuneTask, tuned: FineTuned, tmp_path: Path
) -> None:
    same = tune(world, task, tmp_path / "a")
    assert same.history == tuned.history
    assert same.head is not None
    assert tuned.head is not None
    np.testing.assert_array_equal(same.head.weight, tuned.head.weight)
    other = tune(
        world,
        replace(task, spec=SPEC.model_copy(update={"random_state": 1})),
        tmp_path / "b",
        epochs=1,
    )
    assert other.history[1]["train_loss"] != tuned.history[1]["train_loss"]


# Runs one training and ends it by SIGKILL at a chosen moment.
KILLED = """
import os, signal, sys
from pathlib import Path
import webcam_ml.training._lightning as loop
from webcam_ml_tests.training.test_finetune import SHORT, make_task, tune
from webcam_ml_tests.world import make_world

world = make_world(Path(sys.argv[1]))
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[3] == "epoch":
    augment, batches = loop.augment, []
    def augment_or_die(*arguments, **options):
        batches.append(1)
        if len(batches) == 8:  # of 5 an epoch
            die()
        return augment(*arguments, **options)
    loop.augment = augment_or_die
else:
    replace = Path.replace
    def replace_or_die(self, target):
        if Path(target).name == "state.pt":
            die()
        return replace(self, target)
    Path.replace = replace_or_die
tune(world, make_task(world), Path(sys.argv[2]))
"""


def test_a_training_killed_in_an_epoch_and_then_in_a_write_goes_on_and_ends_the_same(
    world: World, task: FineTuneTask, tuned: FineTuned, tmp_path: Path
) -> None:
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    for moment in ("epoch", "write"):
        command = [sys.executable, "-c", KILLED, str(world.cache.parent), str(tmp_path), moment]
        killed = subprocess.run(
            command, env=one_thread, capture_output=True, text=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        (folder,) = (path for path in (tmp_path / "finetuning").iterdir() if path.is_dir())
        # Both died in the second epoch; the second one after it had gone on from the first.
        assert load_state(folder / "state.pt")["epochs_done"] == 1
        assert not (folder / "outcome.json").exists()
    assert list(folder.glob(".state.pt.*.tmp"))

    gone_on = tune(world, task, tmp_path)
    assert gone_on.history == tuned.history
    assert gone_on.stopped == tuned.stopped
    assert gone_on.backbone is not None
    assert tuned.backbone is not None
    for name, tensor in tuned.backbone.items():
        torch.testing.assert_close(gone_on.backbone[name], tensor)
    # Only what a second asking needs is left.
    assert sorted(path.name for path in folder.iterdir()) == [
        f"best-{tuned.best_epoch}.pt",
        "outcome.json",
    ]


def test_what_was_trained_before_is_not_trained_again(
    world: World, task: FineTuneTask, tmp_path: Path
) -> None:
    first = tune(world, task, tmp_path, epochs=1)
    (outcome,) = (tmp_path / "finetuning").glob("*/outcome.json")
    text = outcome.read_text()
    assert '"stopped": "all 1 epochs are done"' in text
    outcome.write_text(text.replace("all 1 epochs are done", "read from the folder"))
    again = tune(world, task, tmp_path, epochs=1)
    assert again.stopped == "read from the folder"
    assert again.history == first.history
    # Another setting is another training.
    assert tune(world, task, tmp_path, epochs=1, flip=0.0).stopped == "all 1 epochs are done"


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_state_is_noticed_and_training_starts_anew(
    world: World, task: FineTuneTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = tune(world, task, tmp_path, epochs=1)
    (folder,) = (path for path in (tmp_path / "finetuning").iterdir() if path.is_dir())
    for content in (b"PK junk", pickle.dumps(Evil())):
        (folder / "outcome.json").unlink()
        (folder / "state.pt").write_bytes(content)
        assert tune(world, task, tmp_path, epochs=1).history == undisturbed.history
    assert "code ran" not in capsys.readouterr().out


def test_a_learning_rate_that_diverges_stops_with_the_reason_and_the_probe_stays(
    world: World,
) -> None:
    settings = SHORT.model_copy(update={"learning_rate": 50.0, "warmup_epochs": 0.0})
    result = world.train(strategy="finetune", finetune=settings).checkpoint
    plain = world.train().checkpoint
    assert result.weights == plain.weights
    assert result.predictions.equals(plain.predictions)
    said = result.summary["finetune"]
    assert said["kept"] == "probe"
    assert said["diverged"]
    assert said["gain"] is None
    assert "learning_rate 50 is too high: try a tenth of it" in said["stopped"]
    assert said["stopped"] in said["verdict"]
    json.dumps(said, allow_nan=False)


def test_a_network_that_runs_away_in_the_last_step_of_an_epoch_has_diverged_too(
    world: World, task: FineTuneTask, tmp_path: Path
) -> None:
    # One step an epoch: no loss comes after it that could tell.
    lost = tune(
        world,
        task,
        tmp_path,
        epochs=1,
        warmup_epochs=0.0,
        batch_size=task.train_rows,
        learning_rate=1e6,
    )
    assert lost.diverged
    assert lost.backbone is None
    assert "learning_rate 1e+06 is too high" in lost.stopped
    assert [entry["val_metric"] is None for entry in lost.history] == [False, True]


def test_training_stops_early_when_nothing_gets_better(
    world: World, task: FineTuneTask, tmp_path: Path
) -> None:
    # A rate that moves nothing: no epoch can be better than the first.
    still = tune(world, task, tmp_path, epochs=6, patience=1, learning_rate=1e-12)
    assert still.best_epoch == 1
    assert [entry["epoch"] for entry in still.history] == [0, 1, 2]
    assert still.stopped == "no epoch after 1 was better, in 1 epochs (patience)"


class Rivals:
    """One fine-tuning, once with a bound that it clears and once with the real one."""

    def __init__(self, folder: Path) -> None:
        # Enough webcams for an interval of the difference.
        labels = make_labels(webcams=60, per_webcam=3, folder=folder / "pictures")
        self.world = make_world(folder, labels=labels)
        settings = SHORT.model_copy(update={"epochs": 1})
        with pytest.MonkeyPatch.context() as patch:
            # A bound that leaves almost no doubt to overcome: any gain passes, and any loss.
            patch.setattr("webcam_ml.training._challenge.GAIN_CONFIDENCE", 1e-9)
            self.won = self.world.train(strategy="finetune", finetune=settings)
        self.lost = self.world.train(strategy="finetune", finetune=settings)


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> Rivals:
    return Rivals(tmp_path_factory.mktemp("rivals"))


def test_the_probe_stays_to_the_byte_unless_the_bound_is_above_zero(rivals: Rivals) -> None:
    said = rivals.lost.checkpoint.summary["finetune"]
    assert said["gain"]["lower_bound"] <= 0
    assert said["kept"] == "probe"
    assert said["verdict"].startswith("the probe stays, because the fine-tuned network may be no")
    probe = rivals.world.train().checkpoint
    assert rivals.lost.checkpoint.weights == probe.weights
    assert rivals.lost.checkpoint.predictions.equals(probe.predictions)
    # The second training was read from the folder of the first, its features were kept.
    assert rivals.lost.features_computed == 0


def test_the_gain_is_the_paired_difference_on_validation(rivals: Rivals) -> None:
    challenge = rivals.lost.challenge
    assert challenge is not None
    assert challenge.val_score is not None
    val = rivals.world.rows("val").frame
    probe = rivals.lost.checkpoint.predictions.filter(pl.col("split") == "val")["raw_score"]
    reference = paired_difference(
        "roc_auc", val["target_label"], challenge.val_score, probe,
        webcam_id=val["webcam_id"], random_state=SPEC.random_state,
    )  # fmt: skip
    said = rivals.lost.checkpoint.summary["finetune"]["gain"]
    assert said["value"] == pytest.approx(reference.value, abs=1e-6)
    assert said["lower_bound"] == pytest.approx(reference.lower_bound(0.90), abs=1e-6)


def test_a_fine_tuned_network_goes_through_all_that_follows_like_any_other(
    rivals: Rivals, tmp_path: Path
) -> None:
    world, trained = rivals.world, rivals.won.checkpoint
    trained.save(tmp_path)
    checkpoint = Checkpoint.load(tmp_path)
    assert checkpoint.summary["finetune"]["kept"] == "fine_tuned"
    assert checkpoint.loss_curve == trained.loss_curve
    assert checkpoint.loss_curve is not None
    assert checkpoint.loss_curve.startswith(b"\x89PNG")
    # Training rows are the probe's, out of fold, and say so; validation rows are its own.
    probe = rivals.lost.checkpoint.predictions
    train, val = (
        checkpoint.predictions.filter(pl.col("split") == split) for split in ("train", "val")
    )
    assert set(train["kind"]) == {"out_of_fold_probe"}
    assert train["raw_score"].equals(probe.filter(pl.col("split") == "train")["raw_score"])
    assert set(val["kind"]) == {"held_out"}
    scores = predict(checkpoint, world.rows("val").frame, images=world.images, cache=world.cache)
    np.testing.assert_allclose(val["raw_score"], scores.raw_score, atol=1e-6)
    # Without the cache its graph is exported again, to the same bytes.
    model = checkpoint.model
    graphs = [
        adopt_backbone(model.backbone, spec=SPEC, cache=cache)
        for cache in (world.cache, tmp_path / "cache")
    ]
    assert graphs[0].model == graphs[1].model
    # What is evaluated, stored and served is rounded, once.
    weights = [
        tensor
        for tensor in model.backbone.values()
        if tensor.ndim > 1 and tensor.numel() >= MIN_SIZE
    ]
    assert weights
    assert all(torch.equal(tensor.half().float(), tensor) for tensor in weights)
    assert graphs[0].key == model.backbone_key
    exported = world.export(checkpoint)
    assert exported.parity.at_most <= 1e-4
    compared = candidate_predictions(
        exported,
        checkpoint,
        rows_with_pictures(world.manifest, world.index),
        images=world.images,
        cache=world.cache,
    )
    assert set(compared.frame["prediction_kind"]) == {"out_of_fold_probe", "model"}


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (0.03, "the fine-tuned network is taken: on validation its roc_auc is 0.0300 better, and"),
        (
            -0.03,
            "the probe stays, because the fine-tuned network may be no better: on validation its",
        ),
    ],
)
def test_the_verdict_calls_a_loss_a_loss(gain: float, sentence: str) -> None:
    estimate = WebcamEstimate(
        value=gain,
        scale=IDENTITY,
        standard_error=0.001,
        rows=40,
        webcams=9,
        effective_webcams=8.0,
    )
    parts: dict[str, Any] = dict.fromkeys(part.name for part in fields(Challenge))
    judged = Challenge(**{**parts, "gain": estimate, "metric": "roc_auc"})
    assert judged.verdict.startswith(sentence)
    assert ("0.0300 worse, and" in judged.verdict) == (gain < 0)


def test_regression_is_tuned_by_its_own_loss_and_metric(world: World, tmp_path: Path) -> None:
    here = make_world(
        tmp_path / "w", target=TargetConfig(target_type="regression"), labels=world.labels
    )
    tuned = tune(here, make_task(here), tmp_path / "cache", epochs=1)
    assert tuned.best_epoch == 1
    # The mean absolute error in stars.
    assert 0.3 < tuned.history[0]["val_metric"] < 2.0


def test_metrics_of_validation_are_those_of_the_reports() -> None:
    target, value = np.array([0.0, 1.0, 1.0, 0.0]), np.array([-2.0, 3.0, -1.0, 0.5])
    assert validation_metric(value, target=target, target_type="binary") == 0.75
    rating = np.array([0.0, 0.5, 1.0])
    # A prediction outside the scale is clamped, as the model's score is.
    error = validation_metric(np.array([-0.5, 0.5, 0.75]), target=rating, target_type="regression")
    assert error == pytest.approx((0 + 0 + 1) / 3)


def test_without_augmentation_a_picture_is_left_as_it_is() -> None:
    pictures = torch.rand(4, 3, 20, 20) * 255
    plain = SHORT.model_copy(update={"flip": 0.0, "color_jitter": 0.0, "min_crop": 1.0})
    assert torch.equal(augment(pictures, plain, seed=1), pictures)


def test_a_mirrored_picture_is_exactly_that() -> None:
    pictures = torch.rand(4, 3, 20, 20) * 255
    mirror = SHORT.model_copy(update={"flip": 1.0, "color_jitter": 0.0, "min_crop": 1.0})
    torch.testing.assert_close(
        augment(pictures, mirror, seed=1), pictures.flip(3), atol=1e-3, rtol=0.0
    )


def test_augmentation_is_a_function_of_its_seed_and_stays_on_the_scale() -> None:
    pictures = torch.rand(8, 3, 20, 20) * 255
    wild = SHORT.model_copy(update={"flip": 0.5, "color_jitter": 0.4, "min_crop": 0.8})
    one, two, other = (augment(pictures, wild, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255


def test_crops_keep_the_share_of_the_picture_that_they_are_asked_to() -> None:
    # A picture whose grey is its column: a crop's range is its width.
    ramp = torch.arange(100.0).expand(1, 3, 100, 100)
    spans = []
    for seed in range(200):
        row = augment(
            ramp,
            SHORT.model_copy(update={"color_jitter": 0.0, "flip": 0.0, "min_crop": 0.8}),
            seed=seed,
        )[0, 0, 50]
        spans.append(float(row.max() - row.min()) / 99)
    assert min(spans) > np.sqrt(0.8) - 0.01
    assert max(spans) > 0.98


def test_the_learning_rate_rises_falls_and_ends_at_nothing() -> None:
    rates = [share_of_rate(step, steps=100, rising=10) for step in range(101)]
    assert np.argmax(rates) == 10
    assert rates[10] == 1.0
    assert rates[0] == pytest.approx(1 / 11)
    assert all(np.diff(rates[10:]) < 0)
    assert rates[100] == pytest.approx(0.0)
    assert share_of_rate(0, steps=10, rising=0) == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0; .* of at least 1: strategy: linear_probe trains none"),
        ({"patience": 0}, "patience is 0; it must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be a number above 0"),
        (
            {"learning_rate": 1e38},
            r"learning_rate is 1e\+38; .* at most 1e\+06. The default is 0.0001",
        ),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; it must be a number of at least 0"),
        ({"warmup_epochs": 2.0}, "warmup_epochs is 2; it must be less than epochs, which is 2"),
        ({"flip": 1.5}, "flip is 1.5; it must be a number from 0 to 1"),
        ({"color_jitter": 0.9}, "color_jitter is 0.9; it must be a number from 0 to 0.4"),
        ({"min_crop": 0.5}, "min_crop is 0.5; it must be a number from 0.8 to 1"),
        ({"devices": 0}, "devices is 0; it must be 1 or more, or -1"),
        (
            {"gradient_clip_val": -1.0},
            "gradient_clip_val is -1.0; it must be a number of at least 0",
        ),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches is 0; .* of at least 1"),
        ({"num_workers": 0}, "num_workers is 0; it must be a whole number of at least 1"),
        ({"num_workers": 2, "devices": 3}, "num_workers is 2 and devices 3: each process of a"),
        ({"accelerator": "tpu"}, "accelerator is 'tpu'; it must be auto, cpu or gpu"),
        ({"precision": "64"}, "precision is '64'; it must be auto, 32-true"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(WebcamMLError, match=message):
        FineTuneSettings(**(SHORT.model_dump() | changes))


def test_a_batch_larger_than_the_data_is_refused_before_any_feature_is_computed(
    world: World, tmp_path: Path
) -> None:
    rows = world.rows("train").frame.height
    with pytest.raises(WebcamMLError, match=rf"batch_size {rows + 1} is more than the {rows}"):
        world.train(
            tmp_path / "cache",
            strategy="finetune",
            finetune=SHORT.model_copy(update={"batch_size": rows + 1}),
        )
    assert not (tmp_path / "cache").exists()


def test_processes_of_a_cluster_are_refused_where_there_is_none_before_any_feature_is_computed(
    world: World, tmp_path: Path
) -> None:
    settings = SHORT.model_copy(update={"num_workers": 2})
    with pytest.raises(WebcamMLError, match=r"num_workers is 2: .* the engine is local"):
        world.train(tmp_path / "cache", strategy="finetune", finetune=settings)
    assert not (tmp_path / "cache").exists()


def test_what_is_trained_on_one_machine_does_not_say_that_there_are_clusters() -> None:
    """It did not before there were, and what says otherwise has another version."""
    assert "num_workers" not in SHORT.model_dump()
    assert SHORT.model_copy(update={"num_workers": 2}).model_dump()["num_workers"] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accelerator": "gpu"}, "accelerator: gpu is asked for, and torch finds no CUDA device"),
        ({"precision": "16-mixed"}, "precision: 16-mixed needs a GPU"),
    ],
)
def test_a_gpu_asked_for_where_there_is_none_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(WebcamMLError, match=message):
        find_machine(SHORT.model_copy(update=changes))
    assert find_machine(SHORT.model_copy(update={"devices": -1})) == CPU


def test_settings_for_another_strategy_are_refused_not_ignored() -> None:
    with pytest.raises(WebcamMLError, match="set strategy: finetune, or leave them out"):
        TrainingSettings(finetune=SHORT)
