"""Weights in half the space: rounded to what fp16 holds before anything is computed with them.

So features, best.pt and model.onnx hold the same numbers, and storing them as fp16 moves no score. The
exporter folds batch normalisation into the weights before it, and a product of rounded numbers is no
rounded number: so the scales are moved into the weights first, and what the exporter multiplies
by afterwards is 1.
"""

import logging
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import onnx
    import torch

logger = logging.getLogger(__name__)

StoreWeights = Literal["fp16", "fp32"]

# Half the distance of neighbouring numbers of fp16: what rounding costs where nothing overflows and
# not too much is too small for it.
HALF_STEP = 2.0**-11
# Scales are moved in float32, which has 24 bits.
SAME = 1e-4
# Fewer numbers than that are not worth a node of the graph.
MIN_SIZE = 1024
# How many weights a warning names.
NAMED = 3


def round_weights(network: "torch.nn.Module", image_size: int) -> None:
    """Round the large weights of convolutions, linear layers and the like to what fp16 holds.

    A weight with numbers beyond fp16's, or so many too small for it that more than fp16's own precision
    would be lost, stays as it is. Rounding what is rounded changes nothing.

    Args:
        network: In evaluation mode, images [batch, 3, size, size] → features.
        image_size: A size that it takes.
    """
    import torch

    _move_scales(network, image_size)
    kept = []
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim < 2 or weight.numel() < MIN_SIZE:
                continue
            rounded = weight.half().float()
            if float((rounded - weight).norm()) <= HALF_STEP * float(weight.norm()):
                weight.copy_(rounded)
            else:
                kept.append(name)
    if kept:
        logger.warning(
            "fp16 cannot hold some weights, which stay fp32, in the file as well: %s%s",
            ", ".join(kept[:NAMED]),
            f" and {len(kept) - NAMED} more" if kept[NAMED:] else "",
        )


def _move_scales(network: "torch.nn.Module", image_size: int) -> None:
    """Multiply each weight by the scale of the batch normalisation behind it, and leave 1 there.

    Its statistics become those of the scaled values, so the network stays what it was, to the last bits.
    """
    import torch

    picture = torch.randn(
        (1, 3, image_size, image_size), generator=torch.Generator().manual_seed(0)
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        pairs, expected = normalised(network, picture)
        for layer, norm in pairs:
            scale = norm.weight / _deviation(norm)
            layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))
            if layer.bias is not None:
                layer.bias.mul_(scale)
            norm.running_mean.mul_(scale)
            norm.running_var.mul_(scale * scale)
            norm.weight.copy_(_deviation(norm))
        moved = float((network(picture) - expected).abs().max())
    if not moved <= SAME * float(expected.abs().max()):
        # A layer that does more with its weight than multiply, or whose result others use, too.
        logger.warning("batch normalisation cannot be moved into the weights: they stay fp32")
        network.load_state_dict(before)


def _deviation(norm: Any) -> "torch.Tensor":
    """Compute as the exporter does, in numpy: torch's last bit differs, and a bit off is not 1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.sqrt(norm.running_var.numpy() + np.float32(norm.eps)))


def normalised(
    network: "torch.nn.Module", picture: "torch.Tensor"
) -> "tuple[list[tuple[Any, Any]], torch.Tensor]":
    """Find the layers whose result goes into a batch normalisation, and what the network gives."""
    import torch

    made: dict[int, tuple[torch.nn.Module, torch.Tensor]] = {}
    pairs: list[tuple[Any, Any]] = []

    def note(layer: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        # With the tensor, so that its id stays its own.
        made[id(output)] = layer, output

    def pair(norm: Any, inputs: tuple[torch.Tensor]) -> None:
        found = made.get(id(inputs[0]))
        if found is not None and norm.weight is not None and norm.running_var is not None:
            pairs.append((found[0], norm))

    handles = []
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            handles.append(part.register_forward_hook(note))
        elif isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            handles.append(part.register_forward_pre_hook(pair))
    given: torch.Tensor = network(picture)
    for handle in handles:
        handle.remove()
    return pairs, given


def store_weights_as_fp16(model: "onnx.ModelProto") -> None:
    """Store each large weight that fp16 holds exactly so, and cast it to float32 where it is used.

    A runtime casts once, when it loads the model.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    saved = total = 0
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        total += values.nbytes
        if values.size < MIN_SIZE:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT))
        saved += values.nbytes - half.nbytes
    nodes = list(graph.node)
    graph.ClearField("node")
    graph.node.extend([*casts, *nodes])
    logger.info("the weights take %.1f MB instead of %.1f", (total - saved) / 1e6, total / 1e6)
