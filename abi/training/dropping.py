"""What training drops on its way to the plan's size: cells of texts, and weights of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from abi.families.network import Cells, Network
from abi.training.prune import Pruner
from abi.training.shrink import Shrinker

if TYPE_CHECKING:
    from abi.types import Attention, Capacity


class Dropping:
    """Both, as one step of the loop. `share` of training was done before, with what was due by then."""

    def __init__(self, network: Network, capacity: Capacity, cells: Cells, share: float, attention: Attention) -> None:
        self._shrinker = Shrinker(network, capacity, cells, attention)
        self._pruner = Pruner(network, capacity, share)

    def hold(self) -> None:
        """Take the gradients of dropped weights away, before they are added up or used."""
        self._pruner.hold()

    def step(self, share: float, network: Network, average: Network | None, optimizer: torch.optim.Optimizer) -> bool:
        """Drop what is due when `share` of training is done; tells whether something was."""
        replaced = self._shrinker.step(share, network, average, optimizer)
        pruned = self._pruner.step(share, network, average, optimizer)
        return replaced or pruned

    def done(self, network: Network) -> bool:
        """Whether the network is within its plan."""
        return self._shrinker.done(network) and self._pruner.done(network)
