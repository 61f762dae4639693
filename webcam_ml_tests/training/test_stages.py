"""What a stage is, asked of torchvision's and timm's own ways to look into their networks."""

import pickle

import pytest
import torch
from torchvision.models.feature_extraction import create_feature_extractor

from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BACKBONES, BackboneSpec
from webcam_ml.features._backbones import get_backbone
from webcam_ml.features._timm import TimmBackbone
from webcam_ml.training import TrainingSettings

WITH_STAGES = [name for name, backbone in BACKBONES.items() if backbone.stages]
# Channels first, channels first under other names, channels last, tokens.
OF_TIMM = [
    "timm/convnext_atto",
    "timm/tf_efficientnet_lite0",
    "timm/swin_s3_tiny_224",
    "timm/hiera_tiny_224",
]


def picture(size: int) -> torch.Tensor:
    return torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(0))


def channels_first(tensor: torch.Tensor, *, channels_last: bool) -> torch.Tensor:
    return tensor.movedim(-1, 1) if channels_last else tensor


@pytest.mark.parametrize("name", WITH_STAGES)
def test_features_of_all_stages_are_means_of_the_last_tensor_of_each_size(name: str) -> None:
    backbone = get_backbone(name)
    stages = 1 + len(backbone.stages)
    network, alone = (backbone.build(96, feature_stages=count) for count in (stages, 1))
    # The parts that follow each other at the depth of the stages.
    depth = backbone.stages[0].count(".")
    parts = [part for part, _ in alone.named_modules() if part and part.count(".") == depth]
    inside = [part for part in parts if part.startswith(backbone.stages[0].rpartition(".")[0])]
    with torch.inference_mode():
        given = create_feature_extractor(alone, inside)(picture(96))
        found, own = network(picture(96)), alone(picture(96))
    last_of_size: dict[int, torch.Tensor] = {}
    for tensor in given.values():
        if tensor.ndim == 4:
            first = channels_first(tensor, channels_last=backbone.channels_last)
            last_of_size[first.shape[2]] = first
    sizes = [3, 6, 12, 24, 48][:stages]
    expected = [last_of_size[size].mean(dim=(2, 3)) for size in sizes[:0:-1]]
    torch.testing.assert_close(found, torch.cat([*expected, own], dim=1))
    assert torch.equal(found[:, -backbone.features :], own)


@pytest.mark.parametrize("name", OF_TIMM)
def test_stages_of_timm_are_what_timm_gives_as_features_of_each_size(name: str) -> None:
    backbone = get_backbone(name)
    assert isinstance(backbone, TimmBackbone)
    size = backbone.image_size
    network, alone = (backbone.build(size, feature_stages=count) for count in (3, 1))
    with torch.inference_mode():
        maps = alone.forward_intermediates(picture(size), intermediates_only=True)
        found, own = network(picture(size)), alone(picture(size))
    of_size = {tensor.shape[-1]: tensor.mean(dim=(2, 3)) for tensor in maps}
    *_, before_last, last_but_one, _ = (of_size[side] for side in sorted(of_size, reverse=True))
    torch.testing.assert_close(found, torch.cat([before_last, last_but_one, own], dim=1))


def test_without_a_choice_three_stages_are_taken_or_all_of_a_network_with_fewer() -> None:
    chosen = {
        name: BackboneSpec(model_name=name).feature_stages
        for name in ("resnet18", "swin_t", "vit_b_16", "timm/vit_tiny_patch16_224", *OF_TIMM)
    }
    assert chosen == {
        "resnet18": 3, "swin_t": 3, "vit_b_16": 1, "timm/vit_tiny_patch16_224": 1,
        **dict.fromkeys(OF_TIMM, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("resnet18", 5, "feature_stages is 5, and resnet18 has 4. .* 4 or less"),
        ("vit_b_16", 2, "vit_b_16 works at one resolution: one stage. .* set it to 1$"),
        ("timm/vit_tiny_patch16_224", 3, "works at one resolution: one stage"),
    ],
)
def test_more_stages_than_there_are_are_refused_before_the_run(
    name: str, stages: int, message: str
) -> None:
    settings = TrainingSettings(model_name=name, weights="none", feature_stages=stages)
    with pytest.raises(WebcamMLError, match=message):
        settings.judge_before_run()
    with pytest.raises(WebcamMLError, match="feature_stages"):
        BackboneSpec(model_name=name, feature_stages=0)


def test_a_network_of_stages_has_the_tensors_of_one_without_and_goes_to_other_processes() -> None:
    backbone = get_backbone("resnet18")
    network, alone = (backbone.build(64, feature_stages=count) for count in (3, 1))
    assert network.state_dict().keys() == alone.state_dict().keys()
    sent = pickle.loads(pickle.dumps(network))  # noqa: S301  its own
    with torch.inference_mode():
        assert torch.equal(sent(picture(64)), network(picture(64)))
        assert network(picture(64)).shape == (2, 128 + 256 + 512)
