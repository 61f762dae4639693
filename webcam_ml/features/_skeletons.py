"""Exported graphs without their weights, filled in here: a tenth of a second where torch.onnx takes ten.

Two exports of one architecture with equal stages differ in weights and size alone. So a graph is
exported once, by ``python -m webcam_ml.features._skeletons``, which writes what all have in common to
``skeletons/``; a test holds what is filled in against the exporter, byte by byte. Networks without a
skeleton are exported, and so are those that an installed library builds in another way than when the
skeleton was made.
"""

import logging
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webcam_ml.features._stages import DEFAULT_STAGES

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

logger = logging.getLogger(__name__)

# Of convolutions alone, so that no size is built into them; with the stages that are the default.
NAMES = ("resnet18", "resnet50", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0")
FOLDER = "skeletons"

# What a tensor is filled with, as its doc_string says: the size; a tensor of the state dict; a weight
# with the normalisation behind it folded in, or what that folding leaves to add.
SIZE, TENSOR, WEIGHT, BIAS = "size", "tensor", "weight", "bias"
# What is folded of a normalisation.
NORM = ("weight", "bias", "running_mean", "running_var")
# What neither changes nor is used where a network is evaluated.
COUNTER = "num_batches_tracked"
# By how much of the largest feature torch and the graph may differ.
SAME = 1e-4


class UnlikeSkeletonError(Exception):
    """The network is not of the architecture that the skeleton was made from."""


def read_skeleton(model_name: str, feature_stages: int) -> bytes | None:
    """Read the skeleton of a network; None where there is none."""
    if model_name not in NAMES or feature_stages != DEFAULT_STAGES:
        return None
    return (files("webcam_ml.features") / FOLDER / f"{model_name}.onnx").read_bytes()


def fill_skeleton(
    skeleton: bytes, network: "torch.nn.Module", image_size: int
) -> "onnx.ModelProto":
    """Make the graph that the exporter would make of a network, but for notes about sizes between.

    Args:
        skeleton: Of this architecture and number of stages.
        network: In evaluation mode.
        image_size: Side of the square that pictures are resized to.

    Raises:
        UnlikeSkeletonError: The network has other tensors than the skeleton.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(skeleton)
    state = network.state_dict()
    filled = [(one, one.doc_string.split()) for one in model.graph.initializer if one.doc_string]
    differing = _tensors_of(rule for _, rule in filled) ^ {
        name for name in state if not name.endswith(COUNTER)
    }
    if differing:
        raise UnlikeSkeletonError(f"tensors of one alone: {', '.join(sorted(differing))}")
    for tensor, (rule, *names) in filled:
        values: np.ndarray[Any, Any]
        if rule == SIZE:
            values = np.array([image_size, image_size], np.int64)
        elif rule == TENSOR:
            values = state[names[0]].numpy()
        else:
            values = _folded(rule, network, state, *names)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def _tensors_of(rules: Iterable[Sequence[str]]) -> set[str]:
    """Name the tensors of a state dict that rules use."""
    used: set[str] = set()
    for rule, *names in rules:
        if rule == TENSOR:
            used |= {*names}
        elif rule != SIZE:
            layer, norm = names
            used |= {f"{layer}.weight", *(f"{norm}.{part}" for part in NORM)}
    return used


def require_same(model: bytes, network: "torch.nn.Module", preprocess: "torch.nn.Module") -> None:
    """Require of a graph that it gives the features of its network, for one picture.

    Args:
        model: What was filled in.
        network: In evaluation mode.
        preprocess: Makes what the network takes of uint8 pictures.

    Raises:
        UnlikeSkeletonError: They differ.
    """
    import numpy as np
    import onnxruntime
    import torch

    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.run(["features"], {"image": picture})
    with torch.no_grad():
        expected = network(preprocess(torch.from_numpy(picture))).numpy()
    if given.shape != expected.shape:
        raise UnlikeSkeletonError(f"features are {given.shape}, of torch {expected.shape}")
    difference, largest = np.abs(given - expected).max(), np.abs(expected).max()
    if not difference <= SAME * largest:
        raise UnlikeSkeletonError(f"features differ by {difference:.2g} of {largest:.2g}")


def _folded(
    rule: str, network: Any, state: "dict[str, torch.Tensor]", layer: str, norm: str
) -> "np.ndarray[Any, Any]":
    """Fold a batch normalisation into the convolution before it, in float32 and the exporter's order."""
    import numpy as np

    gamma, beta, mean, variance = (state[f"{norm}.{name}"].numpy() for name in NORM)
    scale = gamma / np.sqrt(variance + np.float32(network.get_submodule(norm).eps))
    if rule == WEIGHT:
        return np.asarray(state[f"{layer}.weight"].numpy() * scale[:, None, None, None])
    return np.asarray((np.zeros_like(mean) - mean) * scale + beta)


def make_skeleton(
    exported: bytes, network: "torch.nn.Module", norm_of: dict[str, str], image_size: int
) -> bytes:
    """Empty an exported graph of all that comes from the network and the size.

    Args:
        exported: The graph of `network`.
        network: With weights of which no two are equal: the exporter keeps equal tensors once.
        norm_of: Layer → the batch normalisation behind it.
        image_size: Of the graph; a number that nothing else in it is.
    """
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(exported)
    state = network.state_dict()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name.removeprefix("backbone.")
        layer, _, kind = name.rpartition(".")
        if name == tensor.name:
            if not np.array_equal(values, [image_size, image_size]):
                continue
            rule = SIZE
        elif layer in norm_of:
            rule = f"{BIAS if kind.endswith('_bias') else WEIGHT} {layer} {norm_of[layer]}"
        else:
            assert np.array_equal(values, state[name].numpy()), name
            rule = f"{TENSOR} {name}"
        tensor.CopyFrom(onnx.TensorProto(name=tensor.name, doc_string=rule))
    skeleton: bytes = model.SerializeToString(deterministic=True)
    return skeleton


def main() -> None:
    """Export each network of `NAMES` anew and write its skeleton."""
    import torch

    from webcam_ml.features._backbone_graph import export_features, preprocessing
    from webcam_ml.features._backbones import get_backbone
    from webcam_ml.features._half import normalised

    size = 96
    folder = Path(__file__).with_name(FOLDER)
    folder.mkdir(exist_ok=True)
    for name in NAMES:
        backbone = get_backbone(name)
        network = backbone.build(size, feature_stages=DEFAULT_STAGES)
        unlike_each_other(network)
        name_of = {part: path for path, part in network.named_modules()}
        with torch.no_grad():
            pairs, _ = normalised(network, torch.zeros(1, 3, size, size))
        exported = export_features(network, preprocessing(backbone, size))
        norm_of = {name_of[layer]: name_of[norm] for layer, norm in pairs}
        skeleton = make_skeleton(exported, network, norm_of, size)
        (folder / f"{name}.onnx").write_bytes(skeleton)
        print(f"{name}: {len(skeleton):,} bytes")


def unlike_each_other(network: "torch.nn.Module", *, random_state: int = 0) -> None:
    """Draw all tensors of a network, offsets and statistics too, so that no two are equal."""
    import torch

    generator = torch.Generator().manual_seed(random_state)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)


if __name__ == "__main__":
    main()
