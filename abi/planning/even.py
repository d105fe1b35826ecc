"""The plans that the uniform control may be trained by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from abi.errors import PlanInfeasible
from abi.planning.backbone import few_members
from abi.planning.run_time import limits
from abi.types import Envelope, Plan

if TYPE_CHECKING:
    from abi.config import Config


def even_plans(divide: Callable[[Envelope, Config], Plan], config: Config) -> list[Plan]:
    """The even split, and the same with few members where that is another plan.

    Where none fits the envelope, the smallest even split there is, which has more parameters than attention's.

    Args:
        divide: the even split's plan under an envelope and settings.
        config: the run's settings.
    """
    envelope = limits(config)
    try:
        usual = divide(envelope, config)
    except PlanInfeasible as error:
        envelope = Envelope(parameters=error.parameters)
        usual = divide(envelope, config)
    if usual.capacity.empty:
        return [usual]
    fewer = divide(envelope, few_members(config))
    return [usual] if fewer.capacity == usual.capacity else [usual, fewer]
