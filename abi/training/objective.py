"""Losses: the mean of the members' losses in training, the loss of their average in validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from abi.families.preparation import Preparation
from abi.problem import Schema, Task

if TYPE_CHECKING:
    from abi.data.columns import Columns

EPSILON = 1e-7


def members_loss(
    out: Float[Tensor, "B K C"], target: Shaped[Tensor, " B"], task: Task, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Each member is trained on its own (TabM): cross entropy, or squared error of the standardised target.

    `smoothing` is the share of a label's probability that is spread over all classes (Szegedy et al. 2016).
    """
    members = out.shape[1]
    if task == "multiclass":
        return F.cross_entropy(out.flatten(0, 1), target.repeat_interleave(members), label_smoothing=smoothing)
    flat = out.squeeze(-1)
    wide = target.to(flat.dtype).unsqueeze(1).expand(-1, members)
    if smoothing and task == "binary":
        wide = wide * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(flat, wide) if task == "binary" else F.mse_loss(flat, wide)


def row_losses(prediction: Float[Tensor, "B ..."], target: Shaped[Tensor, " B"], task: Task) -> Float[Tensor, " B"]:
    """Loss per row of the members' average, as `families.artifact.joined` gives it."""
    if task == "multiclass":
        return -prediction.clamp_min(EPSILON).log().gather(1, target.unsqueeze(1)).squeeze(1)
    if task == "binary":
        chance = torch.where(target > 0, prediction, 1 - prediction)
        return -chance.clamp_min(EPSILON).log()
    return (prediction - target).square()


def training_target(columns: Columns, schema: Schema, preparation: Preparation) -> Shaped[Tensor, " rows"]:
    """Class codes (int64), or standardised values (float32)."""
    assert columns.target is not None
    if schema.task == "regression":
        standard = (columns.target - preparation.target_mean) / preparation.target_deviation
        return torch.from_numpy(standard.astype(np.float32))
    return torch.from_numpy(columns.target.astype(np.int64))
