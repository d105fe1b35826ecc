"""Attention + envelope -> the plan of the family that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final

from abi.conformal import LEAST
from abi.errors import PlanInfeasible, UsageError, listed
from abi.planning.limits import on_device
from abi.planning.machine import Machine
from abi.planning.margins import Margin, bounded, told
from abi.planning.plan import make_plan
from abi.planning.trail import Trail
from abi.planning.trees import TreesPlan, plan_trees
from abi.types import NO_NETWORK, Allocation, Attention, Cost, Envelope, Execution, Family, Plan

if TYPE_CHECKING:
    from abi.config import Config

NETWORK_SHARE: Final = 0.75
"""Of a limit that both families together would exceed, what the network may have where a blend is asked for."""
LEAST_TREES: Final = 0.1
"""A blend is planned beside the full network where at least this share of the trees' parameters is left."""


def plan_family(
    attention: Attention,
    envelope: Envelope,
    config: Config,
    machine: Machine,
    *,
    train_rows: int,
    validation_rows: int,
    allocation: Allocation = "attention",
    family: Family | None = None,
    trail: Trail | None = None,
) -> Plan:
    """Divide the envelope for a network, for trees, or for both.

    Where both are planned, each is what it would be alone; that their sum fits is seen to when they are blended.

    Args:
        attention: the weights; `attention.trees` are the trees' own.
        envelope: limits.
        config: `training.family` and the recipes.
        machine: constants of this machine.
        train_rows: rows to train on.
        validation_rows: rows to judge by.
        allocation: "even" is the uniform control.
        family: in place of `training.family`, once it has been decided.
        trail: is left what was tried for the network, for an explanation.

    Raises:
        PlanInfeasible: nothing fits; the message names the smallest that would do.
        UsageError: trees are asked for where a column needs the network, or an objective where there are no devices.
    """
    asked = family or config.training.family
    schema = attention.scores.problem.schema
    texts = list(dict.fromkeys(f.column for f in schema.features if f.kind not in KINDS_OF_TREES))
    alone_for = "several labels per row" if schema.task == "multilabel" else ""
    alone_for = alone_for or ("a class out of scope" if schema.out_of_scope is not None else "")
    if alone_for and asked in {"trees", "blend"}:
        msg = f"Expected a target with one class or number per row for training.family={asked}, got {alone_for}: use training.family=network or auto."
        raise UsageError(msg)
    if texts and asked in {"trees", "blend"}:
        msg = f"Expected numbers and categories for training.family={asked}, got texts or pictures in {listed(texts)}: use training.family=network or auto."
        raise UsageError(msg)

    if config.training.objective != "throughput" and machine.cluster is None:
        msg = f"Expected devices beside an objective of {config.training.objective}, got none: set training.gpus, as auto or 2xL4."
        raise UsageError(msg)
    seconds = on_device(envelope, machine).train_time_s
    narrowed = replace(envelope, train_time_s=seconds, energy_j=None, cost=None)

    def network(limits: Envelope) -> Plan:
        def make(narrow: Envelope, seen: Trail | None) -> Plan:
            return make_plan(
                attention, narrow, config, machine,
                allocation=allocation, train_rows=train_rows, validation_rows=validation_rows, trail=seen,
            )  # fmt: skip

        if machine.cluster is None:
            made = make(limits, trail)
        else:
            from abi.planning.execution import plan_on_devices  # noqa: PLC0415 - tracing imports much

            made = plan_on_devices(
                make, limits, machine, precision=config.training.precision, kl=config.attention.kl, train_rows=train_rows,
                validation_rows=validation_rows, objective=config.training.objective, trail=trail,
            )  # fmt: skip
        return _within(replace(made, envelope=envelope), machine.margin("network"))

    def trees() -> TreesPlan:
        return plan_trees(
            attention, narrowed, config.training.trees, machine,
            allocation=allocation, train_rows=train_rows, validation_rows=validation_rows,
        )  # fmt: skip

    if texts and asked == "auto":
        return _noted(network(envelope), f"training.family is auto: {listed(texts)} is for the network alone.")
    if alone_for and asked == "auto":
        return _noted(network(envelope), f"training.family is auto: {alone_for} asks for the network alone.")
    if asked == "network":
        return network(envelope)
    margin = machine.margin("trees")

    def alone(made: TreesPlan) -> Plan:
        return _within(_trees_alone(made, attention, envelope, allocation, train_rows, machine), margin)

    if asked == "trees":
        return alone(trees())
    if asked == "blend":
        return _together("blend", _room_for_trees(network, trees, envelope), trees(), envelope, margin)
    return _auto(network, trees, alone, envelope, margin)


KINDS_OF_TREES: Final = frozenset({"numeric", "categorical", "boolean"})


def _auto(
    network: Callable[[Envelope], Plan],
    trees: Callable[[], TreesPlan],
    alone: Callable[[TreesPlan], Plan],
    envelope: Envelope,
    margin: Margin | None,
) -> Plan:
    """Both, or the one that fits.

    Raises:
        PlanInfeasible: neither does; the message is about trees, which need less.
    """
    try:
        made: TreesPlan | PlanInfeasible = trees()
    except PlanInfeasible as error:
        made = error
    try:
        first = network(envelope)
    except PlanInfeasible:
        if isinstance(made, PlanInfeasible):
            raise made from None
        return _noted(alone(made), "training.family is auto: no network fits the envelope, so trees it is.")
    if isinstance(made, PlanInfeasible):
        return _noted(first, "training.family is auto: no trees fit the envelope, so a network it is.")
    return _together("auto", first, made, envelope, margin)


def _room_for_trees(network: Callable[[Envelope], Plan], trees: Callable[[], TreesPlan], envelope: Envelope) -> Plan:
    whole = network(envelope)
    limit, wanted = envelope.parameters, trees().predicted
    if limit is None or whole.predicted.parameters + LEAST_TREES * wanted.parameters <= limit:
        return whole
    return network(replace(envelope, parameters=max(1, int(NETWORK_SHARE * limit))))


def _within(plan: Plan, margin: Margin | None) -> Plan:
    """With the bound that it was held to, which a traced one has already, and why."""
    if margin is None:
        return plan
    bound = plan.bound or bounded(plan.predicted, margin)
    return replace(plan, bound=bound, reasons=(*plan.reasons, *_told(margin, plan.envelope)))


def _told(margin: Margin | None, envelope: Envelope) -> tuple[str, ...]:
    """What limits are kept by; a prior is told where there are any that it can touch."""
    if margin is None or (margin.runs < LEAST and envelope == Envelope(parameters=envelope.parameters)):
        return ()
    return (told(margin),)


def _noted(plan: Plan, reason: str) -> Plan:
    return replace(plan, reasons=(*plan.reasons, reason))


def _trees_alone(
    made: TreesPlan, attention: Attention, envelope: Envelope, allocation: Allocation, train_rows: int, machine: Machine
) -> Plan:
    size, held = made.capacity, attention.balance
    return Plan(
        attention=attention,
        envelope=envelope,
        allocation=allocation,
        capacity=NO_NETWORK,
        execution=Execution(
            device="cpu",
            precision="float32",
            batch_rows=train_rows,
            epochs=size.rounds,
            steps=size.rounds,
            threads=machine.threads,
            learning_rate=size.learning_rate,
            dropout=0.0,
            patience=size.patience,
            balance=None if held is None else held.method,
        ),
        predicted=made.predicted,
        reasons=(*made.reasons, *(() if held is None else (f"Classes: {held.reason}.",))),
        family="trees",
        trees=size,
    )


def _together(family: str, network: Plan, made: TreesPlan, envelope: Envelope, margin: Margin | None) -> Plan:
    """Both; what they cost is the blend's, whose trees are cut where the sum would pass the limit."""
    a, b = network.predicted, made.predicted
    predicted, limit = _sum(a, b), envelope.parameters
    if limit is not None:
        predicted = replace(predicted, parameters=min(predicted.parameters, max(limit, a.parameters)))
    bound = None
    if network.bound is not None or margin is not None:
        bound = replace(_sum(network.bound or a, bounded(b, margin)), parameters=predicted.parameters)
    reason = (
        "Both families are trained; validation rows decide between the network, the trees and, where it fits, a blend of both."
        if family == "auto"
        else "Both families are trained, and what they predict is blended with a share fitted on validation rows."
    )
    return replace(
        network,
        family=family,  # type: ignore[arg-type]  # auto or blend
        trees=made.capacity,
        predicted=predicted,
        parts={"network": a, "trees": b},
        reasons=(*network.reasons, *made.reasons, *_told(margin, envelope), reason),
        bound=bound,
    )


def _sum(a: Cost, b: Cost) -> Cost:
    summed = {f.name: getattr(a, f.name) + getattr(b, f.name) for f in fields(Cost) if f.name != "macs"}
    return Cost(**summed)
