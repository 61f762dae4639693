"""Backbones of timm: `timm/<name>`, with size, normalisation and licence from timm's own list.

timm is an extra (`webcam-ml[timm]`) and imported where one of its networks is named.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webcam_ml.errors import WebcamMLError
from webcam_ml.features._backbones import (
    EXPORTING_LIBRARIES,
    TIMM,
    UNKNOWN_LICENCE,
    Backbone,
)
from webcam_ml.features._weights_files import (
    StateDict,
    first_line,
    read_state_dict,
    require_same_architecture,
)

if TYPE_CHECKING:
    import torch

SUGGESTIONS = 3
# What timm and torch raise where tensors do not fit.
UNLIKE = (RuntimeError, LookupError, ValueError, AttributeError)


@dataclass(frozen=True)
class TimmBackbone(Backbone):
    """A network of timm.

    Attributes:
        is_made_for_a_size: Whether the size is built in, as into most vision transformers. Such a
            network is made for the size that is asked for, and its trained places of patches are
            interpolated.
        classes: Of its published weights; 0 of those that have no classifier.
        classifiers: How the names of the classifier's tensors begin.
    """

    _: KW_ONLY
    is_made_for_a_size: bool
    classes: int
    classifiers: tuple[str, ...]

    def require_size(self, image_size: int) -> None:
        """Check that the network takes pictures of a size, without losing their border; see `Backbone`."""
        import torch

        _count_features(self, image_size)
        with torch.device("meta"):
            patches = getattr(self.draw(image_size), "patch_embed", None)
        side = getattr(patches, "patch_size", None)
        side = max(side) if isinstance(side, tuple) else side
        if not side or getattr(patches, "dynamic_img_pad", False):
            return
        beyond = image_size % side
        if beyond:
            raise WebcamMLError(
                f"image_size is {image_size}, and {self.name} would not look at {beyond} pixels of it: it "
                f"takes multiples of its patch, {side}. Set {image_size - beyond} or "
                f"{image_size - beyond + side}, or leave image_size out ({self.image_size} then)"
            )

    def draw(self, image_size: int) -> "torch.nn.Module":
        """Make the network from torch's random stream."""
        return self._make(image_size, pretrained=False)

    def with_published_weights(self, image_size: int) -> "torch.nn.Module":
        """Make the network with the weights that its name stands for; see `Backbone`."""
        try:
            return self._make(image_size, pretrained=True).eval()
        except OSError as error:  # the hub's own errors are of this kind, too
            raise WebcamMLError(
                f"the weights of {self.name} could not be downloaded ({first_line(error)}). Ways out: "
                f"fetch model.safetensors of huggingface.co/{self.name} elsewhere and name the file with "
                "weights: /path/to/model.safetensors; or set weights: none for a seeded network without "
                "training (good for a trial, weaker on real pictures)"
            ) from error
        except RuntimeError as error:
            raise WebcamMLError(
                f"the weights of {self.name} do not fit a network for pictures of {image_size} pixels "
                f"({first_line(error)}). Leave image_size out: {self.image_size} then"
            ) from error

    def with_weights_of(self, path: Path, image_size: int) -> "torch.nn.Module":
        """Make the network with the weights of a file, as timm or its publisher names them."""
        state = read_state_dict(path)
        # timm lets tensors be missing or unknown where it makes another number of classes than the
        # weights are of. So there are none of either; or, of names of a publisher, as many as ever.
        headless = {
            name: tensor for name, tensor in state.items() if not name.startswith(self.classifiers)
        }
        network = self.build(image_size)
        try:
            loaded = self._loaded(headless, image_size, num_classes=0)
        except UNLIKE:
            try:
                loaded = self._loaded(state, image_size, num_classes=self.classes)
            except UNLIKE as error:
                require_same_architecture(self.name, network, headless, str(path))
                raise WebcamMLError(
                    f"weights: {path} is not a {self.name} ({first_line(error)}). Set model_name to the "
                    "network that the file was saved from"
                ) from error
        tensors = loaded.state_dict()
        network.load_state_dict({name: tensors[name] for name in network.state_dict()})
        return network

    def _loaded(self, state: StateDict, image_size: int, *, num_classes: int) -> "torch.nn.Module":
        """Let timm load a state dict, none of whose tensors may be missing or left over."""
        if not state:
            raise LookupError("no tensor beside the classifier's")
        source = {
            "state_dict": dict(state),
            "custom_load": False,
            "num_classes": num_classes,
            "label_offset": 0,
        }
        return self._make(
            image_size, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=source
        )

    def _make(self, image_size: int, *, num_classes: int = 0, **options: Any) -> "torch.nn.Module":
        import timm

        if self.is_made_for_a_size:
            options["img_size"] = image_size
        with _quiet():
            network: torch.nn.Module = timm.create_model(
                self.name.removeprefix(TIMM), num_classes=num_classes, **options
            )
        return network


@cache
def timm_backbone(name: str) -> TimmBackbone:
    """Describe a network of timm.

    Args:
        name: `timm/<name>`, with the tag of its weights.

    Raises:
        WebcamMLError: timm is not installed, knows no such network, or it gives no pooled features.
    """
    try:
        import timm.models
    except ModuleNotFoundError as error:
        if error.name not in ("timm", "timm.models"):
            raise
        raise WebcamMLError(
            f"model_name {name} is a network of timm, which is not installed: pip install "
            "'webcam-ml[timm]', or choose one of torchvision's"
        ) from error
    of_timm = name.removeprefix(TIMM)
    try:
        config = timm.models.get_pretrained_cfg(of_timm) if timm.models.is_model(of_timm) else None
    except RuntimeError:  # the network is known, the tag of its weights is not
        config = None
    if config is None:
        raise WebcamMLError(f"model_name {name!r} is unknown to timm{_nearest(of_timm)}")
    size = config.input_size[-1]
    classifiers = (
        config.classifier if isinstance(config.classifier, tuple) else (config.classifier,)
    )
    draft = TimmBackbone(
        name,
        features=0,
        image_size=size,
        is_made_for_a_size=bool(config.fixed_input_size),
        classes=config.num_classes,
        classifiers=tuple(f"{one}." for one in classifiers if one),
        mean=config.mean,
        std=config.std,
        interpolation="bicubic" if config.interpolation == "bicubic" else "bilinear",
        licence=config.license or UNKNOWN_LICENCE,
        libraries=(*EXPORTING_LIBRARIES, "timm"),
    )
    draft = replace(draft, features=_count_features(draft, size))
    return _with_stages(draft)


def _with_stages(backbone: TimmBackbone) -> TimmBackbone:
    """Find where the stages end; one stage is left of a network of which timm does not say so."""
    import torch

    with torch.device("meta"):
        network = backbone.draw(backbone.image_size).eval()
    # At each resolution the last module counts: timm lists each block of a vision transformer.
    last = {entry["reduction"]: entry for entry in getattr(network, "feature_info", ())}
    earlier = [last[reduction] for reduction in sorted(last)][:-1]
    found = replace(
        backbone,
        stages=tuple(entry["module"] for entry in earlier),
        channels_last=getattr(network, "output_fmt", "NCHW") == "NHWC",
    )
    try:
        found.give_stages(network, 1 + len(earlier))
        with torch.device("meta"), torch.no_grad():
            width = network(torch.zeros(1, 3, backbone.image_size, backbone.image_size)).shape[1]
    except (AttributeError, IndexError, RuntimeError, TypeError):
        return backbone
    expected = backbone.features + sum(entry["num_chs"] for entry in earlier)
    return found if width == expected else backbone


def _count_features(backbone: TimmBackbone, image_size: int) -> int:
    """Count a network's features, with a forward pass that computes nothing.

    Raises:
        WebcamMLError: It takes no pictures of that size, or its features are not pooled.
    """
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            found = backbone.draw(image_size).eval()(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise WebcamMLError(
            f"{backbone.name} takes no pictures of {image_size} pixels ({first_line(error)}). Leave "
            f"image_size out ({backbone.image_size} then), or set a multiple of its patch"
        ) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise WebcamMLError(
            f"{backbone.name} gives no pooled features but {shape}: choose a network that ends in a "
            "classifier"
        )
    return int(found.shape[1])


def _nearest(name: str) -> str:
    from timm.models import list_models

    pretrained = list_models(pretrained=True)
    near = get_close_matches(name, pretrained, n=SUGGESTIONS, cutoff=0.6)
    if near:
        return f"; did you mean {', '.join(TIMM + one for one in near)}?"
    return f"; it has {len(pretrained):,}: python -c \"import timm; print(timm.list_models('*tiny*'))\""


@contextmanager
def _quiet() -> Iterator[None]:
    """Timm warns of names that it has renamed; what is stored is the name that was given."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
