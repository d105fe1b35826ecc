"""Alignment of modalities: what a row's modalities say is pulled together and kept apart from what other rows' say.

Legend of shapes: B rows, R numbers that the layers read, M modalities, P = `COMMON` dimensions of the common space.

The loss is CLIP's (Radford et al. 2021, arXiv 2103.00020, fig. 3), the symmetric InfoNCE (van den Oord et al. 2018), between
each two modalities. Ensemble members share their embeddings and differ from the first layer on, so there is one loss for all of
them, in late fusion too. Other rows are those of the same micro-batch, in parallel training those of the same process.
Projections are there in training alone: they are taken away before a model is kept.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from abi.families.sizes import COMMON

if TYPE_CHECKING:
    from abi.families.network import Network
    from abi.types import Alignment

NEVER: Final = -1e9
"""Similarity to a row that takes no part; finite, so that what is multiplied by 0 later is 0."""


class Projections(nn.Module):
    """A linear map of each modality's embeddings to a common space.

    Args:
        modality_of: the modality of each number that the layers read.

    Attributes:
        numbers: the modalities that have any, ascending.
    """

    def __init__(self, modality_of: Int[Tensor, " R"]) -> None:
        super().__init__()
        self.numbers: list[int] = sorted(set(modality_of.tolist()))
        self.maps = nn.ModuleList(nn.Linear(int((modality_of == m).sum()), COMMON) for m in self.numbers)
        for m in self.numbers:
            self.register_buffer(f"read{m}", torch.nonzero(modality_of == m).flatten(), persistent=False)

    def forward(self, x: Float[Tensor, "B R"]) -> dict[int, Float[Tensor, "B P"]]:
        """Modality -> unit vectors."""
        return {
            m: F.normalize(linear(x.index_select(1, self.get_buffer(f"read{m}"))), dim=1)
            for m, linear in zip(self.numbers, self.maps, strict=True)
        }


def begin_alignment(network: Network, alignment: Alignment | None) -> None:
    """Give a network its projections, where it is to be aligned and two modalities or more have a width."""
    if alignment is not None and len(set(network.modality_of.tolist())) > 1:
        network.projections = Projections(network.modality_of)


def projected(network: Network, embedding: Float[Tensor, "B D"]) -> dict[int, Float[Tensor, "B P"]]:
    """Modality -> unit vectors, of what the layers read of it. Attention is held: it is moved by the task alone."""
    assert isinstance(network.projections, Projections)
    units: dict[int, Tensor] = network.projections(network.weighed(embedding, network.attention().detach()))
    return units


def contrast(
    one: Float[Tensor, "B P"], other: Float[Tensor, "B P"], both: Bool[Tensor, " B"], temperature: float
) -> Float[Tensor, ""]:
    """Mean cross entropy of similarities to the row's own, both ways; 0 where fewer than two rows take part.

    Args:
        one: unit vectors of a modality.
        other: those of another one, of the same rows.
        both: rows that have both; others are neither drawn near nor kept apart.
        temperature: that similarities are divided by.
    """
    alike = (one / temperature) @ other.T
    own = alike.diagonal()
    alike = alike.masked_fill(~(both[:, None] & both), NEVER)
    losses = alike.logsumexp(1) + alike.logsumexp(0) - 2 * own
    return (both * losses).sum() / (2 * both.sum().clamp_min(1))


def alignment_loss(
    network: Network,
    embedding: Float[Tensor, "B D"],
    given: Bool[Tensor, "B M"] | None,
    alignment: Alignment | None,
) -> Float[Tensor, ""] | None:
    """The weight times the mean of `contrast` over pairs of modalities; None where nothing is aligned.

    Args:
        network: with its projections.
        embedding: of the rows, as encoders gave it.
        given: modalities that a row has and was given; all where None.
        alignment: weight and temperature.
    """
    if network.projections is None or alignment is None:
        return None
    units = projected(network, embedding)
    if given is None:
        given = torch.ones(len(embedding), network.modalities, dtype=torch.bool, device=embedding.device)
    pairs = list(itertools.combinations(units, 2))
    losses = [contrast(units[a], units[b], given[:, a] & given[:, b], alignment.temperature) for a, b in pairs]
    return alignment.weight * torch.stack(losses).mean()
