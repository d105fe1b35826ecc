"""A network loses weights while it trains: the least useful ones go, wherever they are, until the plan's number is left.

So the split between feature extraction, middle and output, and the width inside each feature, are decided by what the
weights turn out to be worth, at a cost that the plan fixed. Dropping is gradual, fast at first (Zhu and Gupta 2017, arXiv
1710.01878), while the learning rate is high enough for the others to take over; what is dropped stays zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from abi.families.kept import live_weights, table_rows
from abi.families.network import Network
from abi.families.sparse import BESIDE, mask_name, masks_of, parameters

if TYPE_CHECKING:
    from abi.types import Capacity

BEGIN: Final = 0.05
END: Final = 0.4
STAGES: Final = 40
TINY: Final = 1e-12


def stage_at(share: float) -> int:
    """How many of the `STAGES` are due when `share` of training is done."""
    return min(STAGES, max(0, int((share - BEGIN) / (END - BEGIN) * STAGES + 1e-9)))


def left_at(stage: int, start: int, final: int) -> int:
    """Weights that may be left at a stage: final + (start - final)(1 - t)^3, with t the share of stages that are done."""
    return final + int(max(0, start - final) * (1 - stage / STAGES) ** 3)


class Pruner:
    """Drops weights of a network as training goes on, with the optimizer's moments of them.

    Where `share` of training was done before, what was due by then has been dropped.
    """

    def __init__(self, network: Network, capacity: Capacity, share: float = 0.0) -> None:
        self._limits, self._members = capacity.pruning, capacity.members
        self._texts = sum(f.entries for f in capacity.features)  # their cells go on their own
        self._start = sum(mask.numel() for name, mask in masks_of(network).items() if _ranked(name))
        self._stage = stage_at(share)
        weights = dict(network.named_parameters())
        self._masked = [(weights[name], mask) for name, mask in masks_of(network).items()]

    def done(self, network: Network) -> bool:
        """Whether the network is within its plan."""
        return self._limits is None or parameters(network) <= self._limits.parameters

    def hold(self) -> None:
        """Take the gradients of dropped weights away, before they are added up or used."""
        for parameter, mask in self._masked:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    def step(self, share: float, network: Network, average: Network | None, optimizer: torch.optim.Optimizer) -> bool:
        """Drop what is due when `share` of training is done; tells whether something was."""
        stage = stage_at(share)
        if self._limits is None or stage == self._stage:
            return False
        self._stage = stage
        masks, weights = masks_of(network), dict(network.named_parameters())
        live = live_weights(network, masks)
        worth = {
            name: torch.where(
                live[name], _worth(weights[name], live[name], optimizer.state[weights[name]], scale), -1.0
            )
            for name, scale in _scaled(network, masks)
        }
        backbone = [name for name in worth if name.startswith(("layers", "head"))]
        final = max(1, self._limits.parameters - self._unranked(network, live))
        left = left_at(stage, self._start, final)
        most = self._limits.macs // max(1, self._members)
        for names, limit in ((backbone, left_at(stage, self._start, most)), (list(worth), left)):
            _cut(worth, names, limit)
        kept = {name: worth[name] >= 0 if name in worth else live[name] for name in masks}
        kept = live_weights(network, kept) if stage == STAGES else kept
        for holder in (network, *([average] if average is not None else [])):
            for name, mask in kept.items():
                holder.get_parameter(name).data.mul_(mask)
                holder.get_buffer(mask_name(name)).copy_(mask)
        for name, mask in kept.items():
            for moment in optimizer.state[weights[name]].values():
                if moment.shape == mask.shape:
                    moment.mul_(mask)
        return True

    def _unranked(self, network: Network, live: dict[str, Tensor]) -> int:
        """Parameters that do not compete: of attention and texts, and the adapters and biases of what is alive."""
        others = sum(
            p.numel() for n, p in network.named_parameters() if n not in live and not n.startswith(("texts", BESIDE))
        )
        return others + self._texts + sum(int(mask.sum()) for name, mask in live.items() if not _ranked(name))


def _ranked(name: str) -> bool:
    """Whether a tensor's weights compete: adapters are signs and biases few, so they go with their unit."""
    return not name.endswith("bias") and not name.startswith("adapter")


def _scaled(network: Network, masks: dict[str, Tensor]) -> Iterator[tuple[str, Tensor | float]]:
    """(name, what its weights are multiplied by before they are compared): the attention of their feature.

    Rows of encoders and columns of the first layer reach the output through n a_i h_i(x), and nowhere else.
    """
    with torch.no_grad():
        attention = network.attention()
    owners = table_rows(network)
    for name in filter(_ranked, masks):
        if name == "layers.0.weight":
            yield name, attention[network.feature_of]
        elif name in owners:
            yield name, attention[owners[name]].unsqueeze(1)
        else:
            yield name, 1.0


def _worth(weight: nn.Parameter, mask: Tensor, state: dict[str, Tensor], scale: Tensor | float) -> Tensor:
    """Usefulness of each weight, on one scale for all tensors.

    The geometric mean of magnitude |w| and of |w| sqrt(v), with v AdamW's mean squared gradient, whose square is the
    second-order change of the loss without the weight (LeCun et al. 1989, "Optimal brain damage", with squared gradients
    for the curvature); over its root mean square in the tensor, which keeps a layer of small weights from vanishing.
    """
    held = weight.detach().abs() * scale
    if state:
        held = held * state["exp_avg_sq"].sqrt().sqrt()
    return held / held[mask].square().mean().sqrt().clamp_min(TINY)


def _cut(worth: dict[str, Tensor], names: list[str], limit: int) -> None:
    """Mark all but the `limit` most useful weights of these tensors with -1, in place."""
    values = torch.cat([worth[name].flatten() for name in names])
    if limit >= int((values >= 0).sum()):
        return
    kept = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    kept[torch.topk(values, max(1, limit)).indices] = True
    for name, part in zip(names, torch.split(kept, [worth[name].numel() for name in names]), strict=True):
        worth[name][~part.view(worth[name].shape)] = -1.0
