"""Files of weights: what is taken from them, and that nothing is left to chance where they do not fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from webcam_ml.contracts import SettingsError
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BackboneSpec, get_backbone, prepare_backbone
from webcam_ml.features._weights_files import read_state_dict
from webcam_ml.training import TrainingSettings

State = dict[str, torch.Tensor]
OF_TIMM = "timm/convnext_atto"
OF_TORCHVISION = "mobilenet_v3_small"


def drawn(model_name: str, **options: Any) -> State:
    torch.manual_seed(3)
    if model_name == OF_TORCHVISION:
        return dict(models.mobilenet_v3_small(**options).state_dict())
    return dict(timm.create_model(model_name.removeprefix("timm/"), **options).state_dict())


def as_its_publisher_names_them(state: Mapping[str, torch.Tensor]) -> State:
    """Name a ConvNeXt of timm as the repository does that it comes from."""
    renamed = (
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
        (r"conv_dw", "dwconv"),
        (r"mlp\.fc([12])", r"pwconv\1"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    )
    names = {name: name for name in state}
    for pattern, other in renamed:
        names = {name: re.sub(pattern, other, was) for name, was in names.items()}
    return {names[name]: tensor for name, tensor in state.items()}


def judge(model_name: str, path: Path) -> None:
    settings = TrainingSettings(model_name=model_name, weights=str(path), image_size=64)
    settings.judge_before_run()


def without(state: State, beginning: str) -> State:
    return {name: one for name, one in state.items() if not name.startswith(beginning)}


@pytest.mark.parametrize(
    "state",
    [
        drawn(OF_TIMM),
        without(drawn(OF_TIMM), "head.fc."),
        drawn(OF_TIMM, num_classes=5),
        as_its_publisher_names_them(drawn(OF_TIMM)),
    ],
    ids=["whole", "no classifier", "other classes", "names of its publisher"],
)
def test_a_network_of_timm_gets_every_tensor_from_the_file(state: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    judge(OF_TIMM, path)
    found = get_backbone(OF_TIMM).with_weights_of(path, 64).state_dict()
    expected = drawn(OF_TIMM, num_classes=0)
    assert found.keys() == expected.keys()
    given = state.values()
    for name, tensor in found.items():
        same = (one for one in given if one.numel() == tensor.numel())
        assert any(torch.equal(one.reshape(tensor.shape), tensor) for one in same), name


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(drawn(OF_TIMM), "stages.2."), "of its 126 tensors 58 missing"),
        (
            {f"module.{name}": one for name, one in drawn(OF_TIMM).items()},
            r"126 missing .*128 unknown \(such as module\.head\.fc\.bias\)",
        ),
        ({**drawn(OF_TIMM), "more": torch.zeros(2)}, r"1 unknown \(such as more\)"),
        (drawn("timm/convnext_femto"), "126 of another shape"),
        ({"head.fc.weight": torch.zeros(1000, 320)}, "126 missing"),
        (
            without(as_its_publisher_names_them(drawn(OF_TIMM)), "stages.2."),
            "is not a timm/convnext_atto",
        ),
    ],
    ids=["cut", "wrapped", "more", "other network", "classifier alone", "publisher's, cut"],
)
def test_what_lacks_tensors_of_a_network_of_timm_is_refused_and_not_completed_by_chance(
    state: State, message: str, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(WebcamMLError, match=message) as caught:
        judge(OF_TIMM, tmp_path / "weights.pt")
    assert "Set model_name to the network that the file was saved from" in str(caught.value)


@pytest.mark.parametrize("name", ["weights.pt", "weights.SAFETENSORS", "a1b2c3"])
def test_safetensors_are_known_by_what_they_hold(name: str, tmp_path: Path) -> None:
    state = {key: one.contiguous() for key, one in drawn(OF_TORCHVISION).items()}
    save_file(state, tmp_path / name)
    judge(OF_TORCHVISION, tmp_path / name)


def changed(tensor: torch.Tensor, value: float) -> torch.Tensor:
    other = tensor.clone()
    other.view(-1)[0] = value
    return other


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize("model_name", [OF_TORCHVISION, OF_TIMM])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: changed(one, float("nan")), "has numbers that are not finite"),
        (lambda one: changed(one, float("inf")), "has numbers that are not finite"),
        (lambda one: one.to_sparse(), "no plain one of real numbers"),
        (lambda one: one.to(torch.complex64), "no plain one of real numbers"),
        (lambda one: one.to("meta"), "no plain one of real numbers"),
    ],
    ids=["nan", "infinite", "sparse", "complex", "without numbers"],
)
def test_a_tensor_that_is_no_plain_numbers_is_named_before_the_run(
    model_name: str, change: Any, message: str, tmp_path: Path
) -> None:
    state = drawn(model_name)
    name = next(key for key, one in state.items() if one.ndim == 4)
    torch.save({**state, name: change(state[name])}, tmp_path / "weights.pt")
    with pytest.raises(WebcamMLError, match=f"tensor {re.escape(name)} .*{message}"):
        judge(model_name, tmp_path / "weights.pt")


@pytest.mark.parametrize("model_name", [OF_TORCHVISION, OF_TIMM])
def test_an_empty_state_dict_is_refused_and_no_hub_is_asked(
    model_name: str, tmp_path: Path
) -> None:
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(WebcamMLError, match="is an empty state dict"):
        judge(model_name, tmp_path / "weights.pt")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebcamMLError, match=r"gone\.pt cannot be read \(.*No such file"):
        read_state_dict(tmp_path / "gone.pt")


def test_without_a_network_weights_of_timm_name_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    spec = BackboneSpec(model_name=OF_TIMM, image_size=64)
    with pytest.raises(WebcamMLError) as caught:
        prepare_backbone(spec, cache=tmp_path)
    for text in (
        "timm/convnext_atto could not be downloaded",
        "weights: /path/to",
        "weights: none",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "timm/vit_small_patch14_dinov2.lvd142m",
            200,
            r"not look at 4 pixels of it: .* Set 196 or 210, or leave image_size out \(518 then\)",
        ),
        ("timm/vit_tiny_patch16_224", 100, "not look at 4 pixels of it: .* Set 96 or 112"),
    ],
)
def test_a_size_of_which_a_border_would_be_lost_is_refused(
    name: str, size: int, message: str
) -> None:
    settings = TrainingSettings(model_name=name, weights="none", image_size=size)
    with pytest.raises(WebcamMLError, match=message):
        settings.judge_before_run()
    fitting = TrainingSettings(model_name=name, weights="none", image_size=112)
    fitting.judge_before_run()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_library_takes_is_refused(seed: int) -> None:
    with pytest.raises(SettingsError, match=r"random_state is .*from 0 to 4294967295"):
        TrainingSettings(random_state=seed)
