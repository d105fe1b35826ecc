"""More rows for the tail: mixed rows whose label is that of the rarer class.

Mixed rows (mixup) are new ones, but their labels are mixed as the rows are, so that the head has as much of them as before.
Remix (Chou et al. 2020, "Remix: Rebalanced Mixup", arXiv 2007.03943) gives a row the label of the rarer class alone where the
other is `KAPPA` times as frequent or more and has less than `TAU` of the row: the tail gets rows with the head's variety, and
its region grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from abi.errors import UsageError
from abi.frequency import class_rows

if TYPE_CHECKING:
    from abi.metrics import Target
    from abi.problem import Schema
    from abi.types import Hardening

KAPPA: Final = 3.0
TAU: Final = 0.5
"""Both as in the paper."""


def label_shares(share: float, own: Float[Tensor, " B"], others: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """What a mixed row's own label counts for; the label of the row that it is mixed with has the rest.

    lambda_y = 0 where n_i / n_j >= kappa and lambda < tau, 1 where n_j / n_i >= kappa and 1 - lambda < tau, else lambda.

    Args:
        share: lambda, of a row in the mixture.
        own: n_i, training rows of its class; NaN for a class that is neither rare nor frequent.
        others: n_j, the same of the row that it is mixed with.
    """
    shares = torch.full_like(own, share)
    if share < TAU:
        shares = torch.where(own >= KAPPA * others, 0.0, shares)
    if 1 - share < TAU:
        shares = torch.where(others >= KAPPA * own, 1.0, shares)
    return shares


def frequency_of(
    hardening: Hardening | None, schema: Schema, target: Target, device: torch.device
) -> Float[Tensor, " classes"] | None:
    """Training rows of each class; None where mixing does not ask for them. The class out of scope has NaN: it stays as it is.

    Raises:
        UsageError: the tail is to be mixed, and the target has no classes.
    """
    if hardening is None or not hardening.remix:
        return None
    if schema.task not in {"binary", "multiclass"}:
        msg = f"Expected a target of classes for training.tail_mixing, got task {schema.task}: leave it at 0."
        raise UsageError(msg)
    rows = class_rows(target, len(schema.classes)).astype(np.float32)
    if schema.out_of_scope is not None:
        rows[schema.classes.index(schema.out_of_scope)] = np.nan
    return torch.from_numpy(rows).to(device)
