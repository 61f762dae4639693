"""What an ONNX file refers to, read without running it and without the `onnx` package.

onnxruntime resolves external tensors even for a model that is handed over as bytes (relative to
the working directory, as a trial showed), and it knows operators that no other runtime has. A
digest of the file covers neither. So the file is walked first: an ONNX model is a protocol
buffer, and finding the few fields that matter takes the wire format and a table of field numbers
(onnx.proto, IR version 10). Unknown fields are skipped, malformed ones refused.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from webcam_ml.errors import WebcamMLError


class ModelError(WebcamMLError):
    """A model that may not or cannot be used: missing, damaged, of another digest, or failing."""


_Message = Literal["model", "graph", "node", "attribute", "tensor", "sparse", "training"]

# Which field of a message holds which message. Everything that can hold a tensor or a node is here.
_CHILDREN: dict[_Message, dict[int, _Message]] = {
    "model": {7: "graph", 20: "training"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "tensor": {},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
}  # fmt: skip
_MODEL_FUNCTIONS = 25
_NODE_OP_TYPE = 4
_NODE_DOMAIN = 7
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14
_STANDARD_DOMAINS = (b"", b"ai.onnx")


def check_self_contained(data: bytes) -> None:
    """Refuse a model whose behaviour the file alone does not determine.

    Args:
        data: The whole ONNX file.

    Raises:
        ModelError: Tensors in other files, operators outside the ONNX standard, functions defined
            in the model (they may redefine an operator), or no ONNX file at all.
    """
    pending: list[tuple[_Message, memoryview]] = [("model", memoryview(data))]
    graphs = 0
    while pending:
        kind, message = pending.pop()
        graphs += kind == "graph"
        domain, op_type = b"", b"?"
        for field in _fields(message):
            if kind == "tensor" and (
                field.number == _TENSOR_EXTERNAL_DATA
                or (field.number == _TENSOR_DATA_LOCATION and field.value != 0)
            ):
                raise ModelError(
                    "the model keeps tensors in another file, which its digest does not cover; "
                    "export it with external_data=False"
                )
            if kind == "model" and field.number == _MODEL_FUNCTIONS:
                raise ModelError(
                    "the model defines functions of its own; export it with functions inlined"
                )
            if field.content is None:
                continue
            if kind == "node" and field.number == _NODE_DOMAIN:
                domain = bytes(field.content)
            elif kind == "node" and field.number == _NODE_OP_TYPE:
                op_type = bytes(field.content)
            child = _CHILDREN[kind].get(field.number)
            if child is not None:
                pending.append((child, field.content))
        if domain not in _STANDARD_DOMAINS:
            name = b"::".join((domain, op_type)).decode(errors="replace")
            raise ModelError(
                f"the model uses the operator {name}, which is not part of the ONNX standard; "
                "export it with standard operators only"
            )
    if not graphs:
        raise ModelError("the file holds no ONNX graph")


class _Field(NamedTuple):
    number: int
    value: int
    content: memoryview | None
    """The bytes of a length-delimited field; None for numbers."""


def _fields(message: memoryview) -> Iterator[_Field]:
    """Split one message into its fields (protobuf.dev, "Encoding")."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        value, content = 0, None
        match wire_type:
            case 0:
                value, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                content = message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise ModelError("the file is not an ONNX model, or it is damaged")
        if at > end or number == 0:
            raise ModelError("the file is not an ONNX model, or it is cut short")
        yield _Field(number, value, content)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ModelError("the file is not an ONNX model, or it is cut short")
