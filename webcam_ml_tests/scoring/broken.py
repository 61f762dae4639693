"""Ways in which a live model cannot be used, and what a runtime says of each, in Python and in Node."""

import json
from collections.abc import Callable
from pathlib import Path

from webcam_ml_tests.scoring.models import (
    BOTH_HEADS,
    VERSION,
    describe,
    tiny_model,
    write_both,
    write_model,
)
from webcam_ml_tests.scoring.pictures import HTML


def _nothing_named(live: Path) -> dict[str, str]:
    return {"AI_ONNX_MODEL_PATH": ""}


def _missing(live: Path) -> dict[str, str]:
    return {"AI_ONNX_MODEL_PATH": str(live / "nowhere.onnx")}


def _folder(live: Path) -> dict[str, str]:
    return {"AI_ONNX_MODEL_PATH": str(live)}


def _truncated(live: Path) -> dict[str, str]:
    data = (live / "model.onnx").read_bytes()
    (live / "model.onnx").write_bytes(data[: len(data) // 2])
    return {}


def _one_byte(live: Path) -> dict[str, str]:
    data = bytearray((live / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (live / "model.onnx").write_bytes(data)
    return {}


def _meta_missing(live: Path) -> dict[str, str]:
    (live / "model.meta.json").unlink()
    return {}


def _meta_of_another(live: Path) -> dict[str, str]:
    write_model(live, tiny_model(), describe(tiny_model(bias=1.0).SerializeToString()))
    return {}


def _version(live: Path) -> dict[str, str]:
    return {"AI_MODEL_VERSION": "binary-resnet18-ffffffffffff"}


def _not_onnx(live: Path) -> dict[str, str]:
    write_model(live, HTML)
    return {}


def _operator(live: Path) -> dict[str, str]:
    model = tiny_model()
    model.graph.node[7].domain = "com.microsoft"
    write_model(live, model)
    return {}


def _contract(live: Path) -> dict[str, str]:
    write_model(live, tiny_model(input_name="input"))
    return {}


def _operator_name(live: Path) -> dict[str, str]:
    model = tiny_model()
    model.graph.node[7].op_type = "Sigmoidal"
    write_model(live, model)
    return {}


def _at_run_time(live: Path) -> dict[str, str]:
    write_model(live, tiny_model(needs_width=5000))
    return {}


def _scale(live: Path) -> dict[str, str]:
    write_model(live, tiny_model(head="Identity", bias=9.0))
    return {}


def _threshold(live: Path) -> dict[str, str]:
    meta = json.loads((live / "model.meta.json").read_text())
    # No float holds it.
    (live / "model.meta.json").write_text(json.dumps(meta | {"decision_threshold": 10**400}))
    return {}


def _heads_without_outputs(live: Path) -> dict[str, str]:
    data = tiny_model().SerializeToString(deterministic=True)
    write_model(live, data, describe(data, heads=BOTH_HEADS))
    return {}


def _outputs_without_heads(live: Path) -> dict[str, str]:
    write_both(live, heads=None)
    return {}


def _head_of_another(live: Path) -> dict[str, str]:
    another = BOTH_HEADS[1] | {"model_version": "regression-tiny-000000000000"}
    write_both(live, heads=[BOTH_HEADS[0], another])
    return {}


def _one_head_twice(live: Path) -> dict[str, str]:
    write_both(live, heads=[BOTH_HEADS[0], BOTH_HEADS[0]])
    return {}


def _another_first_head(live: Path) -> dict[str, str]:
    write_both(live, heads=BOTH_HEADS[::-1])
    return {}


def _no_list_of_heads(live: Path) -> dict[str, str]:
    write_both(live, heads={"binary": VERSION})
    return {}


# By name: what is done to the folder, which gives the variables that change with it; and the reason.
BROKEN: dict[str, tuple[Callable[[Path], dict[str, str]], str]] = {
    "nothing named": (_nothing_named, "AI_ONNX_MODEL_PATH names no model"),
    "missing": (_missing, "there is no model at .*nowhere.onnx"),
    "folder": (_folder, "is a folder"),
    "truncated": (_truncated, "not the one that model.meta.json describes"),
    "one byte": (_one_byte, "not the one that model.meta.json describes"),
    "meta missing": (_meta_missing, "model.meta.json is missing"),
    "meta of another": (_meta_of_another, "belong to different models"),
    "version": (_version, "AI_MODEL_VERSION asks for binary-resnet18-ffffffffffff"),
    "not onnx": (_not_onnx, "not an ONNX model"),
    "operator": (_operator, "com.microsoft::Sigmoid"),
    "contract": (_contract, "one input image"),
    "operator name": (_operator_name, "cannot be loaded"),
    "at run time": (_at_run_time, "failed while running"),
    "scale": (_scale, "outside 0 to 1"),
    "heads without outputs": (
        _heads_without_outputs,
        "raw_score and ai_rating and binary_raw_score",
    ),
    "outputs without heads": (
        _outputs_without_heads,
        "the outputs raw_score and ai_rating, float32",
    ),
    "head of another": (_head_of_another, "says regression.model_version"),
    "one head twice": (_one_head_twice, "lists the heads binary, binary"),
    "another first head": (_another_first_head, f"the first must be {VERSION}"),
    "no list of heads": (_no_list_of_heads, "heads that are no list of objects"),
    "threshold": (_threshold, "decision_threshold .* where a number from 0 to 1 is expected"),
}
