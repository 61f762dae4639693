"""One file with the heads of several models on the backbone that they share."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.contracts import canonical_json
from webcam_ml.errors import WebcamMLError
from webcam_ml.export._meta import META_FILE, HeadMeta, ModelMeta
from webcam_ml.export._model_file import FEATURES, MODEL_FILE, OUTPUTS
from webcam_ml.features import serialise

if TYPE_CHECKING:
    import onnx


class NoCommonBackboneError(WebcamMLError):
    """Models that compute different features, so that no file can have the heads of both."""


@dataclass(frozen=True)
class ModelFiles:
    """The two files that the runtime reads.

    Attributes:
        model: The bytes of model.onnx.
        meta: The content of model.meta.json.
    """

    model: bytes
    meta: ModelMeta

    @classmethod
    def load(cls, folder: Path) -> "ModelFiles":
        """Read them from a folder.

        Raises:
            OSError, DocumentError: One of them cannot be read.
        """
        return cls((folder / MODEL_FILE).read_bytes(), ModelMeta.load(folder))

    def contents(self) -> dict[str, bytes]:
        """Give the bytes of both by their names."""
        described = canonical_json(self.meta.model_dump(mode="json"))
        return {MODEL_FILE: self.model, META_FILE: described}


def join_heads(models: Sequence[ModelFiles]) -> ModelFiles:
    """Graft the heads of other models onto the first one's features; equal files give equal bytes.

    The first model's outputs keep their names; `<target_type>_raw_score` and
    `<target_type>_ai_rating` are there for each. Nothing of a head is computed anew, so each gives the
    scores that its own file gives.

    Args:
        models: Of different target types, the one that is primary first.

    Raises:
        NoCommonBackboneError: Their graphs differ before the heads.
    """
    import onnx

    primary, *others = models
    proto = onnx.load_from_string(primary.model)
    backbone, _ = _split(proto.graph)
    properties = {prop.key: prop.value for prop in proto.metadata_props}
    names = [_names(model.meta) for model in models]
    for output, named in zip(OUTPUTS, names[0], strict=True):
        proto.graph.node.append(onnx.helper.make_node("Identity", [output], [named]))
    for model, named_outputs in zip(others, names[1:], strict=True):
        other = onnx.load_from_string(model.model)
        other_backbone, head = _split(other.graph)
        if other_backbone != backbone or list(other.opset_import) != list(proto.opset_import):
            raise NoCommonBackboneError(_different(primary.meta, model.meta))
        _rename(head, dict(zip(OUTPUTS, named_outputs, strict=True)), model.meta.target_type)
        proto.graph.node.extend(head.node)
        proto.graph.initializer.extend(head.initializer)
    for pair in names:
        proto.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"])
            for name in pair
        )
    heads = {f"{one.meta.target_type}.model_version": one.meta.model_version for one in models}
    onnx.helper.set_model_props(proto, properties | heads)
    data = serialise(proto)
    onnx.checker.check_model(data, full_check=True)
    return ModelFiles(data, _described(data, models))


def _names(meta: ModelMeta) -> tuple[str, ...]:
    return tuple(f"{meta.target_type}_{name}" for name in OUTPUTS)


def _described(data: bytes, models: Sequence[ModelFiles]) -> ModelMeta:
    primary = models[0].meta
    outputs = [
        output.model_copy(update={"name": name})
        for model in models
        for output, name in zip(model.meta.outputs, _names(model.meta), strict=True)
    ]
    return primary.model_copy(
        update={
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "outputs": (*primary.outputs, *outputs),
            "heads": tuple(
                HeadMeta(
                    target_type=one.meta.target_type,
                    model_version=one.meta.model_version,
                    sha256=one.meta.sha256,
                    decision_threshold=one.meta.decision_threshold,
                )
                for one in models
            ),
        }
    )


def _split(graph: "onnx.GraphProto") -> tuple[bytes, "onnx.GraphProto"]:
    """Divide a graph at its features: the bytes of what computes them, and the head behind them."""
    import onnx

    behind = {FEATURES}
    backbone, head = onnx.GraphProto(), onnx.GraphProto()
    for node in graph.node:
        of_head = not behind.isdisjoint(node.input)
        (head if of_head else backbone).node.append(node)
        if of_head:
            behind.update(node.output)
    used = {name for node in backbone.node for name in node.input}
    for tensor in graph.initializer:
        (backbone if tensor.name in used else head).initializer.append(tensor)
    backbone.input.extend(graph.input)
    data: bytes = backbone.SerializeToString(deterministic=True)
    return data, head


def _rename(head: "onnx.GraphProto", names: dict[str, str], target_type: str) -> None:
    """Give what belongs to a head names that nothing of another head has."""
    own = {tensor.name for tensor in head.initializer}
    own |= {name for node in head.node for name in node.output}
    names = {name: names.get(name, f"{target_type}.{name}") for name in own}
    for tensor in head.initializer:
        tensor.name = names[tensor.name]
    for node in head.node:
        node.name = f"{target_type}.{node.name}" if node.name else ""
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]


def _different(one: ModelMeta, other: ModelMeta) -> str:
    return (
        f"{one.model_version} and {other.model_version} compute other features, so no file can have "
        "the heads of both. They can if both were trained with the same model_name, weights, "
        "image_size, feature_stages and store_weights of checkpoint, and strategy: linear_probe: the "
        "job both_targets trains both so"
    )
