"""Preprocessing for networks that were trained on pictures resized by bicubic interpolation.

Beside `_network`, whose bytes are part of the key of every graph without it.
"""

import torch
from torch.nn import functional

from webcam_ml.features._network import Preprocess


class CubicPreprocess(Preprocess):
    """As `Preprocess`, with antialiased bicubic interpolation."""

    def resize(self, image: torch.Tensor) -> torch.Tensor:
        """Resize only: float [batch, 3, size, size], about 0–255 (it overshoots at edges)."""
        return functional.interpolate(
            image.permute(0, 3, 1, 2).to(torch.float32),
            size=(self.image_size, self.image_size),
            mode="bicubic",
            antialias=True,
            align_corners=False,
        )
