"""What a training holds of its rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from abi.families.losses import Leaning
from abi.families.network import Cells
from abi.frequency import ClassGroups
from abi.training.balance import Balance


@dataclass
class TrainingData:
    """Encoded rows and targets on the training device, and how classes are weighed and grouped.

    `gone` is a row without any value, `present` which modalities training rows have, `frequency` the rows of each class, where
    training needs these. `unit` is that of standardised values, by which metrics are in the target's own.
    """

    train: Cells
    target: Tensor
    validation: Cells
    validation_target: Tensor
    balance: Balance | None
    leaning: Leaning | None
    groups: ClassGroups | None
    gone: Cells | None = None
    present: Tensor | None = None
    frequency: Tensor | None = None
    unit: float = 1.0

    def order(self, generator: torch.Generator) -> Tensor:
        """The rows of an epoch: all of them, or drawn by the weights of their classes."""
        if self.balance is None or not self.balance.redrawn:
            return torch.randperm(self.train.rows, generator=generator)
        chances = torch.from_numpy(self.balance.weights)[self.target.cpu()].cumsum(0)
        drawn = torch.rand(self.train.rows, generator=generator, dtype=torch.float64) * chances[-1]
        return torch.searchsorted(chances, drawn, right=True).clamp_max(self.train.rows - 1)
