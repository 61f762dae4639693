"""Every backbone from its features to a file that Node reads; in each run, one of every family.

The entries that `make test` leaves out are of a family that it tries: `pytest -m slow` takes them.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webcam_ml.evaluation import evaluate_checkpoint
from webcam_ml.export import ExportedModel, differences_from_torch, export_candidate
from webcam_ml.features import BACKBONES, BackboneSpec, extract_features, prepare_backbone
from webcam_ml.features._backbones import get_backbone, load_weights
from webcam_ml.features._network import FeatureNetwork, Preprocess
from webcam_ml.scoring import Scorer
from webcam_ml.training import Checkpoint
from webcam_ml_tests.integration.node_runtime import (
    NODE,
    documented_lines,
    install_packages,
    run,
)
from webcam_ml_tests.world import World, make_labels, make_world

# Others of their families are tried all the time, these two in most other tests.
SELDOM = {"resnet18", "resnet50", "mobilenet_v3_large", "mobilenet_v3_small"}
ENTRIES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SELDOM else []) for name in BACKBONES
]


@dataclass(frozen=True)
class Carried:
    """What became of one backbone."""

    spec: BackboneSpec
    world: World
    checkpoint: Checkpoint
    exported: ExportedModel


@pytest.fixture(scope="module", params=ENTRIES)
def carried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Carried:
    folder = tmp_path_factory.mktemp(request.param)
    size = 224 if get_backbone(request.param).takes_one_size else 64
    spec = BackboneSpec(model_name=request.param, weights="none", image_size=size)
    labels = make_labels(webcams=24, per_webcam=2, folder=folder / "pictures")
    world = make_world(folder, labels=labels)
    checkpoint = world.train(spec=spec).checkpoint
    report = evaluate_checkpoint(
        checkpoint, world.manifest.split("val"), world.manifest.split("test"), world.index,
        images=world.images, cache=world.cache, bootstrap_samples=20,
    ).report  # fmt: skip
    exported = export_candidate(
        checkpoint,
        report,
        world.index,
        query=world.labels.query,
        images=world.images,
        cache=world.cache,
    )
    return Carried(spec, world, checkpoint, exported)


def pictures(world: World) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for digest in world.rows("test").frame["sha256"].head(3):
        yield digest, world.images.decode(digest)


def test_its_graph_gives_living_features_of_the_network(carried: Carried) -> None:
    spec, world = carried.spec, carried.world
    backbone = get_backbone(spec.model_name)
    network = FeatureNetwork(
        Preprocess(spec.image_size, backbone.mean, backbone.std),
        load_weights(backbone, "none", random_state=0),
    ).eval()
    graph = prepare_backbone(spec, cache=world.cache)
    for digest, picture in pictures(world):
        (found,) = extract_features(
            graph, [digest], decode=world.images.decode, cache=world.cache
        ).values
        with torch.inference_mode():
            expected, _ = network(torch.from_numpy(picture[None]))
        assert found.shape == (backbone.features,)
        tolerance = 1e-4 * float(expected.abs().max())
        np.testing.assert_allclose(found, expected[0].numpy(), atol=tolerance)
    rows = world.rows("train").frame["sha256"].to_list()
    values = extract_features(graph, rows, decode=world.images.decode, cache=world.cache).values
    # Pictures can be told apart by nearly all of them.
    assert np.mean(values.std(axis=0) > 1e-3 * np.abs(values).mean()) > 0.5


def test_its_file_agrees_with_torch_to_a_ten_thousandth(carried: Carried) -> None:
    batches = {digest: picture[None] for digest, picture in pictures(carried.world)}
    differences = differences_from_torch(carried.exported.model, carried.checkpoint.model, batches)
    assert max(differences.values()) <= 1e-4
    assert carried.exported.parity.passed


def test_node_scores_its_file_as_python_does(carried: Carried, tmp_path: Path) -> None:
    install_packages()
    carried.exported.save(tmp_path)
    (tmp_path / "scorer.mjs").write_text(documented_lines())
    shutil.copy(NODE / "drive.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    index = carried.world.rows("test").frame
    files = index["image_path_or_url"].head(3).to_list()
    model = tmp_path / "model.onnx"
    questions = {
        "env": {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": str(model)},
        "pictures": files,
        "fallbacks": [],
        "webcams": [],
        "raw": [],
    }
    said = json.loads(
        run(["node", "drive.mjs"], folder=tmp_path, what="Node failed", stdin=json.dumps(questions))
    )
    scorer = Scorer("onnx", model_path=model)
    for file, answer in zip(files, said["pictures"], strict=True):
        expected = scorer.score(file).to_dict()
        assert answer["score"]["modelVersion"] == expected["modelVersion"] != "baseline-v1"
        assert answer["score"]["rawScore"] == pytest.approx(expected["rawScore"], abs=1e-4)
