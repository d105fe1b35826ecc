"""How training weighs frequent and rare classes, for every family.

With n_c rows of class c, and shares p_c:

- class_balanced: a row's loss times (1 - b) / (1 - b^n_c), the inverse of the effective number of rows (Cui et al. 2019,
  "Class-balanced loss based on effective number of samples"; our b is their beta).
- logit_adjusted: log p_c is added to a class's logit in training and not in use, so that the model scores classes as if
  all were as frequent (Menon et al. 2021, "Long-tail learning via logit adjustment", with their tau = 1).
- resampled: a row is drawn with a chance that goes with 1 / sqrt(n_c), anew in each epoch (square-root sampling: Mahajan et
  al. 2018). Trees, which see all rows in each round, take that as a weight.

Weights have mean 1 over the training rows. Validation rows are judged by the same loss, so that early stopping and the
choice among splits go by what is trained for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from abi.families.losses import Leaning
from abi.frequency import class_rows
from abi.metrics import LEAST_CHANCE, Prediction, Target, row_loss
from abi.problem import Schema, Task
from abi.types import Balancing

BETA: Final = 0.999
UNSEEN: Final = 0.5
"""Rows that a class without any is taken to have."""


@dataclass(frozen=True)
class Balance:
    """What a method makes of the training rows. `weights` are of a row's loss, `shares` are there where logits are adjusted.

    `redrawn` says that a network draws its rows by the weights, in place of weighing their losses.
    """

    weights: Float[np.ndarray, " classes"]
    shares: Float[np.ndarray, " classes"] | None = None
    redrawn: bool = False

    def row_losses(self, task: Task, target: Target, prediction: Prediction) -> Float[np.ndarray, " rows"]:
        """The balanced loss of each row, of chances as the model gives them."""
        if self.shares is not None:
            adjusted = prediction * self.shares
            prediction = adjusted / np.maximum(adjusted.sum(axis=1, keepdims=True), LEAST_CHANCE)
        return np.asarray(row_loss(task, target, prediction) * self.weights[target.astype(np.int64)])

    def leaning(self, task: Task, device: torch.device) -> Leaning | None:
        """The same for the network's loss; None where rows are drawn instead."""
        if self.redrawn:
            return None
        shift = np.zeros(1 if task == "binary" else len(self.weights))
        if self.shares is not None:
            logs = np.log(self.shares)
            shift = logs[1:] - logs[:1] if task == "binary" else logs
        weights, shifts = (torch.from_numpy(v.astype(np.float32)).to(device) for v in (self.weights, shift))
        return Leaning(weights, shifts)

    def start(self, task: Task, rows: int) -> Float[np.ndarray, "rows ..."] | None:
        """Raw scores that trees start from in training; None where logits are not adjusted."""
        if self.shares is None:
            return None
        logs = np.log(self.shares)
        return np.full(rows, logs[1] - logs[0]) if task == "binary" else np.tile(logs, (rows, 1))


def balance_of(method: Balancing | None, target: Target, classes: int) -> Balance | None:
    """What `method` makes of these training rows; None where nothing is weighed."""
    if method is None:
        return None
    rows = np.maximum(class_rows(target, classes), UNSEEN)
    if method == "logit_adjusted":
        return Balance(np.ones(classes), rows / rows.sum())
    weights = 1 / np.sqrt(rows) if method == "resampled" else (1 - BETA) / (1 - BETA**rows)
    weights = weights * (rows.sum() / (weights * rows).sum())
    return Balance(weights, redrawn=method == "resampled")


def leaning_of(balance: Balance | None, schema: Schema, device: torch.device) -> Leaning | None:
    """How the network's loss leans: by a balance, and away from rows out of scope; None where it does not."""
    leaning = None if balance is None else balance.leaning(schema.task, device)
    if schema.out_of_scope is None:
        return leaning
    size = len(schema.classes)
    plain = leaning or Leaning(torch.ones(size, device=device), torch.zeros(size, device=device))
    return replace(plain, outside=schema.classes.index(schema.out_of_scope))


def losses_of(
    balance: Balance | None, task: Task, target: Target, prediction: Prediction
) -> Float[np.ndarray, " rows"]:
    """Balanced where there is a balance."""
    return row_loss(task, target, prediction) if balance is None else balance.row_losses(task, target, prediction)
