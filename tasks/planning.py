"""Stage: divide the envelope. The machine's speed is measured once and kept in the workspace."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from abi.config import Config
from abi.documents import find
from abi.errors import PlanInfeasible
from abi.outcomes import Move
from abi.planning.allocate import SOLVER
from abi.planning.even import even_plans as plans_of_control
from abi.planning.machine import Machine
from abi.planning.measure import find_device, find_precision, measure
from abi.planning.nearest import nearest, refused
from abi.planning.planner import Planner
from abi.problem import Problem
from abi.types import Allocation, Attention, Envelope, Family, Plan
from abi.units import show_bytes, show_count, show_seconds
from abi.values import Value
from tasks.data import load_rows
from tasks.progress import say
from tasks.residuals import margins
from tasks.stage import Call, Stage


def machine(call: Call, problem: Problem) -> Machine:
    """The constants of this machine, measured once, with the margins that earlier runs taught.

    One problem under the same settings is planned with the same constants from its first plan on, however many runs end
    meanwhile: what it decides can be decided again.
    """
    settings = call.settings.training
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    name = f"{device.replace(':', '-')}-{precision}-{settings.threads or 'all'}-{torch.__version__}.json"
    own = call.ws.root / "machines" / f"{problem.id[:16]}-{call.settings.digest()[:16]}-{name}"
    if not own.is_file():
        path = call.ws.root / f"machine-{name}"
        if not path.is_file():
            call.ws.write(path, json.dumps(measure(device, precision, settings.threads).to_json(), indent=1).encode())
        here = Machine.from_json(json.loads(path.read_bytes()))
        call.ws.write(
            own,
            json.dumps(replace(here, margins=margins(call.ws, device, precision), solver=SOLVER).to_json()).encode(),
        )
    return Machine.from_json(json.loads(own.read_bytes()))


def divide(
    call: Call,
    attention: Attention,
    allocation: Allocation = "attention",
    family: Family | None = None,
    envelope: Envelope | None = None,
    settings: Config | None = None,
) -> Plan:
    """Attention -> plan, under the envelope of the settings or another; `family` once it has been decided."""
    return planner(call, attention.scores.problem, settings).divide(
        attention, family, allocation=allocation, envelope=envelope
    )


def divide_or_name(
    call: Call, attention: Attention, family: Family | None = None, envelope: Envelope | None = None
) -> Plan:
    """The same, for what a person asked: where nothing fits, the nearest envelopes that hold a plan are looked for.

    Raises:
        PlanInfeasible: it names them.
    """
    try:
        return divide(call, attention, family=family, envelope=envelope)
    except PlanInfeasible as error:
        limits = envelope or call.settings.envelope.limits()
        raise refused(error, nearest(planner(call, attention.scores.problem), attention, family, limits)) from None


def planner(call: Call, problem: Problem, settings: Config | None = None) -> Planner:
    """What divides envelopes for that problem on this machine."""
    return Planner(
        machine(call, problem),
        len(load_rows(call, problem, "train")),
        len(load_rows(call, problem, "validation")),
        settings or call.settings,
    )


def even_plans(call: Call, attention: Attention, family: Family) -> list[Plan]:
    """The plans that the uniform control may be trained by (`abi.planning.even`)."""
    return plans_of_control(
        lambda limits, config: divide(call, attention, "even", family, limits, config), call.settings
    )


def asked_of(value: Value) -> tuple[Attention, Family | None]:
    """What attention, or the Move that gave it, asks a plan for; the family where it has been decided.

    Raises:
        UsageError: the value comes before attention.
    """
    if isinstance(value, Move):
        return value.attention, value.trained.family
    return find(value, Attention), None


def plan(call: Call, attention: str) -> str:
    """Attention, or the Move that gave it -> Plan."""
    wanted, family = asked_of(call.ws.get(attention))
    made = divide_or_name(call, wanted, family)
    cost = made.predicted
    say(
        f"plan      {show_count(cost.parameters)} parameters, {show_bytes(cost.memory_bytes)}, about {show_seconds(cost.train_time_s)} of training"
    )
    return call.ws.put(made)


PLAN = Stage(plan, sections=("envelope", "training"))
