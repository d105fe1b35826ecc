"""A step's loss and gradients; with embeddings that are mixed, corrupted or attacked where a plan hardens its network.

All of it happens between `Network.embed` and `Network.attend`. As every feature has dimensions of its own there, to give a
row another row's dimensions of a feature is to give it that row's value (SCARF, Bahri et al. 2022; VIME, Yoon et al. 2020).
So regions of pictures and the vectors of pretrained encoders are hardened as any feature is: a missing region is 0, as
those of a missing picture are.
The plain and the attacked embeddings go forward and back one after the other, so that no more activations are alive at a
time than in a plain step. Random numbers are torch's own, which a checkpoint keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from abi.data.columns import MISSING_CODE, Codes, Columns
from abi.families.adversarial import fgsm, pgd
from abi.families.alignment import alignment_loss
from abi.families.losses import Leaning, members_loss
from abi.families.network import Cells, Network
from abi.media.grid import blank
from abi.training.mixing import label_shares

if TYPE_CHECKING:
    from abi.problem import Feature, Schema, Task
    from abi.types import Execution, Hardening

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Aim:
    """What a network is trained towards.

    `kl` is the penalty on attention's divergence, `gone` a row without any value, `leaning` how classes are weighed, `frequency`
    their training rows, where mixing asks for these.
    """

    execution: Execution
    task: Task
    kl: float
    gone: Cells | None = None
    leaning: Leaning | None = None
    frequency: Float[Tensor, " classes"] | None = None

    def loss(
        self, out: Float[Tensor, "B K C"], target: Shaped[Tensor, "B ..."], shares: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, ""]:
        """The members' loss on rows with that target, of which `shares` count."""
        return members_loss(out, target, self.task, self.execution.smoothing, self.leaning, shares)


def row_of_gaps(network: Network, schema: Schema, hardening: Hardening | None) -> Cells | None:
    """An encoded row whose features are all missing; None where training makes none so."""
    if hardening is None or not hardening.missing:
        return None
    numeric = sum(f.kind == "numeric" for f in schema.features)
    others = tuple(_gap(feature) for feature in schema.features if feature.kind != "numeric")
    pictures = tuple(blank(grid, 1) for grid in schema.grids)
    return network.encode(Columns(np.full((1, numeric), np.nan), others, None, np.arange(1), pictures))


def _gap(feature: Feature) -> Codes:
    """One row without a value; of a pretrained encoder no vector is needed for it."""
    vectors = None if feature.encoder is None else np.zeros((0, feature.encoder.dimensions), np.float32)
    return Codes(np.array([MISSING_CODE], np.int32), (), vectors)


def add_gradients(
    network: Network,
    cells: Cells,
    target: Shaped[Tensor, "B ..."],
    aim: Aim,
    weight: float,
    present: Bool[Tensor, "B modalities"] | None = None,
) -> tuple[Tensor, Tensor]:
    """Add the gradients of the mean loss over the rows, times `weight`; gives the loss, and the same with what is beside it.

    Beside it are attention's divergence and, of the embeddings as they are before hardening, the modalities' alignment over the
    rows in which these are `present`.
    """
    hardening, aligns = aim.execution.hardening, network.projections is not None
    given: Tensor | None = None

    def plain(embedding: Tensor) -> Tensor:
        return aim.loss(network.attend(embedding, given), target)

    def beside(embedding: Tensor) -> Tensor | None:
        heard = present if given is None else given if present is None else given & present
        return alignment_loss(network, embedding, heard, aim.execution.alignment)

    if hardening is None and not aligns:
        return _back(network, plain(network.embed(cells)), aim.kl, weight)
    if hardening is None:
        embedding, given = network.embed(cells), network.hear(cells.rows, target.device)
        return _back(network, plain(embedding), aim.kl, weight, beside(embedding))
    attacked = 0.0 if hardening.adversarial is None else hardening.share
    own, whole = torch.zeros(2, device=target.device).unbind()
    for share, attack in ((1 - attacked, False), (attacked, True)):
        if not share:
            continue
        given = network.hear(cells.rows, target.device) if aligns else None
        embedding = network.embed(cells)
        aligned = beside(embedding)
        embedding = altered(embedding, network, hardening, aim.gone)
        embedding, loss = _mixed(embedding, plain, network, target, aim, given)
        if attack:
            embedding = embedding + (_moved(embedding.detach(), loss, hardening) - embedding.detach())
        found = _back(network, loss(embedding), aim.kl, weight * share, aligned)
        own, whole = own + share * found[0], whole + share * found[1]
    return own, whole


def altered(
    embedding: Float[Tensor, "B D"], network: Network, hardening: Hardening, gone: Cells | None
) -> Float[Tensor, "B D"]:
    """With a share of each row's features taken from other rows, and a share of them missing."""
    if hardening.corruption:
        rows, features = len(embedding), len(network.attention.offset)
        source = torch.randint(rows, (rows, features), device=embedding.device)[:, network.feature_of]
        embedding = torch.where(
            _drawn(embedding, network, hardening.corruption), embedding.gather(0, source), embedding
        )
    if hardening.missing and gone is not None:
        embedding = torch.where(_drawn(embedding, network, hardening.missing), _embedded(network, gone), embedding)
    return embedding


def _embedded(network: Network, gone: Cells) -> Float[Tensor, "1 D"]:
    """A row without any value; the moments that pictures are normalised by do not learn from it."""
    network.grids.eval()
    embedding = network.embed(gone)
    network.grids.train(network.training)
    return embedding


def _drawn(embedding: Tensor, network: Network, share: float) -> Bool[Tensor, "B D"]:
    """Features of rows by chance, whole ones."""
    draws = torch.rand(len(embedding), len(network.attention.offset), device=embedding.device)
    return torch.as_tensor((draws < share)[:, network.feature_of])


def _mixed(
    embedding: Float[Tensor, "B D"],
    plain: Loss,
    network: Network,
    target: Shaped[Tensor, "B ..."],
    aim: Aim,
    given: Bool[Tensor, "B modalities"] | None = None,
) -> tuple[Float[Tensor, "B D"], Loss]:
    """Each row mixed with another one, and the loss that is mixed likewise (manifold mixup, Verma et al. 2019).

    Mixed losses have the gradient of mixed targets, for cross entropy and for squared errors. For the tail, each row's own
    label has a share of its own (`abi.training.mixing`).
    """
    hardening = aim.execution.hardening
    if hardening is None or not hardening.mixup:
        return embedding, plain
    alpha = torch.tensor(hardening.mixup)
    share = float(torch.distributions.Beta(alpha, alpha, validate_args=False).sample())
    other = torch.randperm(len(embedding)).to(embedding.device)
    theirs = target.index_select(0, other)

    rows = aim.frequency
    own = None if rows is None else label_shares(share, rows[target.long()], rows[theirs.long()])

    def loss(at: Tensor) -> Tensor:
        out = network.attend(at, given)
        if own is not None:
            return aim.loss(out, target, own) + aim.loss(out, theirs, 1 - own)
        return share * aim.loss(out, target) + (1 - share) * aim.loss(out, theirs)

    return share * embedding + (1 - share) * embedding.index_select(0, other), loss


def _moved(embedding: Float[Tensor, "B D"], loss: Loss, hardening: Hardening) -> Float[Tensor, "B D"]:
    if hardening.adversarial == "pgd":
        return pgd(embedding, loss, hardening.size, hardening.steps)
    return fgsm(embedding, loss, hardening.size)


def _back(
    network: Network, own: Tensor, kl: float, weight: float, beside: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    total = own + kl * network.attention.divergence()
    total = total if beside is None else total + beside
    (total * weight if weight < 1 else total).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    return own.detach(), total.detach()
