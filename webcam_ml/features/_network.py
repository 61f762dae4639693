"""Preprocessing and the whole network in torch: what is exported, and what the export must match.

Import this module only where torch is wanted.
"""

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence


class Preprocess(torch.nn.Module):
    """uint8 RGB [batch, height, width, 3] of any size → normalised float [batch, 3, size, size].

    Antialiased bilinear resize to a square (squashed, not cropped), then (x / 255 − mean) / std.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, image_size: int, mean: "Sequence[float]", std: "Sequence[float]") -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", 255.0 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255.0 * torch.tensor(std).view(1, 3, 1, 1))

    def resize(self, image: torch.Tensor) -> torch.Tensor:
        """Resize only: float [batch, 3, size, size] on the 0–255 scale."""
        return functional.interpolate(
            image.permute(0, 3, 1, 2).to(torch.float32),
            size=(self.image_size, self.image_size),
            mode="bilinear",
            antialias=True,
            align_corners=False,
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Resize and normalise."""
        return (self.resize(image) - self.mean) / self.std


class FeatureNetwork(torch.nn.Module):
    """Preprocessing and backbone: uint8 images → features and channel means.

    `channel_means` [batch, 3] are the means of the resized picture on the 0–1 scale; the trivial
    baseline that every model has to beat is a regression on them.
    """

    def __init__(self, preprocess: Preprocess, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.backbone = backbone

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute features [batch, features] and channel means [batch, 3]."""
        resized = self.preprocess.resize(image)
        normalised = (resized - self.preprocess.mean) / self.preprocess.std
        return self.backbone(normalised), resized.mean(dim=(2, 3)) / 255.0


class ScoringNetwork(torch.nn.Module):
    """The whole model: uint8 images → raw_score [batch] in 0–1.

    The head is one Linear; `squash` is the sigmoid of a binary model or the clamp of a regression.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        backbone: torch.nn.Module,
        head: torch.nn.Linear,
        *,
        binary: bool,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.backbone = backbone
        self.head = head
        self.binary = binary

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score images."""
        value = self.head(self.backbone(self.preprocess(image))).squeeze(1)
        return torch.sigmoid(value) if self.binary else value.clamp(0.0, 1.0)
