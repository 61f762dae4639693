"""A network of some hundred numbers, so that stores with whole models stay small.

What is stored needs it only where a backbone is built again from its name: training with it,
exporting from an old checkpoint, or computing features without the cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torchvision.models import _api as registry

from webcam_ml.features import BACKBONES
from webcam_ml.features._backbones import TorchvisionBackbone

TINY = "tiny"
WIDTH = 16


class Tiny(torch.nn.Sequential):
    """Two convolutions, an average, and the last layer that every backbone has."""

    def __init__(self) -> None:
        super().__init__()
        for inputs, outputs in ((3, 12), (12, WIDTH)):
            self.append(torch.nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))
            self.append(torch.nn.BatchNorm2d(outputs))
            self.append(torch.nn.ReLU())
        self.append(torch.nn.AdaptiveAvgPool2d(1))
        self.append(torch.nn.Flatten())
        self.fc = torch.nn.Linear(WIDTH, 1)


def _build(weights: None = None) -> Tiny:
    return Tiny()


@contextmanager
def tiny_backbone() -> Iterator[None]:
    """Let `model_name: tiny` be a backbone as long as this lasts."""
    if TINY not in registry.BUILTIN_MODELS:
        registry.register_model(TINY)(_build)
    BACKBONES[TINY] = TorchvisionBackbone(TINY, features=WIDTH, weights_enum="", head="fc")
    try:
        yield
    finally:
        del BACKBONES[TINY]
