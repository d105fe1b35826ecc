"""The plans that the uniform control may be trained by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from abi.errors import PlanInfeasible
from abi.planning.backbone import few_members
from abi.planning.run_time import limits
from abi.types import Attention, Envelope, Plan

if TYPE_CHECKING:
    from abi.config import Config


def even_plans(
    divide: Callable[[Attention, Envelope, Config], Plan], even: Attention, config: Config, *, lean: bool
) -> list[Plan]:
    """The even split, and the same with few members or lean where that is another plan.

    Where the lean one alone fits the envelope, it is the only plan; where none does, the smallest even split there is, which has
    more parameters than attention's.

    Args:
        divide: the plan of an even split under an envelope and settings.
        even: attention of the control (`abi.training.revise.control_attention`).
        config: the run's settings.
        lean: whether attention tried a lean split; few members alone otherwise.
    """
    envelope = limits(config)
    try:
        usual = divide(even, envelope, config)
    except PlanInfeasible as error:
        if lean:
            with suppress(PlanInfeasible):
                return [divide(replace(even, lean=True), envelope, config)]
        envelope = Envelope(parameters=error.parameters)
        usual = divide(even, envelope, config)
    if usual.capacity.empty:
        return [usual]
    other = divide(replace(even, lean=True), envelope, config) if lean else divide(even, envelope, few_members(config))
    same = (other.capacity, other.execution) == (usual.capacity, usual.execution)
    return [usual] if same else [usual, other]
