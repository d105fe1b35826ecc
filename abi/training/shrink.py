"""Texts lose cells while they train: the least useful ones go, until the plan's number is left.

Capacity moves by what the model shows: training starts with more cells than the plan allows, graded by the scores, and
drops, in `STAGES` steps over the first two fifths, those that add least to the pooled embeddings. Gradual dropping follows
Zhu and Gupta 2017 (arXiv 1710.01878); that the learning rate is still high lets the others take over. What adds least on
average over all rows may be all that a rare class has, so attention's share for the tail is kept for the best cells of its terms.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from abi.attention.terms import tail_terms
from abi.families.network import Cells, Network
from abi.inputs.text import BagCells, TextEncoder
from abi.types import Attention, Capacity

BEGIN: Final = 0.1
END: Final = 0.4
STAGES: Final = 8


def cells_at(share: float, start: int, final: int) -> int:
    """Cells that may be left when `share` of training is done: geometric steps from `start` to `final`."""
    stage = min(STAGES, max(0, 1 + int((share - BEGIN) / (END - BEGIN) * STAGES)) if share >= BEGIN else 0)
    return final if stage >= STAGES else int(start * (final / start) ** (stage / STAGES))


class Shrinker:
    """Drops cells of a network's texts, with the optimizer's moments of them, as training goes on."""

    def __init__(self, network: Network, capacity: Capacity, cells: Cells, attention: Attention | None = None) -> None:
        self._tail = (attention.tail or 0.0) if attention is not None else 0.0
        self._selected = [_of_tail(network, c.feature, attention) for _, c in network.places.text]
        given = {f.feature: f for f in capacity.features}
        self._sizes = [(given[c.feature].start_entries, given[c.feature].entries) for _, c in network.places.text]
        self._squares = [
            _mean_squares(text, encoder.terms) for text, encoder in zip(cells.texts, _encoders(network), strict=True)
        ]

    def done(self, network: Network) -> bool:
        """Whether the network is within its plan."""
        return all(
            len(encoder.values) <= final for encoder, (_, final) in zip(_encoders(network), self._sizes, strict=True)
        )

    def step(self, share: float, network: Network, average: Network | None, optimizer: torch.optim.Optimizer) -> bool:
        """Drop what is due when `share` of training is done; tells whether something was."""
        dropped = False
        others = _encoders(average) if average is not None else [None] * len(self._sizes)
        for encoder, other, squares, selected, (start, final) in zip(
            _encoders(network), others, self._squares, self._selected, self._sizes, strict=True
        ):
            left = cells_at(share, start, final) if start > final else final
            if len(encoder.values) <= left:
                continue
            worth = encoder.contributions(squares.to(encoder.values.device))
            mine = None if selected is None else selected.to(worth.device)[encoder.cell // encoder.width]
            kept = most_useful(worth, left, mine, self._tail)
            before = encoder.values
            encoder.keep(kept)
            if other is not None:
                other.keep(kept)
            _swap(optimizer, before, encoder.values, kept)
            dropped = True
        return dropped


def most_useful(
    worth: Float[Tensor, " cells"], left: int, selected: Bool[Tensor, " cells"] | None, share: float
) -> Int[Tensor, " left"]:
    """Places of the `left` cells that are worth most, in order; a `share` of them is kept for those that are `selected`."""
    if selected is not None:
        first = torch.topk(torch.where(selected, worth, -1.0), min(round(share * left), int(selected.sum()))).indices
        worth = worth.index_fill(0, first, torch.inf)
    return torch.topk(worth, left).indices.sort().values


def _of_tail(network: Network, feature: str, attention: Attention | None) -> Tensor | None:
    """Which of a text's terms are selected for the tail; None where none is."""
    selected = frozenset() if attention is None or not attention.tail else tail_terms(attention, feature)
    terms = network.preparation.lexicons[feature].terms
    return torch.tensor([term in selected for term in terms]) if selected else None


def _encoders(network: Network) -> list[TextEncoder]:
    return [encoder for encoder in network.texts if isinstance(encoder, TextEncoder)]


def _mean_squares(cells: BagCells, terms: int) -> Tensor:
    ids, weights, _ = cells.gather()
    total = torch.zeros(terms).index_add_(0, ids.cpu(), weights.cpu().square())
    return total / max(1, len(cells.text))


def _swap(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, kept: Tensor) -> None:
    state = optimizer.state.pop(old, {})
    optimizer.state[new] = {k: v[kept] if v.shape == old.shape else v for k, v in state.items()}
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
