"""Targets, and the loss of the members' average in validation; that of training is `abi.families.losses`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from abi.families.preparation import Preparation
from abi.problem import Schema, Task

if TYPE_CHECKING:
    from abi.data.columns import Columns

EPSILON = 1e-7


def row_losses(prediction: Float[Tensor, "B ..."], target: Shaped[Tensor, "B ..."], task: Task) -> Float[Tensor, " B"]:
    """Loss per row of the members' average, as `families.artifact.joined` gives it."""
    if task == "multiclass":
        return -prediction.clamp_min(EPSILON).log().gather(1, target.unsqueeze(1)).squeeze(1)
    if task == "multilabel":
        return -torch.where(target, prediction, 1 - prediction).clamp_min(EPSILON).log().mean(1)
    if task == "binary":
        chance = torch.where(target > 0, prediction, 1 - prediction)
        return -chance.clamp_min(EPSILON).log()
    return (prediction - target).square()


def training_target(columns: Columns, schema: Schema, preparation: Preparation) -> Shaped[Tensor, "rows ..."]:
    """Class codes (int64), which labels a row has (bool), or standardised values (float32)."""
    assert columns.target is not None
    if schema.task == "multilabel":
        return torch.from_numpy(columns.target)
    if schema.task == "regression":
        standard = (columns.target - preparation.target_mean) / preparation.target_deviation
        return torch.from_numpy(standard.astype(np.float32))
    return torch.from_numpy(columns.target.astype(np.int64))
