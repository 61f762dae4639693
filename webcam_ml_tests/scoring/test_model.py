"""A model is believed only when its digest, its content and its signature say the same."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import ModelError, OnnxModel, Scorer
from webcam_ml.scoring._onnx_file import check_self_contained
from webcam_ml_tests.scoring.models import (
    SIDE,
    VERSION,
    describe,
    tiny_model,
    weights,
    write_model,
)
from webcam_ml_tests.scoring.pictures import encoded, photograph

PICTURE = encoded(photograph())


def refused(path: Path, match: str, *, verify: bool = True) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        OnnxModel.load(path, verify=verify)
    assert isinstance(caught.value, WebcamMLError)


def test_a_verified_model_knows_who_it_is(tmp_path: Path) -> None:
    path = write_model(tmp_path, tiny_model())

    model = OnnxModel.load(path)

    assert model.model_version == VERSION
    assert model.target_type == "binary"
    assert model.decision_threshold == 0.4
    assert model.path == path


@pytest.mark.parametrize("size", [(360, 640), (48, 64), (8, 8), (64, 17)])
def test_scores_agree_with_the_model_written_in_numpy(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Pillow's bilinear reduction is the reference for the antialiased resize in the graph."""
    pictures = [photograph(*size, seed=seed) for seed in range(3)]
    expected = []
    for picture in pictures:
        small = [
            np.asarray(
                Image.fromarray(picture[:, :, channel].astype(np.float32)).resize(
                    (SIDE, SIDE), Image.Resampling.BILINEAR
                )
            )
            for channel in range(3)
        ]
        logit = np.stack(small).reshape(-1).astype(np.float64) @ weights()[:, 0]
        expected.append(1 / (1 + np.exp(-logit)))

    raw_scores = OnnxModel.load(write_model(tmp_path, tiny_model())).score_array(np.stack(pictures))

    assert raw_scores.dtype == np.float32
    np.testing.assert_allclose(raw_scores, expected, atol=1e-6)


def test_threads_and_batches_change_no_bit(tmp_path: Path) -> None:
    path = write_model(tmp_path, tiny_model())
    batch = np.stack([photograph(seed=seed) for seed in range(16)])
    together = OnnxModel.load(path, threads=1).score_array(batch)
    model = OnnxModel.load(path, threads=4)

    with ThreadPoolExecutor(8) as pool:
        singly = list(pool.map(lambda picture: model.score_array(picture[None])[0], batch))

    np.testing.assert_array_equal(together, singly)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 224, 224), np.float32),
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 224, 224, 4), np.uint8),
        np.zeros((0, 224, 224, 3), np.uint8),
        np.zeros((1, 0, 224, 3), np.uint8),
    ],
    ids=lambda batch: f"{batch.dtype}{list(batch.shape)}",
)
def test_other_batches_are_a_callers_mistake(tmp_path: Path, batch: np.ndarray) -> None:
    model = OnnxModel.load(write_model(tmp_path, tiny_model()))

    with pytest.raises(ValueError, match=r"uint8 \[batch, height, width, 3\]"):
        model.score_array(batch)


@given(st.data())
def test_one_changed_byte_anywhere_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    honest = tiny_model().SerializeToString(deterministic=True)
    at = data.draw(st.integers(0, len(honest) - 1))
    flip = data.draw(st.integers(1, 255))
    tampered = honest[:at] + bytes([honest[at] ^ flip]) + honest[at + 1 :]
    folder = tmp_path_factory.mktemp("tampered")

    refused(write_model(folder, tampered, describe(honest)), "not the one that model.meta.json")


def test_a_model_cut_short_is_noticed(tmp_path: Path) -> None:
    honest = tiny_model().SerializeToString()

    refused(write_model(tmp_path, honest[:-100], describe(honest)), "not the one")
    refused(write_model(tmp_path, honest[:-100]), "cut short")
    refused(write_model(tmp_path, b""), "no ONNX graph")


def test_a_model_without_meta_is_nobody(tmp_path: Path) -> None:
    path = write_model(tmp_path, tiny_model())
    (tmp_path / "model.meta.json").unlink()

    refused(path, "model.meta.json is missing")


def test_meta_of_another_model_is_noticed(tmp_path: Path) -> None:
    other = tiny_model(bias=0.5).SerializeToString()

    refused(write_model(tmp_path, tiny_model(), describe(other)), "belong to different models")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema_version": 2}, "schema_version 2"),
        ({"schema_version": None}, "schema_version None"),
        ({"schema_version": True}, "schema_version True"),
        ({"sha256": None}, "sha256 None"),
        ({"sha256": 7}, "sha256 7"),
        ({"sha256": "0" * 64}, "not the one"),
        ({"size": 12}, "not the one"),
        ({"size": "12"}, "size '12'"),
        ({"model_version": None}, "model_version None"),
        ({"model_version": ""}, "calls itself ''"),
        ({"model_version": "baseline-v1"}, "calls itself 'baseline-v1'"),
        ({"model_version": "binary-other-0123456789ab"}, "says model_version"),
        ({"target_type": "regression"}, "says target_type"),
        ({"target_type": "ranking"}, "target_type 'ranking'"),
        ({"decision_threshold": "0.4"}, "decision_threshold '0.4'"),
    ],
    ids=str,
)
def test_meta_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], match: str
) -> None:
    data = tiny_model().SerializeToString()

    refused(write_model(tmp_path, data, describe(data, **changes)), match)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000])
def test_meta_that_is_nested_too_deep_is_refused(tmp_path: Path, text: str) -> None:
    path = write_model(tmp_path, tiny_model())
    (tmp_path / "model.meta.json").write_text(text)

    refused(path, "nested too deep")
    assert Scorer("onnx", model_path=path).score(PICTURE).model_version == "baseline-v1"


@pytest.mark.parametrize("name", ["model.onnx", "model.meta.json"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    path = write_model(tmp_path, tiny_model())
    odd = tmp_path / name
    odd.unlink()
    os.mkfifo(odd)
    refused(path, "not a regular file")
    odd.unlink()
    odd.symlink_to("/dev/zero")
    refused(path, "not a regular file|is missing|no model")
    odd.unlink()
    with odd.open("wb") as file:
        file.truncate(40 * 2**30)
    refused(path, "at most .* are read")
    assert Scorer("onnx", model_path=path).score(PICTURE).model_version == "baseline-v1"


def test_a_loop_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webcam_ml.scoring._model.RUN_SECONDS", 0.5)
    scorer = Scorer("onnx", model_path=write_model(tmp_path, endless_model()))

    assert scorer.score(PICTURE).model_version == "baseline-v1"
    assert str(scorer.fallback_reason).endswith("failed while running: ended after 0.5 seconds")


def endless_model() -> onnx.ModelProto:
    """The tiny model with a `Loop` in front of its score whose condition stays true."""
    model = tiny_model()
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [name + "_next"]) for name in ("go_on", "value")],
        "body",
        [
            value("iteration", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("value", TensorProto.FLOAT, ["batch"]),
        ],
        [
            value("go_on_next", TensorProto.BOOL, []),
            value("value_next", TensorProto.FLOAT, ["batch"]),
        ],
    )
    nodes = list(model.graph.node)
    at = next(index for index, node in enumerate(nodes) if node.output[0] == "raw_score")
    nodes[at].output[0] = "once"
    nodes.insert(at + 1, helper.make_node("Loop", ["", "yes", "once"], ["raw_score"], body=body))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return model


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "\xff"])
def test_meta_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = write_model(tmp_path, tiny_model())
    (tmp_path / "model.meta.json").write_text(text, encoding="latin-1")

    refused(path, r"is not JSON|holds no JSON object")


def test_a_threshold_may_be_missing_or_a_whole_number(tmp_path: Path) -> None:
    data = tiny_model().SerializeToString()
    for threshold in (None, 1, 0.25):
        path = write_model(tmp_path, data, describe(data, decision_threshold=threshold))
        assert OnnxModel.load(path).decision_threshold == threshold


def test_a_path_to_nothing_or_to_a_folder_says_so(tmp_path: Path) -> None:
    write_model(tmp_path / "live", tiny_model())

    refused(tmp_path / "nowhere" / "model.onnx", "there is no model at")
    refused(tmp_path / "live", "is a folder; name the file in it, .*model.onnx")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "there is no model at")


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs as root may read everything, so the refusal is that of the system call."""
    path = write_model(tmp_path, tiny_model())
    if os.geteuid():
        path.chmod(0)
    else:
        monkeypatch.setattr(os, "open", _refuse)

    refused(path, "cannot be read: Permission denied")


def _refuse(*_: object) -> int:
    raise PermissionError(13, os.strerror(13))


def test_a_link_is_followed_once_so_that_both_files_are_of_one_model(tmp_path: Path) -> None:
    write_model(tmp_path / "versions" / "one", tiny_model())
    (tmp_path / "binary").symlink_to(Path("versions") / "one")

    model = OnnxModel.load(tmp_path / "binary" / "model.onnx")

    assert model.path == tmp_path / "versions" / "one" / "model.onnx"


def test_unverified_loading_needs_no_meta_but_checks_the_file(tmp_path: Path) -> None:
    path = write_model(tmp_path, tiny_model(target_type="regression"))
    (tmp_path / "model.meta.json").unlink()

    model = OnnxModel.load(path, verify=False)

    assert (model.model_version, model.target_type) == (VERSION, "regression")
    refused(write_model(tmp_path, tiny_model(outputs=["raw_score"])), "outputs", verify=False)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"input_name": "input"}, "one input image"),
        ({"input_shape": ("batch", 224, 224, 3)}, "first three sizes free"),
        ({"input_shape": (1, "height", "width", 3)}, "first three sizes free"),
        ({"input_shape": ("batch", "height", "width", "channels")}, "one input image"),
        ({"outputs": ("raw_score",)}, "raw_score and ai_rating"),
        ({"outputs": ("raw_score", "ai_rating", "logit")}, "raw_score and ai_rating"),
        ({"outputs": ("logit", "ai_rating")}, "raw_score and ai_rating"),
        ({"version": None}, "lack model_version"),
        ({"version": "baseline-v1"}, "calls itself 'baseline-v1'"),
        ({"target_type": "ranking"}, "target_type 'ranking'"),
    ],
    ids=str,
)
def test_a_model_with_another_signature_is_refused(
    tmp_path: Path, changes: dict[str, object], match: str
) -> None:
    refused(write_model(tmp_path, tiny_model(**changes)), match)


def test_the_float_tensor_of_before_is_refused(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])
    score = helper.make_tensor_value_info("raw_score", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["raw_score"], keepdims=0)],
        "old",
        [image],
        [score],
        [numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    refused(write_model(tmp_path, model), r"tensor\(float\) \[1, 3, 224, 224\]")


def test_tensors_in_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime would take them from the working directory, even for a model in memory."""
    model = tiny_model()
    onnx.save(
        model, tmp_path / "model.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    data = (tmp_path / "model.onnx").read_bytes()
    monkeypatch.chdir(tmp_path)

    refused(write_model(tmp_path, data), "tensors in another file")


def test_an_external_tensor_is_found_wherever_it_hides() -> None:
    hidden = numpy_helper.from_array(np.zeros(4, np.float32), "hidden")
    onnx.external_data_helper.set_external_data(hidden, "/etc/passwd")
    sparse = onnx.SparseTensorProto(values=hidden, indices=hidden, dims=[4])
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=hidden)], "inner", [], []
    )
    places = {
        "attribute": helper.make_node("Constant", [], ["c"], value=hidden),
        "list": helper.make_node("Odd", [], ["c"], values=[hidden]),
        "sparse": helper.make_node("Constant", [], ["c"], sparse_value=sparse),
        "branch": helper.make_node("If", ["x"], ["c"], then_branch=inner, else_branch=inner),
        "graphs": helper.make_node("Odd", [], ["c"], bodies=[inner]),
    }
    for place, node in places.items():
        model = helper.make_model(helper.make_graph([node], "g", [], []))
        with pytest.raises(ModelError, match="another file"):
            check_self_contained(model.SerializeToString())
        assert place

    training = onnx.TrainingInfoProto(algorithm=inner)
    model = helper.make_model(helper.make_graph([], "g", [], []))
    model.training_info.append(training)
    with pytest.raises(ModelError, match="another file"):
        check_self_contained(model.SerializeToString())


def test_operators_outside_the_standard_are_refused(tmp_path: Path) -> None:
    """com.microsoft too: onnxruntime has them built in and would run them."""
    for domain in ("com.microsoft", "my.operators"):
        model = tiny_model()
        model.graph.node[7].domain = domain
        model.opset_import.append(helper.make_opsetid(domain, 1))
        refused(write_model(tmp_path, model), f"{domain}::Sigmoid, which is not part of")


def test_a_foreign_operator_inside_a_branch_is_found() -> None:
    inner = helper.make_graph([helper.make_node("Evil", [], ["c"], domain="x.y")], "i", [], [])
    outer = helper.make_node("If", ["q"], ["c"], then_branch=inner, else_branch=inner)
    model = helper.make_model(helper.make_graph([outer], "g", [], []))

    with pytest.raises(ModelError, match=r"x\.y::Evil"):
        check_self_contained(model.SerializeToString())


def test_functions_that_a_model_brings_along_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.functions.append(
        helper.make_function(
            "",
            "Sigmoid",
            ["x"],
            ["y"],
            [helper.make_node("Identity", ["x"], ["y"])],
            [helper.make_opsetid("", 20)],
        )
    )

    refused(write_model(tmp_path, model), "functions of its own")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(data: bytes) -> None:
    try:
        check_self_contained(data)
    except ModelError:
        return
    onnx.ModelProto.FromString(data)


def test_a_model_that_gives_no_number_or_one_off_the_scale_is_an_error(tmp_path: Path) -> None:
    picture = photograph()[None]
    for head, bias in (("Sqrt", -1e6), ("Identity", 3.0), ("Identity", -3.0)):
        model = OnnxModel.load(write_model(tmp_path, tiny_model(head=head, bias=bias)))
        with pytest.raises(ModelError, match="outside 0 to 1"):
            model.score_array(picture)


def test_a_model_that_fails_while_running_is_an_error_with_its_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = OnnxModel.load(write_model(tmp_path, tiny_model(needs_width=40)))
    model.score_array(photograph(width=64)[None])

    with pytest.raises(ModelError, match=f"{VERSION} failed while running"):
        model.score_array(photograph(width=30)[None])

    assert capfd.readouterr() == ("", "")


def test_meta_is_read_as_written_by_hand(tmp_path: Path) -> None:
    """Keys that the runtime does not know are for others."""
    path = write_model(tmp_path, tiny_model())
    meta = json.loads((tmp_path / "model.meta.json").read_text())
    (tmp_path / "model.meta.json").write_text(json.dumps(meta | {"metrics": {}, "opset": 20}))

    assert OnnxModel.load(path).model_version == VERSION
