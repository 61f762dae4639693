"""Features of more stages: means of what earlier stages end with, put before a network's features.

A stage is the part of a network that works at one resolution; it ends with the last tensor of that
size. Its last module is listened to, so the network, its tensors and their names stay as they are.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Where a backbone has so many; docs/backbones.md has what each brings.
DEFAULT_STAGES = 3


def join_stages(
    network: "torch.nn.Module", stages: Sequence[str], *, channels_last: bool = False
) -> None:
    """Let a network give the means of what some of its modules give, then its own features.

    Args:
        network: Gives features [batch, features]; afterwards [batch, more features], its own last.
        stages: Names of the modules, in the order of their numbers.
        channels_last: Whether they give [batch, height, width, channels] and not, as most do, [batch,
            channels, height, width]. Tokens [batch, tokens, channels] are known by their shape.
    """
    if stages:
        joined = _Joined(stages)
        for name in stages:
            network.get_submodule(name).register_forward_hook(
                partial(joined.keep, name, channels_last)
            )
        network.register_forward_hook(joined.join)


class _Joined:
    """Keeps means from the end of a stage to the end of the forward pass; goes to other processes."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._means: dict[str, torch.Tensor] = {}

    def keep(
        self,
        stage: str,
        channels_last: bool,
        module: "torch.nn.Module",
        inputs: Any,
        output: "torch.Tensor",
    ) -> None:
        """Take the means over places of what a stage gives."""
        places = (1, 2) if channels_last else (2, 3)
        self._means[stage] = output.mean(dim=places if output.ndim == 4 else 1)

    def join(
        self, module: "torch.nn.Module", inputs: Any, features: "torch.Tensor"
    ) -> "torch.Tensor":
        """Put the means before the network's features."""
        import torch

        return torch.cat([*(self._means.pop(stage) for stage in self._stages), features], dim=1)
