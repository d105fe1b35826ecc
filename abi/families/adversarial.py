"""Adversarial steps on embeddings: the direction in which a small change of h(x) harms the most.

Rows are moved in their embeddings, where every kind of input is a vector of real numbers, and not in their cells (Miyato et
al. 2017, "Adversarial training methods for semi-supervised text classification"). Sizes are shares of a row's own norm, so
that one setting means the same for narrow and wide features and at any scale of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from abi.families.losses import members_loss

if TYPE_CHECKING:
    from abi.families.network import Network
    from abi.problem import Task

TINY: Final = 1e-12
Loss = Callable[[Tensor], Tensor]


def fgsm(embedding: Float[Tensor, "B D"], loss: Loss, size: float) -> Float[Tensor, "B D"]:
    """One step: h + size * ||h|| / sqrt(D) * sign(dL / dh) (Goodfellow et al. 2015), so that ||step|| = size * ||h||.

    Args:
        embedding: h, without a gradient of its own.
        loss: of the rows with these embeddings; summed or meant, which changes no sign.
        size: of the step, as a share of each row's norm.
    """
    direction = _gradient(embedding, loss).sign()
    reach = embedding.norm(dim=1, keepdim=True) * (size / embedding.shape[1] ** 0.5)
    return torch.as_tensor(embedding + reach * direction)


def pgd(embedding: Float[Tensor, "B D"], loss: Loss, size: float, steps: int) -> Float[Tensor, "B D"]:
    """So many signed steps from a random start, held within the box of `fgsm`'s step (Madry et al. 2018).

    Each is 2.5 / steps of the box, so that any of its corners can be reached.
    """
    reach = embedding.norm(dim=1, keepdim=True) * (size / embedding.shape[1] ** 0.5)
    moved = reach * (2 * torch.rand_like(embedding) - 1)
    for _ in range(steps):
        direction = _gradient(embedding + moved, loss).sign()
        moved = torch.maximum(torch.minimum(moved + (2.5 / steps) * reach * direction, reach), -reach)
    return torch.as_tensor(embedding + moved)


def attack_loss(network: Network, target: Shaped[Tensor, "B ..."], task: Task) -> Loss:
    """What an attacker makes larger: the loss of training at given embeddings."""
    return lambda embedding: members_loss(network.attend(embedding), target, task)


def _gradient(embedding: Float[Tensor, "B D"], loss: Loss) -> Float[Tensor, "B D"]:
    """DL / dh; the weights' own gradients are left alone."""
    with torch.enable_grad():
        held = embedding.detach().requires_grad_()
        (found,) = torch.autograd.grad(loss(held), held)
    return torch.as_tensor(found)
