"""What is filled into a skeleton against what torch.onnx exports."""

import numpy as np
import onnxruntime
import pytest
import torch

from webcam_ml.features import get_backbone, preprocessing, serialise
from webcam_ml.features._backbone_graph import export_features
from webcam_ml.features._backbones import load_weights
from webcam_ml.features._skeletons import NAMES, fill_skeleton, read_skeleton, unlike_each_other
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


def test_other_numbers_of_stages_and_other_networks_have_none() -> None:
    assert read_skeleton("resnet18", 1) is None
    assert read_skeleton("swin_t", DEFAULT_STAGES) is None
