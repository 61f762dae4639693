"""Small real ONNX models that honour the contract of the runtime, or break it in one point."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from webcam_ml.scoring import OnnxModel, Score, decode_image
from webcam_ml_tests.scoring.pictures import encoded, photograph

JPEG = encoded(photograph())
SIDE = 8
VERSION = "binary-tiny-0123456789ab"
OTHER_VERSION = "regression-tiny-ba9876543210"


def tiny_model(
    *,
    version: str | None = VERSION,
    target_type: str = "binary",
    bias: float = 0.0,
    input_name: str = "image",
    input_type: int = TensorProto.UINT8,
    input_shape: Sequence[int | str] = ("batch", "height", "width", 3),
    outputs: Sequence[str] = ("raw_score", "ai_rating"),
    head: str = "Sigmoid",
    needs_width: int = 0,
) -> onnx.ModelProto:
    """Squash to 8×8, weigh every value, sigmoid: sensitive to place, colour and orientation.

    Args:
        head: The last operator; ``Sqrt`` of a negative number gives NaN, ``Identity`` leaves 0–1.
        needs_width: Pictures that are not wider fail at run time, as real operators do.
    """
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Resize",
            ["planes", "", "", "side"],
            ["small"],
            axes=[2, 3],
            mode="linear",
            antialias=1,
            exclude_outside=1,  # or pixels beyond the edge count: 2 grey levels off there
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Flatten", ["small"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("Squeeze", ["logits", "last"], ["logit"]),
        helper.make_node(head, ["logit"], ["raw_score"]),
        helper.make_node("Mul", ["raw_score", "four"], ["stretched"]),
        helper.make_node("Add", ["stretched", "one"], ["ai_rating"]),
    ]
    constants = {
        "side": np.array([SIDE, SIDE], np.int64),
        "weights": weights(),
        "bias": np.array([bias], np.float32),
        "last": np.array([1], np.int64),
        "four": np.array(4, np.float32),
        "one": np.array(1, np.float32),
    }
    if needs_width:
        constants["column"] = np.array(needs_width, np.int64)
        constants["no"] = np.array(0, np.float32)
        nodes[0].output[0] = "unchecked"
        nodes[1:1] = [
            helper.make_node("Gather", ["unchecked", "column"], ["probe"], axis=2),
            helper.make_node("ReduceMax", ["probe"], ["peak"], keepdims=0),
            helper.make_node("Mul", ["peak", "no"], ["nothing"]),
            helper.make_node("Add", ["unchecked", "nothing"], ["float"]),
        ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, input_type, list(input_shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    stamps = {"target_type": target_type} | ({"model_version": version} if version else {})
    helper.set_model_props(model, stamps)
    return model


def tiny_both() -> onnx.ModelProto:
    """Give the tiny model a second head, which asks for the rating."""
    model = tiny_model()
    graph = model.graph
    other = numpy_helper.from_array(weights()[::-1].copy(), "other.weights")
    graph.initializer.append(other)
    graph.node.extend(
        [
            helper.make_node("MatMul", ["flat", "other.weights"], ["other.products"]),
            helper.make_node("Squeeze", ["other.products", "last"], ["other.logit"]),
            helper.make_node("Sigmoid", ["other.logit"], ["regression_raw_score"]),
            helper.make_node("Mul", ["regression_raw_score", "four"], ["other.stretched"]),
            helper.make_node("Add", ["other.stretched", "one"], ["regression_ai_rating"]),
            helper.make_node("Identity", ["raw_score"], ["binary_raw_score"]),
            helper.make_node("Identity", ["ai_rating"], ["binary_ai_rating"]),
        ]
    )
    graph.output.extend(
        helper.make_tensor_value_info(f"{target_type}_{name}", TensorProto.FLOAT, ["batch"])
        for target_type in ("binary", "regression")
        for name in ("raw_score", "ai_rating")
    )
    stamps = {"model_version": VERSION, "target_type": "binary"}
    heads = {"binary.model_version": VERSION, "regression.model_version": OTHER_VERSION}
    helper.set_model_props(model, stamps | heads)
    return model


BOTH_HEADS = [
    {"target_type": "binary", "model_version": VERSION, "decision_threshold": 0.4},
    {"target_type": "regression", "model_version": OTHER_VERSION, "decision_threshold": None},
]


def write_both(folder: Path, **changes: object) -> Path:
    """Write a file with both heads, or with a description that is changed in a point."""
    data = tiny_both().SerializeToString(deterministic=True)
    return write_model(folder, data, describe(data, heads=BOTH_HEADS) | changes)


def weights() -> NDArray[np.float32]:
    spread = np.random.default_rng(7).normal(0, 1 / 255, (3 * SIDE * SIDE, 1))
    return ((spread - spread.mean()) / 4).astype(np.float32)


def describe(data: bytes, **changes: object) -> dict[str, object]:
    """The part of model.meta.json that the runtime reads; a change to None removes the key."""
    meta: dict[str, object] = {
        "schema_version": 1,
        "model_version": VERSION,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "target_type": "binary",
        "decision_threshold": 0.4,
    }
    return {key: value for key, value in (meta | changes).items() if value is not None}


def write_model(
    folder: Path, model: onnx.ModelProto | bytes, meta: Mapping[str, object] | None = None
) -> Path:
    """Write model.onnx and model.meta.json into a folder that is made if need be."""
    data = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    text = json.dumps(describe(data) if meta is None else meta, indent=2) + "\n"
    (folder / "model.meta.json").write_text(text)
    return folder / "model.onnx"


class LiveLink:
    """Two versions, and a link to one of them as `production/binary` is.

    Attributes:
        path: The model as the application names it.
        scores: By name of the version, what it says of `JPEG`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link = folder / "binary"
        self.path = self.link / "model.onnx"
        self.scores: dict[str, Score] = {}
        for name, bias in (("first", 0.0), ("second", 1.5)):
            version = f"binary-{name}"
            data = tiny_model(version=version, bias=bias).SerializeToString(deterministic=True)
            file = write_model(folder / name, data, describe(data, model_version=version))
            (raw_score,) = OnnxModel.load(file).score_array(decode_image(JPEG)[None])
            self.scores[name] = Score.of(float(raw_score), model_version=version)
        self.lead_to("first")

    def lead_to(self, name: str) -> None:
        prepared = self.folder / ".binary.tmp"
        prepared.symlink_to(name)
        prepared.replace(self.link)
