"""Weight decay that differs between the features whose columns stand in one tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abi.families.network import Network
from abi.types import Capacity


class FeatureDecay:
    """Makes AdamW's decay of a feature's weights `decay` times as strong, as the plan says.

    AdamW decays a whole tensor, w <- (1 - rate d) w - step. What reads the embeddings (the first layer, or the head
    where there are no layers) holds all features side by side, so its columns are scaled just before, by
    (1 - rate d m_i) / (1 - rate d): the decay is then exactly m_i d.
    """

    def __init__(self, network: Network, capacity: Capacity, weight_decay: float) -> None:
        self._factors = torch.tensor(
            [*(f.decay for f in capacity.features), 1.0]
        )  # and of what regions are added up to
        self._decay = weight_decay
        self._used = weight_decay > 0 and bool((self._factors != 1).any())
        self._factors = self._factors.to(network.feature_of.device)

    def before_step(self, network: Network, rate: float | Tensor) -> None:
        """Call this once before each step of the optimizer at `rate`; does nothing where all multipliers are 1.

        A rate that lies on a GPU is not waited for.
        """
        decay = rate * self._decay
        if not self._used or (isinstance(decay, float) and decay >= 1):  # AdamW itself would turn the weights round
            return
        columns = (1 - decay * self._factors[network.read_by]).clamp_min(0) / (1 - decay)
        first = next(network.layers.children(), None)
        with torch.no_grad():
            if isinstance(first, nn.Linear):
                first.weight.mul_(columns)  # (H, D)
            else:
                dealt = nn.functional.pad(columns, (0, -len(columns) % network.slices)).view(-1, network.slices)
                network.head.weight.mul_(
                    dealt.T.unsqueeze(-1) if network.slices > 1 else columns.unsqueeze(-1)
                )  # (K, D, C)
