"""Weights that are rounded before anything is computed with them, and stored in half the space."""

import io
import logging
from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from webcam_ml.features import BackboneSpec, prepare_backbone
from webcam_ml.features._backbones import get_backbone, load_weights
from webcam_ml.features._half import HALF_STEP, MIN_SIZE, round_weights, store_weights_as_fp16
from webcam_ml.training import TrainedModel
from webcam_ml_tests.world import SPEC, World, make_world


def is_half(tensor: torch.Tensor) -> bool:
    return torch.equal(tensor.half().float(), tensor)


def large(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Those that are rounded."""
    found = [tensor for tensor in tensors if tensor.ndim > 1 and tensor.numel() >= MIN_SIZE]
    assert found
    return found


def picture() -> torch.Tensor:
    return torch.randn((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "timm/convnext_atto"])
def test_rounding_costs_no_more_than_fp16_does_and_rounding_again_nothing(name: str) -> None:
    network, published = (
        load_weights(get_backbone(name), "none", image_size=64, random_state=0) for _ in range(2)
    )
    round_weights(network, 64)
    once = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert all(is_half(one) for one in large(network.parameters()))
    with torch.inference_mode():
        expected = published(picture())
        difference = float((network(picture()) - expected).norm() / expected.norm())
    # Of some ten layers, whose errors do not add up.
    assert 0 < difference < 10 * HALF_STEP
    round_weights(network, 64)
    assert all(torch.equal(tensor, once[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("name", "count"), [("resnet18", 20), ("mobilenet_v3_small", 34)])
def test_what_the_exporter_multiplies_rounded_weights_by_is_one(name: str, count: int) -> None:
    network = load_weights(get_backbone(name), "none", image_size=64, random_state=0)
    round_weights(network, 64)
    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert len(norms) == count
    for norm in norms:
        gamma, variance = norm.weight.detach().numpy(), norm.running_var.numpy()
        assert (gamma / np.sqrt(variance + np.float32(norm.eps)) == 1).all()


class Line(torch.nn.Module):
    """Two layers, the second with a normalisation behind it and, if asked, a second reader."""

    def __init__(self, *, factor: float = 1.0, read_twice: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 40, 3, bias=False)
        self.norm = torch.nn.BatchNorm2d(40)
        self.last = torch.nn.Linear(40, 40)
        self.read_twice = read_twice
        with torch.no_grad():
            for one in (self.conv.weight, self.last.weight):
                one.copy_(torch.randn(one.shape, generator=generator))
            self.norm.weight.uniform_(0.5, 2.0, generator=generator)
            self.last.weight.mul_(factor)
        self.eval()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        made = self.conv(pictures)
        normed = self.norm(made)
        if self.read_twice:
            normed = normed + made
        features: torch.Tensor = self.last(normed.relu().mean(dim=(2, 3)))
        return features


@pytest.mark.parametrize("factor", [1e5, 1e-9], ids=["too large", "too small"])
def test_a_weight_that_does_not_fit_stays_as_it_is_and_is_named(
    factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    network = Line(factor=factor)
    before = network.last.weight.clone()
    with caplog.at_level(logging.WARNING):
        round_weights(network, 64)
    assert torch.equal(network.last.weight, before)
    assert is_half(network.conv.weight)
    assert "which stay fp32, in the file as well: last.weight" in caplog.text


def test_a_result_that_is_read_twice_keeps_its_scale(caplog: pytest.LogCaptureFixture) -> None:
    network, expected = Line(read_twice=True), Line(read_twice=True)
    with caplog.at_level(logging.WARNING):
        round_weights(network, 64)
    assert "cannot be moved into the weights" in caplog.text
    assert torch.equal(network.norm.weight, expected.norm.weight)
    with torch.inference_mode():
        before, after = expected(picture()), network(picture())
    assert float((after - before).norm()) < 1e-2 * float(before.norm())


def test_only_what_fp16_holds_is_stored_so_and_the_bits_stay() -> None:
    random = np.random.default_rng(0)
    rounded = random.normal(size=(3, 500)).astype(np.float16).astype(np.float32)
    other = random.normal(size=(500, 400)).astype(np.float32)
    large = np.full((400, 400), 1e5, np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("MatMul", ["in", "rounded"], ["a"]),
            onnx.helper.make_node("MatMul", ["a", "other"], ["b"]),
            onnx.helper.make_node("MatMul", ["b", "large"], ["out"]),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("in", onnx.TensorProto.FLOAT, [2, 3])],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [2, 400])],
        [
            numpy_helper.from_array(values, name)
            for name, values in (("rounded", rounded), ("other", other), ("large", large))
        ],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    inputs = {"in": random.normal(size=(2, 3)).astype(np.float32)}
    sessions = [onnxruntime.InferenceSession(model.SerializeToString())]
    store_weights_as_fp16(model)
    onnx.checker.check_model(model, full_check=True)
    sessions.append(onnxruntime.InferenceSession(model.SerializeToString()))
    stored = {one.name: one.data_type for one in model.graph.initializer}
    assert stored == {
        "rounded.fp16": onnx.TensorProto.FLOAT16,
        "other": onnx.TensorProto.FLOAT,
        "large": onnx.TensorProto.FLOAT,
    }
    before, after = (session.run(None, inputs)[0] for session in sessions)
    np.testing.assert_array_equal(after, before)


def test_fp32_leaves_weights_and_file_as_they_are(world: World) -> None:
    plain = BackboneSpec(**SPEC.model_dump() | {"store_weights": "fp32"})
    graphs = {
        spec.store_weights: prepare_backbone(spec, cache=world.cache) for spec in (SPEC, plain)
    }
    published = load_weights(
        get_backbone(SPEC.model_name), "none", image_size=64, random_state=0
    ).state_dict()
    kept = graphs["fp32"].state_dict()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in published.items())
    assert graphs["fp16"].fingerprint != graphs["fp32"].fingerprint
    assert len(graphs["fp16"].model) < 0.6 * len(graphs["fp32"].model)


def test_best_pt_holds_rounded_weights_and_one_of_before_the_setting_is_of_one_stage_unrounded(
    world: World,
) -> None:
    model = world.train().checkpoint.model
    assert (model.feature_stages, model.store_weights) == (3, "fp16")
    assert all(is_half(tensor) for tensor in large(model.backbone.values()))
    content = torch.load(io.BytesIO(model.to_bytes()), weights_only=True)
    del content["feature_stages"], content["store_weights"]
    buffer = io.BytesIO()
    torch.save(content, buffer)
    earlier = TrainedModel.from_bytes(buffer.getvalue())
    assert (earlier.feature_stages, earlier.store_weights) == (1, "fp32")
