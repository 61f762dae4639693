"""What a user may choose about features, and which values make sense."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field

from webcam_ml.contracts import OneOf, Settings, Why
from webcam_ml.features._backbones import BACKBONES, TIMM, WEIGHTS_IMAGENET, get_backbone
from webcam_ml.features._half import StoreWeights
from webcam_ml.features._stages import DEFAULT_STAGES

# The `model_name` that is none: one of several is chosen.
AUTO = "auto"

MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 1024
# What numpy, scikit-learn and torch all take.
MAX_RANDOM_STATE = 2**32 - 1


def _image_size(earlier: Mapping[str, Any]) -> int:
    """Give the default of `image_size`: that of the backbone which the fields before it name."""
    return get_backbone(earlier["model_name"]).image_size


def _feature_stages(earlier: Mapping[str, Any]) -> int:
    """Give the default of `feature_stages`: of a backbone that has fewer, all."""
    return min(DEFAULT_STAGES, 1 + len(get_backbone(earlier["model_name"]).stages))


def _if_named(
    default: Callable[[Mapping[str, Any]], int],
) -> Callable[[dict[str, Any]], int | None]:
    """Leave a default open where no backbone is named: each candidate has its own."""
    return lambda earlier: None if earlier["model_name"] == AUTO else default(earlier)


class BackboneChoice(Settings):
    """Which features are meant, or with `model_name: auto` what all candidates have in common."""

    model_name: Annotated[str, OneOf(ChainMap({AUTO: None}, BACKBONES), or_beginning=TIMM)] = Field(
        default="resnet18",
        description="The backbone: one of torchvision's that are listed, or timm/<name> with the extra "
        "webcam-ml[timm]; auto: one of several, chosen on the training pictures",
    )
    weights: str = Field(
        default=WEIGHTS_IMAGENET,
        description="imagenet: the published ones, downloaded once; none: seeded, for trials; or the path "
        "of a state dict (torch.save's, or .safetensors)",
    )
    image_size: Annotated[
        int | None,
        Why(
            "backbones shrink pictures 32-fold, and 224 is what most of their weights were trained at"
        ),
    ] = Field(
        default_factory=_if_named(_image_size),
        ge=MIN_IMAGE_SIZE,
        le=MAX_IMAGE_SIZE,
        description="Side in pixels of the square that pictures are resized to; without it, what the "
        "backbone's weights were trained at (with auto, each candidate's): "
        + ", ".join(f"{one.name} {one.image_size}" for one in BACKBONES.values()),
    )
    feature_stages: int | None = Field(
        default_factory=_if_named(_feature_stages),
        ge=1,
        description="Of how many of the backbone's last stages (its parts of one resolution each) features "
        f"are made; without it {DEFAULT_STAGES}, or all where it has fewer, as vision transformers do",
    )
    store_weights: StoreWeights = Field(
        default="fp16",
        description="fp16: the backbone's weights are rounded to what fp16 holds before features are "
        "computed, and the file is half as large; fp32: they stay as they are",
    )
    random_state: int = Field(
        default=0,
        ge=0,
        le=MAX_RANDOM_STATE,
        description="Seed of the folds, of weights: none, and of fine-tuning",
    )
    allow_noncommercial_weights: bool = Field(
        default=False,
        description="Whether published weights whose licence forbids commercial use may be used",
    )


class BackboneSpec(BackboneChoice):
    """Which features are meant."""

    model_name: Annotated[str, OneOf(BACKBONES, or_beginning=TIMM)] = "resnet18"
    image_size: int = Field(default_factory=_image_size, ge=MIN_IMAGE_SIZE, le=MAX_IMAGE_SIZE)
    feature_stages: int = Field(default_factory=_feature_stages, ge=1)
