"""The head appended to the backbone's graph: one ONNX file that takes pictures and gives scores."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from webcam_ml.contracts import LOWEST_RATING, RATING_SPAN
from webcam_ml.dataset import ExportMeta
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.evaluation import EvalReport
from webcam_ml.export._meta import ModelMeta
from webcam_ml.export._parity import Parity, measure_parity, parity_pictures
from webcam_ml.features import OPSET, BackboneGraph, licence_of, serialise
from webcam_ml.training import Checkpoint

if TYPE_CHECKING:
    import onnx

MODEL_FILE = "model.onnx"
FEATURES = "features"
OUTPUTS = ("raw_score", "ai_rating")
OWN_PICTURES = 8
PRODUCER = "webcam-ml"
VERSION_DIGITS = 12


@dataclass(frozen=True)
class ExportedModel:
    """A candidate for production.

    Attributes:
        model: The bytes of model.onnx.
        meta: The content of model.meta.json.
        parity: How far it is from torch, measured when it was exported.
    """

    model: bytes
    meta: ModelMeta
    parity: Parity

    @cached_property
    def sha256(self) -> str:
        """Digest of model.onnx."""
        return hashlib.sha256(self.model).hexdigest()

    def save(self, folder: Path) -> None:
        """Write model.onnx, model.meta.json and parity.json."""
        (folder / MODEL_FILE).write_bytes(self.model)
        self.meta.save(folder)
        self.parity.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the three files."""
        return cls(
            model=(folder / MODEL_FILE).read_bytes(),
            meta=ModelMeta.load(folder),
            parity=Parity.load(folder),
        )


def export_candidate(
    checkpoint: Checkpoint,
    report: EvalReport,
    image_index: ImageIndex,
    *,
    labels: ExportMeta,
    images: ImageCache,
    cache: Path,
) -> ExportedModel:
    """Export a checkpoint as one ONNX file; equal checkpoints give equal bytes.

    Args:
        checkpoint: The trained model.
        report: What was measured of it, for model.meta.json.
        image_index: Pictures of the labels; a few of them are scored in both engines.
        labels: How the labels that it was trained on were made, for model.meta.json.
        images: Where the pictures are.
        cache: Root of the caches, where the backbone's graph is.

    Raises:
        ValueError: The report is of another checkpoint.
    """
    import onnx

    model = checkpoint.model
    graph = model.restore_graph(cache)
    checkpoint_sha256 = hashlib.sha256(checkpoint.weights).hexdigest()
    if report.document.checkpoint != checkpoint_sha256:
        raise ValueError(f"the report is of checkpoint {report.document.checkpoint}")
    settings = json.dumps({"opset": OPSET, "checkpoint": checkpoint_sha256}, sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:VERSION_DIGITS]
    # The name of a network of timm has a slash, and versions become names of files.
    network = model.model_name.replace("/", "-")
    model_version = f"{model.target_type}-{network}-{digest}"
    proto = _append_head(checkpoint, graph)
    properties = {
        "model_version": model_version,
        "target_type": model.target_type,
        "model_name": model.model_name,
        "checkpoint_sha256": checkpoint_sha256,
    }
    if model.decision_threshold is not None:
        properties["decision_threshold"] = repr(model.decision_threshold)
    onnx.helper.set_model_props(proto, properties)
    data = serialise(proto)
    onnx.checker.check_model(data, full_check=True)
    meta = ModelMeta.describe(
        model,
        model_version=model_version,
        data=data,
        metrics=report.document.model_dump(mode="json")["metrics"],
        digests={
            "checkpoint": checkpoint_sha256,
            "test_split": report.document.test_split.sha256,
            "labels": checkpoint.summary["labels_sha256"],
        },
        labels=labels,
        weights_licence=licence_of(model.model_name, checkpoint.summary["weights"]),
    )
    batches = parity_pictures() | {
        f"own picture {digest[:12]}": images.decode(digest)[np.newaxis]
        for digest in image_index.usable()["sha256"].unique().sort().head(OWN_PICTURES)
    }
    return ExportedModel(model=data, meta=meta, parity=measure_parity(data, model, batches))


def _append_head(checkpoint: Checkpoint, backbone: BackboneGraph) -> "onnx.ModelProto":
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = checkpoint.model
    proto = onnx.load_from_string(backbone.model)
    graph = proto.graph
    _remove_output(graph, "channel_means")
    graph.ClearField("output")
    squash = model.asked.squash_operator
    constants = {
        "head.weight": model.head.weight[:, np.newaxis].astype(np.float32),
        "head.bias": np.array([model.head.bias], np.float32),
        "output.axis": np.array([1], np.int64),
        "rating.span": np.float32(RATING_SPAN),
        "rating.lowest": np.float32(LOWEST_RATING),
        **{name: np.float32(value) for name, value in squash.constants.items()},
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    graph.node.extend(
        [
            helper.make_node("Gemm", [FEATURES, "head.weight", "head.bias"], ["head.value"]),
            helper.make_node("Squeeze", ["head.value", "output.axis"], ["head.flat"]),
            helper.make_node(squash.operator, ["head.flat", *squash.constants], ["raw_score"]),
            helper.make_node("Mul", ["raw_score", "rating.span"], ["rating.above_lowest"]),
            helper.make_node("Add", ["rating.above_lowest", "rating.lowest"], ["ai_rating"]),
        ]
    )
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in OUTPUTS
    )
    graph.name = "webcam_ml"
    proto.producer_name, proto.producer_version = PRODUCER, ""
    return proto


def _remove_output(graph: "onnx.GraphProto", name: str) -> None:
    """Remove an output and every node that only this output needs."""
    unwanted = {name}
    kept_outputs = {output.name for output in graph.output} - unwanted
    for node in reversed(list(graph.node)):
        if not unwanted.issuperset(node.output):
            continue
        graph.node.remove(node)
        used = {tensor for other in graph.node for tensor in other.input} | kept_outputs
        unwanted |= {tensor for tensor in node.input if tensor not in used}
    for values in (graph.value_info, graph.initializer):
        for value in [value for value in values if value.name in unwanted]:
            values.remove(value)
