"""The network of a plan before its first step: what it learns of its inputs, then weights from torch's global seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.families.artifact import Blueprint, build
from abi.families.preparation import Fitting, prepare

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.families.network import Network
    from abi.types import Plan


def begin(plan: Plan, train: Columns, *, low_precision: bool = False) -> tuple[Blueprint, Network, Fitting]:
    """What `plan` says, with knots, vocabularies and terms of the training rows alone."""
    schema = plan.attention.scores.problem.schema
    preparation, fitting = prepare(schema, plan.capacity, train, plan.attention)
    blueprint = Blueprint(
        family="network",
        schema=schema,
        capacity=plan.capacity,
        preparation=preparation,
        prior=tuple(w.weight for w in plan.attention.weights),
        dropout=plan.execution.dropout,
    )
    return blueprint, build(blueprint, low_precision=low_precision, masks=fitting.masks), fitting
