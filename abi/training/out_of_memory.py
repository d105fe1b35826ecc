"""Out of memory is an event, not an end: training goes on from its last checkpoint with smaller micro-batches.

A step still takes the rows that the plan says: the gradients of its micro-batches are added up (gradient accumulation).
Where the plan says on which devices it runs, its network is traced again and the micro-batch chosen as the plan's was,
within what memory there was; else it is halved. Precision stays.
"""

from __future__ import annotations

from dataclasses import replace

from abi.errors import AbiError, PlanInfeasible
from abi.execution.out_of_memory import Shortage, is_out_of_memory
from abi.execution.revision import revised
from abi.outcomes import Revision
from abi.planning.again import question_again, running_in
from abi.types import Execution, Plan


def revise(
    plan: Plan, rows: int, epoch: int, short: Shortage, *, kl: float, processes: int = 1
) -> tuple[Execution, Revision]:
    """A smaller micro-batch.

    Args:
        plan: with its execution as it was when memory ran out.
        rows: the most that one process takes in a step.
        epoch: the last one that training goes on after.
        short: what the allocator said, and how much memory there was.
        kl: the penalty on attention's divergence, which is a part of the loss.
        processes: that train together.

    Raises:
        PlanInfeasible: one row at a time is too much.
    """
    execution = plan.execution
    before = execution.micro_batch or min(execution.batch_rows, rows)
    if before == 1:
        msg = f"Expected memory on {execution.device} for a step of one row, got: {short.said}. Give the plan a lower memory or parameters limit, or free memory there."
        raise PlanInfeasible(msg)
    after, reason = _traced(plan, min(before, rows), short, kl, processes) or (-(-before // 2), short.said)
    revision = Revision(epoch=epoch, micro_batch_before=before, micro_batch=after, reason=reason)
    return replace(execution, micro_batch=after), revision


def _traced(plan: Plan, rows: int, short: Shortage, kl: float, processes: int) -> tuple[int, str] | None:
    """What the trace says comes after parts of so many rows, and why; None where it knows nothing that would do."""
    failed = running_in(plan, processes, rows)
    if failed is None:
        return None
    try:
        found = revised(question_again(plan, failed, kl), failed, short)
    except AbiError:
        return None  # a bound lies above what is needed: half may do where nothing is sure to
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return found.new.micro_batch, found.reason
