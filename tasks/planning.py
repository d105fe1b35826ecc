"""Stage: divide the envelope. The machine's speed is measured once and kept in the workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import torch

from abi.config import Config
from abi.cores import cores
from abi.devices.device import Cluster
from abi.documents import find
from abi.errors import PlanInfeasible, UsageError
from abi.outcomes import Move
from abi.planning.allocate import SOLVER
from abi.planning.asked import asked_devices, expect_here, is_here, torch_name
from abi.planning.even import even_plans as plans_of_control
from abi.planning.machine import Machine
from abi.planning.measure import find_device, find_precision, measure, measure_pictures
from abi.planning.nearest import nearest, refused
from abi.planning.planner import Planner
from abi.planning.run_time import limits
from abi.planning.what_if import Changed
from abi.problem import Problem
from abi.recipes import TrainingConfig
from abi.types import Allocation, Attention, Envelope, Family, Plan
from abi.units import show_bytes, show_count, show_seconds
from abi.values import Value
from tasks.devices import cluster
from tasks.progress import say
from tasks.residuals import margins
from tasks.stage import Call, Stage


def machine(call: Call, problem: Problem) -> Machine:
    """The constants of this machine, measured once, with the margins that earlier runs taught.

    Those of devices that `training.gpus` names and that are not here follow from their figures.

    One problem under the same settings is planned with the same constants from its first plan on, however many runs end
    meanwhile: what it decides can be decided again.
    """
    settings = call.settings.training
    asked = devices(call)
    if asked is not None and not is_here(asked, call.settings.devices):
        name = (
            f"{asked.device.name}-{asked.id[:16]}-{settings.precision}-{settings.threads or 'all'}-{torch.__version__}"
        )
        return _kept(call, problem, name, lambda: _described(asked, settings))
    device = find_device(settings.device) if asked is None else torch_name(asked)
    precision = find_precision(settings.precision, device)
    name = f"{device.replace(':', '-')}-{precision}-{settings.threads or cores()}-{torch.__version__}"

    def measured() -> Machine:
        path = call.ws.root / f"machine-{name}.json"
        if not path.is_file():
            call.ws.write(path, json.dumps(measure(device, precision, settings.threads).to_json(), indent=1).encode())
        here = Machine.from_json(json.loads(path.read_bytes()))
        pictures = measure_pictures(device, here.threads) if problem.schema.grids else None
        known = margins(call.ws, device, precision)
        return replace(here, margins=known, cluster=asked, solver=SOLVER, pictures=pictures)

    return _kept(call, problem, name if asked is None else f"{asked.id[:16]}-{name}", measured)


def _kept(call: Call, problem: Problem, name: str, make: Callable[[], Machine]) -> Machine:
    """As it was for the first plan of this problem under these settings."""
    own = call.ws.root / "machines" / f"{problem.id[:16]}-{call.settings.digest()[:16]}-{name}.json"
    if not own.is_file():
        call.ws.write(own, json.dumps(make().to_json()).encode())
    return Machine.from_json(json.loads(own.read_bytes()))


def devices(call: Call) -> Cluster | None:
    """The devices that are asked for; None where nothing asks for any.

    Raises:
        UsageError: none is known by that name, or the settings contradict each other.
    """
    config = call.settings
    return asked_devices(config, lambda text: cluster(call.ws, config, text))


def expect_devices(call: Call) -> None:
    """See that this machine has what is asked for, before anything is trained on it.

    Raises:
        UsageError: it does not.
    """
    expect_here(devices(call), call.settings.devices)


def elsewhere(call: Call, other: Changed) -> Call:
    """The call whose plans are for so many of the devices and rows of a step; where energy or cost is limited, for this machine's.

    Raises:
        UsageError: no devices are named whose number could change.
    """
    settings, envelope = call.settings, other.envelope
    training = settings.training
    if other.gpus is not None:
        asked = devices(call)
        if asked is None:
            msg = f"Expected devices whose number could change, got gpus={other.gpus} alone: name them with --gpus, as 2xL4."
            raise UsageError(msg)
        training = training.model_copy(update={"gpus": f"{other.gpus}x{asked.device.name}"})
    if other.global_batch is not None:
        training = training.model_copy(update={"batch_rows": other.global_batch})
    limits = settings.envelope.model_copy(update={"energy": envelope.energy_j, "cost": envelope.cost})
    changed = settings.model_copy(update={"training": training, "envelope": limits})
    return Call.of(call.ws, call.name, changed)


def _described(asked: Cluster, settings: TrainingConfig) -> Machine:
    from abi.planning.figures import machine_of  # tracing imports much

    return replace(machine_of(asked, settings.precision, settings.threads), solver=SOLVER)


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
        asked = envelope or limits(call.settings)
        raise refused(error, nearest(planner(call, attention.scores.problem), attention, family, asked)) from None


def planner(call: Call, problem: Problem, settings: Config | None = None) -> Planner:
    """What divides envelopes for that problem on this machine."""
    return Planner(
        machine(call, problem),
        *_rows(call, problem),
        settings or call.settings,
    )


def _rows(call: Call, problem: Problem) -> tuple[int, int]:
    """Rows of training and validation, counted once for a problem: that takes libraries which planning does without."""
    own = call.ws.root / "machines" / f"rows-{problem.id[:32]}.json"
    if not own.is_file():
        from tasks.data import count_rows

        counted = [count_rows(call, problem, "train"), count_rows(call, problem, "validation")]
        call.ws.write(own, json.dumps(counted).encode())
    train, validation = json.loads(own.read_bytes())
    return train, validation


def even_plans(call: Call, attention: Attention, family: Family, *, lean: bool) -> list[Plan]:
    """The plans that the uniform control may be trained by (`abi.planning.even`)."""
    return plans_of_control(
        lambda even, limits, config: divide(call, even, "even", family, limits, config),
        attention,
        call.settings,
        lean=lean,
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


PLAN = Stage(plan, sections=("envelope", "training", "devices", "attention", "iterate"))
