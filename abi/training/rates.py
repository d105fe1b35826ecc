"""Which parameters learn how fast, and which decay."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from abi.families.network import Network
from abi.types import Execution

SEQUENCE_RATE: Final = 4e-3
"""Peak rate of convolutions over words at most: tables learn at rates at which these do not."""


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Each group's rate is its share of `rate`."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["factor"])
        else:
            group["lr"] = rate * group["factor"]


def rates_on(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep rates where a captured step reads them."""
    for group in optimizer.param_groups:
        group["lr"], group["capturable"] = torch.tensor(float(group["lr"]), device=device), True


def parameter_groups(network: Network, execution: Execution) -> list[dict[str, Any]]:
    """Weight decay for the matrices of the backbone and of pictures' encoders: not for others, biases, adapters or attention."""
    decayed, encoders, trunks, sequences, free = [], [], [], [], []
    for name, parameter in network.named_parameters():
        if name.startswith(("numeric", "category", "shared", "vectors", "texts")):
            encoders.append(parameter)
        elif name.startswith("sequences"):
            sequences.append(parameter)
        elif name.startswith("grids") and parameter.ndim > 1:
            trunks.append(parameter)
        elif name.startswith(("layers", "head")) and parameter.ndim > 1:
            decayed.append(parameter)
        else:
            free.append(parameter)
    slow = min(execution.encoder_factor, SEQUENCE_RATE / execution.learning_rate)
    return [
        {"params": decayed, "weight_decay": execution.weight_decay, "factor": 1.0},
        {"params": free, "weight_decay": 0.0, "factor": 1.0},
        {"params": encoders, "weight_decay": 0.0, "factor": execution.encoder_factor},
        *([{"params": trunks, "weight_decay": execution.weight_decay, "factor": 1.0}] if trunks else []),
        *([{"params": sequences, "weight_decay": 0.0, "factor": slow}] if sequences else []),
    ]
