"""Many configurations side by side, one array for each figure: what makes thousands of them cheap to compare."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from abi.execution.types import Binder, Parallel

Numbers = Float[np.ndarray, " configurations"]

BINDERS: tuple[Binder, ...] = ("arithmetic", "bandwidth", "launches", "communication", "loader")
PARALLELS: tuple[Parallel, ...] = ("none", "ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """One row for each configuration; choices first, what they cost after. `price` is NaN where the device has none.

    `memory_bound` is of training, `evaluation_bound` of evaluating one row; 0 where training's counts evaluation already.
    """

    footprint: Numbers
    """Number of the footprint: which arithmetic, and whether with checkpointing."""
    devices: Numbers
    parallel: Numbers
    """Position in PARALLELS."""
    micro_batch: Numbers
    accumulation: Numbers
    workers: Numbers
    memory_bytes: Numbers
    memory_bound: Numbers
    evaluation_bound: Numbers
    host_bytes: Numbers
    step_s: Numbers
    compute_s: Numbers
    communication_s: Numbers
    loader_s: Numbers
    train_s: Numbers
    train_bound_s: Numbers
    latency_s: Numbers
    energy_j: Numbers
    price: Numbers
    rows_per_s: Numbers
    bound_by: Numbers
    """Position in BINDERS."""


def joined(parts: list[Columns]) -> Columns:
    """One table of several."""
    names = [item.name for item in fields(Columns)]
    return Columns(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
