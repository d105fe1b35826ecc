"""An exponential moving average of a network's weights (Polyak and Juditsky 1992), with a shorter memory at the start."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps `average` behind `network`; which tensors they have is looked up once, as that takes longer than to add them."""

    def __init__(self, average: nn.Module, network: nn.Module, decay: float) -> None:
        self._average, self._network, self._decay = average, network, decay
        self.forget()

    def forget(self) -> None:
        """The networks have other tensors now."""
        self._kept: list[Tensor] = list(self._average.parameters())
        self._now: list[Tensor] = list(self._network.parameters())
        buffers = zip(self._average.buffers(), self._network.buffers(), strict=True)
        # running means and variances of a picture's encoder
        self._buffers = [(kept, now) for kept, now in buffers if kept.is_floating_point()]

    @torch.no_grad()
    def step(self, step: int) -> None:
        """The weights as they are after `step` steps are taken in."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._kept, self._now, share)
        for kept, now in self._buffers:
            kept.copy_(now)
