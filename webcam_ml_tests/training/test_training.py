import io
import pickle
import shutil
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from webcam_ml.dataset import TargetConfig, rows_with_pictures
from webcam_ml.disagreement._predictions import candidate_predictions
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import (
    BACKBONES,
    BackboneSpec,
    extract_features,
    prepare_backbone,
    require_weights,
)
from webcam_ml.features._backbones import _noise_pictures, get_backbone, load_weights
from webcam_ml.training import (
    Checkpoint,
    TrainedModel,
    TrainingSettings,
    predict,
    train,
)
from webcam_ml_tests.world import SPEC, World, make_world

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world: World) -> Checkpoint:
    return world.train().checkpoint


@pytest.fixture
def cache(world: World, checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """The exported backbone without any features."""
    shutil.copytree(world.cache / "backbones", tmp_path / "cache" / "backbones")
    return tmp_path / "cache"


def test_a_second_training_computes_nothing_and_gives_equal_bytes(
    world: World, checkpoint: Checkpoint
) -> None:
    again = world.train()
    assert again.features_computed == 0
    assert again.checkpoint.weights == checkpoint.weights
    assert again.checkpoint.summary == checkpoint.summary
    assert again.checkpoint.predictions.equals(checkpoint.predictions)


def test_a_cold_and_an_incremental_run_give_identical_checkpoints(
    world: World, checkpoint: Checkpoint, cache: Path
) -> None:
    graph = prepare_backbone(SPEC, cache=cache)
    digests = pl.concat([world.rows("train").frame, world.rows("val").frame])["sha256"].to_list()
    some = digests[::3]
    first = extract_features(graph, some, images=world.images, cache=cache)
    assert (first.computed, first.reused) == (len(some), 0)
    rest = world.train(cache)
    assert rest.features_computed == len(set(digests) - set(some))
    assert rest.features_reused == len(some)
    assert rest.checkpoint.weights == checkpoint.weights


def test_labels_of_test_rows_change_no_byte_of_the_model(
    world: World, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    test_webcams = world.manifest.split("test").frame["webcam_id"].unique().to_list()
    turned = world.labels.frame.with_columns(
        pl.when(pl.col("webcam_id").is_in(test_webcams))
        .then(6 - pl.col("label_value"))
        .otherwise(pl.col("label_value"))
        .alias("label_value")
    )
    assert not turned.equals(world.labels.frame)
    other = make_world(tmp_path / "w", labels=replace(world.labels, frame=turned))
    assert other.train(world.cache).checkpoint.weights == checkpoint.weights


def test_predictions_cover_train_out_of_fold_and_validation_held_out(
    world: World, checkpoint: Checkpoint
) -> None:
    kinds = dict(checkpoint.predictions.select("snapshot_id", "kind").iter_rows())
    train = world.rows("train").frame["snapshot_id"].to_list()
    val = world.rows("val").frame["snapshot_id"].to_list()
    assert kinds == dict.fromkeys(train, "out_of_fold") | dict.fromkeys(val, "held_out")
    assert checkpoint.predictions.columns == [
        "snapshot_id", "webcam_id", "split", "target", "raw_score", "kind",
    ]  # fmt: skip
    held_out = checkpoint.predictions.filter(pl.col("kind") == "held_out")
    scores = predict(checkpoint, world.rows("val").frame, images=world.images, cache=world.cache)
    np.testing.assert_allclose(held_out["raw_score"], scores.raw_score, atol=1e-6)


@pytest.mark.parametrize("target_type", ["binary", "regression"])
def test_a_checkpoint_is_read_back_and_scores_as_the_torch_network(
    world: World, tmp_path: Path, target_type: str
) -> None:
    target = TargetConfig(target_type=target_type)
    here = make_world(tmp_path / "w", target=target, labels=world.labels)
    trained = here.train(world.cache).checkpoint
    (tmp_path / "c").mkdir()
    trained.save(tmp_path / "c")
    again = Checkpoint.load(tmp_path / "c")
    assert again.weights == trained.weights
    assert again.model.target_type == target_type
    assert (again.model.decision_threshold is None) == (target_type == "regression")
    rows = here.rows("test").frame.head(6)
    ours = predict(again, rows, images=here.images, cache=world.cache).raw_score
    network = again.model.to_network()
    for digest, score in zip(rows["sha256"], ours, strict=True):
        with torch.inference_mode():
            theirs = network(torch.tensor(here.images.decode(digest))[None])
        assert score == pytest.approx(float(theirs), abs=1e-5)


def test_the_graph_is_exported_again_from_the_checkpoint_when_the_cache_is_gone(
    world: World, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    rows = world.rows("test").frame.head(3)
    kept = predict(checkpoint, rows, images=world.images, cache=world.cache).raw_score
    made = predict(checkpoint, rows, images=world.images, cache=tmp_path).raw_score
    np.testing.assert_array_equal(made, kept)


def test_damaged_caches_are_noticed_and_made_again(
    world: World, checkpoint: Checkpoint, cache: Path
) -> None:
    world.train(cache)
    (features,) = (cache / "features").glob("*.sqlite")
    connection = sqlite3.connect(features)
    connection.execute(
        "UPDATE arrays SET row = zeroblob(length(row))"
        " WHERE image IN (SELECT image FROM arrays LIMIT 3)"
    )
    connection.commit()
    connection.close()
    again = world.train(cache)
    assert again.features_computed == 3
    assert again.checkpoint.weights == checkpoint.weights

    features.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        features.with_name(features.name + suffix).unlink(missing_ok=True)
    assert world.train(cache).checkpoint.weights == checkpoint.weights
    assert list((cache / "features").glob("*.damaged-*"))

    graph = cache / "backbones" / checkpoint.model.backbone_key[:24] / "backbone.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    assert world.train(cache).checkpoint.weights == checkpoint.weights


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content", [b"", b"junk", pickle.dumps(Evil())], ids=["empty", "junk", "pickle"]
)
def test_a_best_pt_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(WebcamMLError):
        TrainedModel.from_bytes(content)


def test_code_in_a_best_pt_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    torch.save({"schema_version": 1, "model": Evil()}, buffer)
    with pytest.raises(WebcamMLError, match="more than plain tensors"):
        TrainedModel.from_bytes(buffer.getvalue())
    assert "code ran" not in capsys.readouterr().out


def weights_file(path: Path, content: object) -> BackboneSpec:
    torch.save(content, path)
    return SPEC.model_copy(update={"weights": str(path)})


def test_a_weights_file_gives_the_features_of_that_network(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(5)
    full = models.mobilenet_v3_small()
    spec = weights_file(tmp_path / "weights.pt", full.state_dict())
    network = load_weights(
        get_backbone(spec.model_name), spec.weights, image_size=64, random_state=0
    )
    full.classifier[3] = torch.nn.Identity()
    picture = torch.tensor(_noise_pictures(1, 64))
    with torch.inference_mode():
        torch.testing.assert_close(network(picture), full.eval()(picture))


def test_a_weights_file_of_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    from torchvision import models

    spec = weights_file(tmp_path / "weights.pt", models.resnet18().state_dict())
    with pytest.raises(
        WebcamMLError, match=r"is not a mobilenet_v3_small: .* missing .* model_name"
    ):
        prepare_backbone(spec, cache=tmp_path)


def test_a_weights_file_with_code_is_refused_and_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = weights_file(tmp_path / "weights.pt", {"weight": Evil()})
    with pytest.raises(WebcamMLError, match="could run code: refused"):
        prepare_backbone(spec, cache=tmp_path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("weights", "message"),
    [("imagnet", "neither 'imagenet', 'none' nor an existing file"), (".", "nor an existing file")],
)
def test_weights_that_are_not_there_are_named(tmp_path: Path, weights: str, message: str) -> None:
    with pytest.raises(WebcamMLError, match=message):
        prepare_backbone(SPEC.model_copy(update={"weights": weights}), cache=tmp_path)


def test_a_damaged_weights_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"PK not a zip")
    with pytest.raises(WebcamMLError, match="damaged"):
        prepare_backbone(SPEC.model_copy(update={"weights": str(path)}), cache=tmp_path)


def test_an_impossible_download_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    # A proxy that refuses connections stands for a machine without a way out.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(WebcamMLError) as caught:
        prepare_backbone(SPEC.model_copy(update={"weights": "imagenet"}), cache=tmp_path)
    for text in ("could not be downloaded", str(tmp_path), "weights: none", "weights: /path/to/"):
        assert text in str(caught.value)


def test_seeded_weights_are_a_pure_function_of_the_seed() -> None:
    backbone = get_backbone("mobilenet_v3_small")
    one, two, other = (
        load_weights(backbone, "none", image_size=64, random_state=seed) for seed in (0, 0, 1)
    )
    picture = torch.tensor(_noise_pictures(2, 96))
    with torch.inference_mode():
        assert torch.equal(one(picture), two(picture))
        assert not torch.equal(one(picture), other(picture))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name == "resnet50" else ()) for name in BACKBONES]
)
def test_seeded_weights_have_live_features(name: str) -> None:
    backbone = get_backbone(name)
    size = 224 if name == "vit_b_16" else 96
    with torch.inference_mode():
        features = load_weights(backbone, "none", image_size=size, random_state=0)(
            torch.tensor(_noise_pictures(2, size))
        )
    assert features.shape == (2, backbone.features)
    # Without batch-norm statistics they would be around 1e-9.
    assert float(features.abs().mean()) > 1e-3


def test_a_global_seed_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_weights(get_backbone("mobilenet_v3_small"), "none", image_size=64, random_state=0)
    assert torch.equal(torch.rand(3), expected)


def test_class_weights_leave_probabilities_calibrated(world: World, checkpoint: Checkpoint) -> None:
    balanced = world.train(class_weight="balanced").checkpoint
    share = checkpoint.predictions["target"].mean()
    for trained in (checkpoint, balanced):
        assert trained.predictions["raw_score"].mean() == pytest.approx(share, abs=0.03)


def test_labels_of_one_class_after_pictures_failed_are_refused(world: World) -> None:
    rows = world.rows("train")
    negative = replace(rows, frame=rows.frame.filter(pl.col("target_label") == 0))
    with pytest.raises(WebcamMLError, match=r"all \d+ train rows are negative"):
        train(
            replace(negative, left_out={"truncated": 3}),
            world.rows("val"),
            meta=world.manifest.meta,
            settings=TrainingSettings(**SPEC.model_dump()),
            images=world.images,
            cache=world.cache,
        )


def test_a_safetensors_file_gives_what_torch_save_gives_and_is_named_where_it_is_cut(
    tmp_path: Path,
) -> None:
    state = models_state()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    spec = SPEC.model_copy(update={"weights": str(path)})
    of_torch = weights_file(tmp_path / "weights.pt", state)
    one, other = (
        load_weights(get_backbone(SPEC.model_name), weights, image_size=64, random_state=0)
        for weights in (spec.weights, of_torch.weights)
    )
    assert all(torch.equal(one.state_dict()[name], t) for name, t in other.state_dict().items())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WebcamMLError, match=r"cut short or damaged .* fetch it again"):
        prepare_backbone(spec, cache=tmp_path)


def models_state() -> dict[str, torch.Tensor]:
    from torchvision import models

    torch.manual_seed(7)
    return dict(models.mobilenet_v3_small().state_dict())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_name": "timm/vit_tiny_patch16_22"}, "did you mean .*timm/vit_tiny_patch16_224"),
        ({"model_name": "timm/resnet18.a9_in1k"}, "did you mean .*timm/resnet18.a1_in1k"),
        ({"model_name": "timm/convnextv2_atto.fcmae_ft_in1k"}, "allow_noncommercial_weights: true"),
        ({"model_name": "timm/mobilenetv5_300m_enc"}, "gives no pooled features but"),
        ({"model_name": "vit_b_16", "image_size": 96}, "vit_b_16 takes 224 only"),
        (
            {"model_name": "timm/levit_128s", "image_size": 100, "weights": "none"},
            "takes no pictures",
        ),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused_before_the_run(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(WebcamMLError, match=message):
        TrainingSettings(**fields).judge_before_run()


def test_weights_that_are_of_no_such_timm_model_are_refused_by_name(tmp_path: Path) -> None:
    spec = weights_file(tmp_path / "weights.pt", models_state())
    other = spec.model_copy(update={"model_name": "timm/convnext_atto"})
    with pytest.raises(WebcamMLError, match=r"is not a timm/convnext_atto: .* model_name"):
        require_weights(other)


def test_without_timm_its_models_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "timm.models", raising=False)
    with pytest.raises(WebcamMLError, match=r"pip install 'webcam-ml\[timm\]'"):
        get_backbone("timm/convnext_atto.never_asked_before")


def test_more_rows_than_are_trained_on_leave_each_camera_its_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = world.rows("train").frame.height
    limit = there * 2 // 3
    monkeypatch.setattr("webcam_ml.training._training.MAX_TRAIN_ROWS", limit)
    checkpoint = world.train().checkpoint
    trained_on = checkpoint.predictions.filter(pl.col("split") == "train")
    assert 0 < trained_on.height <= limit
    assert checkpoint.summary["subsampled_from"] == there
    assert checkpoint.summary["rows"]["train"] == trained_on.height
    found = candidate_predictions(
        world.export(checkpoint),
        checkpoint,
        rows_with_pictures(world.manifest, world.index),
        images=world.images,
        cache=world.cache,
    )
    assert found.left_out["beyond_what_is_trained_on"] == there - trained_on.height
    assert found.frame.height + there - trained_on.height == sum(
        world.rows(split).frame.height for split in ("train", "val", "test")
    )
