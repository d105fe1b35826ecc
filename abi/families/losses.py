"""The loss of training: the mean of the members' losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from abi.problem import Task

EXPOSURE: Final = 0.5


@dataclass(frozen=True)
class Leaning:
    """How a loss weighs classes: `weights` of their rows, `shift` of their logits; a single logit is shifted by its own.

    Rows of class `outside`, which means none of the others, are outliers that the others must not be sure of: to their loss is
    added `EXPOSURE` times the cross entropy of the other classes to an even guess (Hendrycks et al. 2019, "Deep anomaly
    detection with outlier exposure").
    """

    weights: Float[Tensor, " classes"]
    shift: Float[Tensor, " logits"]
    outside: int | None = None


def members_loss(
    out: Float[Tensor, "B K C"],
    target: Shaped[Tensor, "B ..."],
    task: Task,
    smoothing: float = 0.0,
    leaning: Leaning | None = None,
    shares: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """Each member is trained on its own (TabM): cross entropy, or squared error of the standardised target.

    Args:
        out: logits or values of every member.
        target: as `abi.training.objective.training_target` gives it.
        task: decides which loss; that of label sets is the mean over labels.
        smoothing: share of a label's probability that is spread over all classes (Szegedy et al. 2016).
        leaning: towards some classes.
        shares: of each row's loss that count, of classes.
    """
    members = out.shape[1]
    if leaning is not None:
        losses = _each(out + leaning.shift, target, task, smoothing)
        if leaning.outside is not None:
            others = torch.cat([out[..., : leaning.outside], out[..., leaning.outside + 1 :]], -1)
            unsure = others.logsumexp(-1) - others.mean(-1)
            losses = losses + EXPOSURE * unsure * (target == leaning.outside).unsqueeze(1)
        weights = leaning.weights[target.long()]
        return (losses * (weights if shares is None else weights * shares).unsqueeze(1)).mean()
    if shares is not None:
        return (_each(out, target, task, smoothing) * shares.unsqueeze(1)).mean()
    if task == "multilabel":
        wide = target.to(out.dtype).unsqueeze(1).expand_as(out)
        return F.binary_cross_entropy_with_logits(out, wide * (1 - smoothing) + smoothing / 2 if smoothing else wide)
    if task == "multiclass":
        return F.cross_entropy(out.flatten(0, 1), target.repeat_interleave(members), label_smoothing=smoothing)
    flat = out.squeeze(-1)
    wide = target.to(flat.dtype).unsqueeze(1).expand(-1, members)
    if smoothing and task == "binary":
        wide = wide * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(flat, wide) if task == "binary" else F.mse_loss(flat, wide)


def _each(
    out: Float[Tensor, "B K C"], target: Shaped[Tensor, " B"], task: Task, smoothing: float
) -> Float[Tensor, "B K"]:
    """The loss of each row and member, of classes."""
    if task == "multiclass":
        wide = target.unsqueeze(1).expand(-1, out.shape[1])
        return F.cross_entropy(out.transpose(1, 2), wide, reduction="none", label_smoothing=smoothing)
    flat = out.squeeze(-1)
    chance = target.to(flat.dtype).unsqueeze(1).expand_as(flat) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(flat, chance, reduction="none")
