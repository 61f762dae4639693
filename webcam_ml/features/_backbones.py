"""Pretrained networks without their last layer; a new backbone is one entry of `BACKBONES`.

Those of timm need no entry: what has to be known of them is in timm's own list (`_timm`).

numpy, torch and torchvision are imported inside the functions: naming a backbone must cost nothing.
"""

import hashlib
import logging
import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from webcam_ml.contracts import by_name
from webcam_ml.errors import WebcamMLError
from webcam_ml.features._stages import join_stages
from webcam_ml.features._weights_files import (
    StateDict,
    first_line,
    read_state_dict,
    require_same_architecture,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

logger = logging.getLogger(__name__)

# What torchvision's ImageNet weights were trained with; seeded weights use the same scale.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Interpolation = Literal["bilinear", "bicubic"]

# What `model_name` begins with for a network of timm.
TIMM = "timm/"

EXPORTING_LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript")

UNKNOWN_LICENCE = "unknown"
# Of weights that timm lists; those that it calls "other" or nothing are told, not refused.
NONCOMMERCIAL_LICENCES = {
    "apple-amlr",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "fair-noncommercial-research-license",
    "seer-license",
}

WEIGHTS_IMAGENET = "imagenet"
WEIGHTS_NONE = "none"

CALIBRATION_PICTURES = 64
CALIBRATION_SIZE = 224
CALIBRATION_BATCH = 16


@dataclass(frozen=True)
class Backbone(ABC):
    """An architecture.

    Attributes:
        name: Its name in `model_name`.
        features: Number of features of the last stage, which are the network's own.
        stages: Modules that the earlier stages end with, first to last; see `_stages`. None of a network
            that works at one resolution, as plain vision transformers do.
        channels_last: Whether these give channels last.
        image_size: Side in pixels of the pictures that its weights were trained on; the default.
        mean: Of the three channels, on the scale 0–1, that its weights were trained with.
        std: Likewise, the standard deviation.
        interpolation: How pictures are resized.
        licence: Of the published weights, as their publisher names it.
        libraries: Whose versions decide about the exported graph.
    """

    name: str
    _: KW_ONLY
    features: int
    stages: tuple[str, ...] = ()
    channels_last: bool = False
    image_size: int = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    licence: str = "BSD-3-Clause"
    libraries: tuple[str, ...] = EXPORTING_LIBRARIES

    def build(
        self, image_size: int, *, feature_stages: int = 1, random_state: int = 0
    ) -> "torch.nn.Module":
        """Make the network without its classifier: images → features of so many of the last stages.

        Its weights are drawn by seed; the caller's random stream is left alone.
        """
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            network = self.draw(image_size).eval()
        return self.give_stages(network, feature_stages)

    def give_stages(self, network: "torch.nn.Module", feature_stages: int) -> "torch.nn.Module":
        """Let a network of this architecture, as yet of one stage, give features of more.

        Those of the last stage keep their place at the end, and their bits.
        """
        earlier = self.stages[len(self.stages) - (feature_stages - 1) :]
        join_stages(network, earlier, channels_last=self.channels_last)
        return network

    def require_stages(self, feature_stages: int) -> None:
        """Check that the network has so many stages.

        Raises:
            WebcamMLError: It has fewer.
        """
        available = 1 + len(self.stages)
        if feature_stages > available:
            has = f"has {available}" if self.stages else "works at one resolution: one stage"
            raise WebcamMLError(
                f"feature_stages is {feature_stages}, and {self.name} {has}. Leave feature_stages out, "
                f"or set it to {available}{' or less' if self.stages else ''}"
            )

    @abstractmethod
    def require_size(self, image_size: int) -> None:
        """Check that the network takes pictures of a size.

        Raises:
            WebcamMLError: It does not.
        """

    @abstractmethod
    def draw(self, image_size: int) -> "torch.nn.Module":
        """Make the network from torch's random stream."""

    @abstractmethod
    def with_published_weights(self, image_size: int) -> "torch.nn.Module":
        """Make the network with the weights that its publisher trained, fetched once.

        Raises:
            WebcamMLError: They cannot be fetched, or fit no network of that size.
        """

    @abstractmethod
    def with_weights_of(self, path: Path, image_size: int) -> "torch.nn.Module":
        """Make the network with the weights of a file, with or without those of the classifier.

        Raises:
            WebcamMLError: The file is missing, unsafe, damaged or of another network.
        """


@dataclass(frozen=True)
class TorchvisionBackbone(Backbone):
    """An architecture of torchvision, by its name there.

    Attributes:
        weights_enum: Name of torchvision's enumeration of trained weights.
        head: Path of the final Linear, whose input are the features.
        takes_one_size: Whether it can read pictures of `image_size` only.
    """

    _: KW_ONLY
    weights_enum: str
    head: str
    takes_one_size: bool = False

    def require_size(self, image_size: int) -> None:
        """Check that the network takes pictures of a size; see `Backbone`."""
        if self.takes_one_size and image_size != self.image_size:
            raise WebcamMLError(
                f"image_size is {image_size}, and {self.name} takes {self.image_size} only. Leave "
                "image_size out, or choose another model_name"
            )

    def draw(self, image_size: int) -> "torch.nn.Module":
        """Make the network from torch's random stream; its final Linear is replaced by nothing."""
        import torch
        from torchvision import models

        network: torch.nn.Module = models.get_model(self.name, weights=None)
        owner, _, attribute = self.head.rpartition(".")
        setattr(network.get_submodule(owner), attribute, torch.nn.Identity())
        return network

    def with_published_weights(self, image_size: int) -> "torch.nn.Module":
        """Make the network with ImageNet's weights; see `Backbone`."""
        return self._with(_downloaded(self), WEIGHTS_IMAGENET, image_size)

    def with_weights_of(self, path: Path, image_size: int) -> "torch.nn.Module":
        """Make the network with the weights of a file; see `Backbone`."""
        return self._with(read_state_dict(path), str(path), image_size)

    def _with(self, state: StateDict, weights: str, image_size: int) -> "torch.nn.Module":
        network = self.build(image_size)
        state = {name: t for name, t in state.items() if not name.startswith(f"{self.head}.")}
        require_same_architecture(self.name, network, state, weights)
        network.load_state_dict(state)
        return network


BACKBONES: dict[str, Backbone] = by_name(
    "backbones",
    (
        TorchvisionBackbone(
            "resnet18",
            features=512,
            weights_enum="ResNet18_Weights",
            head="fc",
            stages=("layer1", "layer2", "layer3"),
        ),
        TorchvisionBackbone(
            "mobilenet_v3_small",
            features=1024,
            weights_enum="MobileNet_V3_Small_Weights",
            head="classifier.3",
            stages=("features.0", "features.1", "features.3", "features.8"),
        ),
        TorchvisionBackbone(
            "mobilenet_v3_large",
            features=1280,
            weights_enum="MobileNet_V3_Large_Weights",
            head="classifier.3",
            stages=("features.1", "features.3", "features.6", "features.12"),
        ),
        TorchvisionBackbone(
            "resnet50",
            features=2048,
            weights_enum="ResNet50_Weights",
            head="fc",
            stages=("layer1", "layer2", "layer3"),
        ),
        TorchvisionBackbone(
            "efficientnet_b0",
            features=1280,
            weights_enum="EfficientNet_B0_Weights",
            head="classifier.1",
            stages=("features.1", "features.2", "features.3", "features.5"),
        ),
        TorchvisionBackbone(
            "convnext_tiny",
            features=768,
            weights_enum="ConvNeXt_Tiny_Weights",
            head="classifier.2",
            stages=("features.1", "features.3", "features.5"),
        ),
        TorchvisionBackbone(
            "swin_t",
            features=768,
            weights_enum="Swin_T_Weights",
            head="head",
            stages=("features.1", "features.3", "features.5"),
            channels_last=True,
        ),
        TorchvisionBackbone(
            "vit_b_16",
            features=768,
            weights_enum="ViT_B_16_Weights",
            head="heads.head",
            takes_one_size=True,
        ),
    ),
)


def get_backbone(name: str) -> Backbone:
    """Look up a backbone by `model_name`.

    Raises:
        WebcamMLError: There is none of that name.
    """
    if name.startswith(TIMM):
        from webcam_ml.features._timm import timm_backbone

        return timm_backbone(name)
    if name not in BACKBONES:
        raise WebcamMLError(f"model_name {name!r} is unknown: choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def weights_identity(weights: str, *, random_state: int) -> str:
    """Say in one line which weights are meant, without loading them.

    Equal lines mean equal weights: a file counts by its bytes, the seeded ones by their seed.

    Raises:
        WebcamMLError: `weights` is a path and there is no such file.
    """
    if weights == WEIGHTS_IMAGENET:
        return WEIGHTS_IMAGENET
    if weights == WEIGHTS_NONE:
        return f"{WEIGHTS_NONE}:{random_state}"
    with _existing_file(weights).open("rb") as file:
        return f"file:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def licence_of(model_name: str, identity: str) -> str | None:
    """Give the licence of published weights; None of others, which nobody told.

    Args:
        model_name: The backbone.
        identity: What `weights_identity` said of its weights.
    """
    return get_backbone(model_name).licence if identity == WEIGHTS_IMAGENET else None


def require_weights_file(backbone: Backbone, weights: str, *, image_size: int) -> None:
    """Check a weights file by its tensors' names and shapes; `imagenet` and `none` need no check.

    Raises:
        WebcamMLError: The file is missing, unsafe or of another network.
    """
    if weights not in (WEIGHTS_IMAGENET, WEIGHTS_NONE):
        backbone.with_weights_of(_existing_file(weights), image_size)


def load_weights(
    backbone: Backbone,
    weights: str,
    *,
    image_size: int,
    random_state: int,
    feature_stages: int = 1,
) -> "torch.nn.Module":
    """Build a backbone with its weights.

    Args:
        backbone: The architecture.
        weights: `imagenet` (the published ones, downloaded), `none` (seeded), or the path of a state
            dict, with or without the final Linear.
        image_size: Side of the pictures that it will see.
        random_state: Seed of `none`.
        feature_stages: Of how many of its last stages it gives features.

    Raises:
        WebcamMLError: A download is impossible, or a file is missing, unsafe or of another network.
    """
    if weights == WEIGHTS_NONE:
        network = _seeded(backbone, image_size=image_size, random_state=random_state)
    elif weights == WEIGHTS_IMAGENET:
        network = backbone.with_published_weights(image_size)
    else:
        network = backbone.with_weights_of(_existing_file(weights), image_size)
    return backbone.give_stages(network, feature_stages)


def _existing_file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WebcamMLError(
            f"weights: {weights!r} is neither '{WEIGHTS_IMAGENET}', '{WEIGHTS_NONE}' nor an existing "
            f"file ({path.absolute()})"
        )
    return path


def _downloaded(backbone: TorchvisionBackbone) -> dict[str, "torch.Tensor"]:
    import torch
    from torchvision import models

    entry = models.get_weight(f"{backbone.weights_enum}.DEFAULT")
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    logger.info("ImageNet weights of %s: %s", backbone.name, file if file.exists() else entry.url)
    try:
        state: dict[str, torch.Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WebcamMLError(
            f"the ImageNet weights of {backbone.name} could not be downloaded from {entry.url} "
            f"({first_line(error)}). Ways out: fetch that file elsewhere and put it at {file}, or "
            f"name it with weights: /path/to/{file.name}; or set weights: {WEIGHTS_NONE} for a "
            "seeded network without training (good for a trial, weaker on real pictures)"
        ) from error
    return state


def _seeded(backbone: Backbone, *, image_size: int, random_state: int) -> "torch.nn.Module":
    """Initialise by seed, with batch-norm statistics, where it has any, from fixed pictures.

    A pure function of architecture and seed. Without statistics the features shrink to 1e-9;
    statistics from user pictures would make features worse and change with every new label.
    """
    import torch

    network = backbone.build(image_size, random_state=random_state)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()  # these layers only: dropout would draw from the caller's random stream
    if not norms:
        return network
    pictures = torch.from_numpy(_noise_pictures(CALIBRATION_PICTURES, CALIBRATION_SIZE))
    with torch.inference_mode():
        for start in range(0, len(pictures), CALIBRATION_BATCH):
            network(pictures[start : start + CALIBRATION_BATCH])
    return network.eval()


@cache
def _noise_pictures(count: int, size: int) -> "np.ndarray":
    """Draw normalised pictures whose amplitude falls as 1/f, as that of natural scenes does.

    Returns:
        float32 [count, 3, size, size], zero mean and unit deviation per picture.
    """
    import numpy as np

    random = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    amplitude = 1.0 / np.maximum(np.hypot(fy, fx), 1.0 / size)
    phases = random.uniform(0.0, 2.0 * math.pi, (count, 4, *amplitude.shape))
    planes = np.fft.irfft2(amplitude * np.exp(1j * phases), s=(size, size))
    # Channels of a photograph are mostly alike: a shared plane and a little of their own.
    pictures = planes[:, :1] + 0.35 * planes[:, 1:]
    pictures -= pictures.mean(axis=(1, 2, 3), keepdims=True)
    pictures /= pictures.std(axis=(1, 2, 3), keepdims=True)
    return pictures.astype(np.float32)
