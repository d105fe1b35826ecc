"""Out of memory is an event, not an end: training goes on from its last checkpoint with smaller micro-batches.

A step still takes the rows that the plan says: the gradients of its micro-batches are added up (gradient accumulation).
"""

from __future__ import annotations

import gc
import re
from dataclasses import replace
from typing import Final

import torch

from abi.errors import PlanInfeasible, clip
from abi.outcomes import Revision
from abi.types import Execution

SAID: Final = re.compile(
    r"can't allocate memory|not enough memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of the host or of a GPU, had no room."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and SAID.search(str(error)) is not None


def revise(execution: Execution, rows: int, epoch: int, error: BaseException) -> tuple[Execution, Revision]:
    """Half the micro-batch.

    Args:
        execution: as it was when memory ran out.
        rows: the most that one process takes in a step.
        epoch: the last one that training goes on after.
        error: what the allocator said.

    Raises:
        PlanInfeasible: one row at a time is too much.
    """
    before = execution.micro_batch or min(execution.batch_rows, rows)
    said = clip((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."), 200)
    if before == 1:
        msg = f"Expected memory on {execution.device} for a step of one row, got: {said}. Give the plan a lower memory or parameters limit, or free memory there."
        raise PlanInfeasible(msg)
    after = -(-before // 2)
    revision = Revision(epoch=epoch, micro_batch_before=before, micro_batch=after, reason=said)
    return replace(execution, micro_batch=after), revision


def release(device: str) -> None:
    """Give back what the failed attempt held."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
