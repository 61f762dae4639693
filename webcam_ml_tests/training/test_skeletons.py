"""What is filled into a skeleton against what torch.onnx exports."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from webcam_ml.features import BackboneSpec, get_backbone, preprocessing, serialise
from webcam_ml.features._backbone_graph import _export_into, _key, export_features
from webcam_ml.features._backbones import load_weights
from webcam_ml.features._skeletons import (
    NAMES,
    UnlikeSkeletonError,
    fill_skeleton,
    read_skeleton,
    require_same,
    unlike_each_other,
)
from webcam_ml.features._stages import DEFAULT_STAGES

SIZE = 64
ONE = "mobilenet_v3_small"


def both(name: str, network: torch.nn.Module) -> tuple[bytes, bytes]:
    """Fill and export."""
    skeleton = read_skeleton(name, DEFAULT_STAGES)
    assert skeleton is not None
    filled = serialise(fill_skeleton(skeleton, network, SIZE))
    return filled, export_features(network, preprocessing(get_backbone(name), SIZE))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == ONE else pytest.mark.slow) for name in NAMES]
)
def test_a_filled_skeleton_is_what_the_exporter_makes_byte_by_byte(name: str) -> None:
    network = get_backbone(name).build(SIZE, feature_stages=DEFAULT_STAGES)
    unlike_each_other(network, random_state=1)
    filled, exported = both(name, network)
    assert filled == exported


def test_tensors_that_are_equal_which_the_exporter_keeps_once_change_no_bit_of_a_feature() -> None:
    network = load_weights(
        get_backbone(ONE), "none", image_size=SIZE, random_state=0, feature_stages=DEFAULT_STAGES
    )
    pictures = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)
    filled, exported = (
        onnxruntime.InferenceSession(model).run(None, {"image": pictures})
        for model in both(ONE, network)
    )
    for ours, theirs in zip(filled, exported, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def altered(**parts: torch.nn.Module) -> torch.nn.Module:
    network = load_weights(
        get_backbone(ONE), "none", image_size=SIZE, random_state=0, feature_stages=DEFAULT_STAGES
    )
    for name, part in parts.items():
        network.add_module(name, part)
    return network


def test_a_network_of_other_tensors_is_told_from_the_skeletons() -> None:
    skeleton = read_skeleton(ONE, DEFAULT_STAGES)
    assert skeleton is not None
    with pytest.raises(UnlikeSkeletonError, match=r"of one alone: more\.bias, more\.weight"):
        fill_skeleton(skeleton, altered(more=torch.nn.Linear(2, 2)).eval(), SIZE)
    other = get_backbone("resnet18").build(SIZE, feature_stages=DEFAULT_STAGES)
    with pytest.raises(UnlikeSkeletonError, match="of one alone"):
        fill_skeleton(skeleton, other, SIZE)


def test_a_network_that_computes_other_features_of_equal_tensors_is_exported_instead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = altered()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.register_forward_hook(lambda _layer, _inputs, output: output.relu())
    backbone = get_backbone(ONE)
    graph = _export_into(
        tmp_path,
        "key",
        network,
        backbone=backbone,
        image_size=SIZE,
        feature_stages=DEFAULT_STAGES,
        store_weights="fp32",
    )
    assert "not the one that its skeleton was made from (features differ by" in caplog.text
    require_same(graph.model, network, preprocessing(backbone, SIZE))


def test_code_that_fills_is_part_of_the_key_where_a_skeleton_is_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keys() -> list[str]:
        specs = (BackboneSpec(model_name=ONE, feature_stages=stages) for stages in (3, 1))
        return [_key(spec, "weights") for spec in specs]

    read, before = Path.read_bytes, keys()
    monkeypatch.setattr(
        Path,
        "read_bytes",
        lambda path: read(path) + (b"# changed" if path.name == "_skeletons.py" else b""),
    )
    assert [one == other for one, other in zip(before, keys(), strict=True)] == [False, True]


def test_other_numbers_of_stages_and_other_networks_have_none() -> None:
    assert read_skeleton("resnet18", 1) is None
    assert read_skeleton("swin_t", DEFAULT_STAGES) is None
