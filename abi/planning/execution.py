"""How a plan's network is run on the devices that were asked for: traced, searched, planned again where it does not fit.

What `make_plan` predicts of memory and time is a model with three constants, good enough to divide the envelope. The very
network that it found is then followed operator by operator, and every way to run it is costed (`abi.execution`). Where none
fits, the network is planned again with limits that are smaller by as much as its trace was larger; where one leaves room that
limits of time or memory had kept out, with larger ones (`abi.planning.wider`), for as long as that makes it better.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from abi.conformal import LEAST
from abi.devices.device import Cluster, Device
from abi.errors import PlanInfeasible
from abi.execution import energy
from abi.execution.costing import Beside, Question
from abi.execution.decide import decide
from abi.execution.demands import SAID, demands, show_price
from abi.execution.explain import NOTHING_BINDS
from abi.execution.learned import Learned
from abi.execution.roofline import phase_of, phase_time
from abi.execution.search import enumerate_all
from abi.execution.tracer import Tracer
from abi.execution.types import (
    TRAINING,
    ExecutionPlan,
    Footprint,
    Job,
    Limits,
    Objective,
)
from abi.execution.wording import describe
from abi.planning.limits import on_device, told
from abi.planning.machine import Machine
from abi.planning.margins import bounded
from abi.planning.on_devices import OnDevices
from abi.planning.traced import rows_of, training_of
from abi.planning.trail import Trail
from abi.planning.wider import wider
from abi.planning.worth import expected_gain
from abi.types import Cost, Envelope, Plan
from abi.units import show_bytes, show_energy, show_seconds, six_digits

TRIES: Final = 6
"""So often a network is planned at most: smaller until its trace fits, or larger until it leaves no room."""
LEAST_TIGHTER: Final = 0.98
"""Each time limits shrink at least by this."""
LEAST_ROWS: Final = 2
"""Memory of these networks is linear in rows: two traces say all. The other has the largest micro-batch of all devices.

Where modalities are aligned it has a part that grows with the square, which a line through both overstates in between.
"""
LARGER: Final = (
    "Traced, the first network left room in the envelope as it is run here, so it was planned again, larger or longer."
)
DIGITS: Final = 6
SMALLER_IMAGES: Final = 3
"""The first of `abi.planning.machine.RULES` by which images at half their size take less of the predicted time."""
WHOLE_LIMITS: Final = 4
"""The first by which limits hold validation at its bound, on all devices: before, training had what it leaves of them."""
LEAST_LEFT: Final = 0.01
"""Of a limit, where validation alone would take more."""


def plan_on_devices(
    make: Callable[[Envelope, Trail], Plan],
    envelope: Envelope,
    machine: Machine,
    *,
    precision: str,
    kl: float,
    train_rows: int,
    validation_rows: int,
    objective: Objective = "throughput",
    trail: Trail | None = None,
) -> Plan:
    """Plan a network, then how it is run; again with tighter limits while its trace does not fit, or wider ones while it leaves room.

    Args:
        make: an envelope -> the plan of a network in it, leaving in the trail what was tried.
        envelope: what may be spent.
        machine: with the devices.
        precision: training.precision.
        kl: the penalty on attention's divergence, which is a part of the loss.
        train_rows: rows to train on.
        validation_rows: rows to judge by.
        objective: what ways to run it are ranked by.
        trail: is left what was tried for the network that is taken.

    Raises:
        PlanInfeasible: nothing fits, or nothing that was tried.
        UsageError: energy or cost is limited or ranked by, and the device's power or price is not known.
    """
    assert machine.cluster is not None
    tight, said = on_device(envelope, machine), list[str]()
    first: PlanInfeasible | None = None
    refused: PlanInfeasible | None = None
    kept: _Kept | None = None
    for _ in range(TRIES):
        seen = Trail(machine.solver)
        try:
            plan = make(tight, seen)
        except PlanInfeasible as error:
            if (
                kept is not None or refused is not None
            ):  # by its trace, which says more than limits that were made for it
                break
            if first is None:
                first = PlanInfeasible(f"{error}{told(envelope, machine)}", error.parameters, error.nearest)
                if machine.rules is not None and machine.cluster.count > 1 and tight.train_time_s is not None:
                    tight = replace(tight, train_time_s=None)  # that of one device: a trace says what several take
                    continue
            raise first from None
        asked = _question(plan, envelope, machine, precision, kl, train_rows, validation_rows, objective)
        try:
            found = decide(
                asked.question,
                module="network",
                versions={"torch": importlib.metadata.version("torch")},
                trace=asked.tracer.peak,
            )
        except PlanInfeasible as error:
            refused, over = error, _over(asked.question)
            tight = _tightened(tight, _held(plan, machine), over)
            said = said or ([] if first else [_again(over)])
            continue
        now = _Kept(plan, found, asked, seen, said)
        if kept is not None and kept.key <= now.key:
            break
        kept, said = now, [*said, *([] if LARGER in said else [LARGER])]
        more = wider(tight, _held(plan, machine), plan, asked.question, seen) if machine.rules is not None else None
        if more is None:
            break
        tight = more
    if kept is not None:
        if trail is not None:
            trail.take(kept.seen)
        return _with(kept.plan, envelope, kept.found, kept.asked, machine, kept.said)
    if first is not None:
        raise first
    assert refused is not None
    raise PlanInfeasible(str(refused), plan.predicted.parameters, refused.nearest)


@dataclass(frozen=True)
class _Kept:
    """A network that fits, how it is run, and what was tried before it was found."""

    plan: Plan
    found: ExecutionPlan
    asked: _Asked
    seen: Trail
    said: list[str]

    @property
    def key(self) -> tuple[float, ...]:
        """What is least is best: sizes tried before it, then most expected gain, epochs, and rows per second."""
        gain = round(expected_gain(self.plan), DIGITS)
        tried, epochs = float(len(self.seen.sizes)), float(self.plan.execution.epochs)
        return tried, -gain, -epochs, -self.found.predicted.rows_per_s


@dataclass(frozen=True)
class _Asked:
    question: Question
    tracer: Tracer
    validation: Beside


def _question(
    plan: Plan,
    envelope: Envelope,
    machine: Machine,
    precision: str,
    kl: float,
    train_rows: int,
    validation_rows: int,
    objective: Objective,
) -> _Asked:
    """Trace the plan's network under each arithmetic that it may be trained in."""
    assert machine.cluster is not None
    execution, cluster = plan.execution, _divided(machine.cluster, plan.execution.batch_rows)
    device = _restricted(cluster.device, machine, precision)
    largest = max(execution.batch_rows // cluster.count, LEAST_ROWS + 1)
    tracer = Tracer(training_of(plan, kl), device, rows=(LEAST_ROWS, largest), apart=False).kept()
    footprints = tracer.footprints(checkpointing=False)
    rows = rows_of(plan)
    copies = 1 + bool(execution.average)
    resident = (train_rows + validation_rows) * rows.row_bytes + copies * footprints[0].parameter_bytes
    chunk = min(execution.batch_rows, validation_rows) or 1
    work = execution.steps * execution.passes
    if execution.half_size and (machine.rules or 0) >= SMALLER_IMAGES:
        smaller = Tracer(training_of(plan, kl, halved=True), device, rows=(LEAST_ROWS, largest), apart=False)
        work *= 1 - execution.half_size * _saved(footprints, smaller.footprints(checkpointing=False), device, largest)
    seconds, joules = (
        execution.epochs * max(part)
        for part in zip(*(_validation(f, device, validation_rows, chunk) for f in footprints), strict=True)
    )
    validation, whole = Beside(seconds=seconds, energy_j=joules), (machine.rules or 0) >= WHOLE_LIMITS
    question = Question(
        footprints=footprints,
        cluster=replace(cluster, device=device),
        limits=_limits(envelope, device, Beside() if whole else validation),
        beside=validation if whole else Beside(),
        # in plain steps' worth of work, which is what was traced
        job=Job(
            global_batch=execution.batch_rows,
            steps=math.ceil(work),
            row_bytes=rows.row_bytes,
        ),
        objective=objective,
        learned=_learned(machine, footprints),
        resident_bytes=resident,
        apart=False,  # validation takes the rows of a micro-batch at a time
        sharded=False,
    )
    return _Asked(question, tracer, validation)


def _saved(whole: tuple[Footprint, ...], smaller: tuple[Footprint, ...], device: Device, rows: int) -> float:
    """Share of a step's seconds that smaller images save on so many rows, in the arithmetic that saves least."""
    return max(
        0.0, min(1 - _step_s(s, device, rows) / _step_s(w, device, rows) for w, s in zip(whole, smaller, strict=True))
    )


def _step_s(footprint: Footprint, device: Device, rows: int) -> float:
    at = np.array([float(rows)])
    phases = (phase_time(phase_of(footprint, name), device, footprint.arithmetic, at) for name in TRAINING)
    return sum(float(phase.total_s[0]) for phase in phases)


def _learned(machine: Machine, footprints: tuple[Footprint, ...]) -> tuple[Learned, ...]:
    """The margin of times, where these come from figures: those of measured constants are held to it before the trace."""
    margin = machine.margin("network") if machine.source else None
    if margin is None:
        return ()
    return tuple(
        Learned(
            arithmetic=footprint.arithmetic,
            memory=margin.memory_bytes,
            time=margin.train_time_s,
            runs=0,
            coverage=None,
        )
        for footprint in footprints
    )


def _divided(cluster: Cluster, batch_rows: int) -> Cluster:
    """As many of the devices as divide a step's rows."""
    count = max(n for n in range(1, cluster.count + 1) if batch_rows % n == 0)
    return replace(cluster, count=count)


def _restricted(device: Device, machine: Machine, precision: str) -> Device:
    """The device with the arithmetics that networks may be trained in: measured constants are of one."""
    if precision == "auto" and machine.source:
        return device
    kept = [machine.precision] if not machine.source or precision == "bfloat16" else ["float32"]
    return replace(device, rates={name: rate for name, rate in device.rates.items() if name in kept})


def _validation(footprint: Footprint, device: Device, rows: int, chunk: int) -> tuple[float, float]:
    """Seconds and joules of one pass over the validation rows."""
    time = phase_time(phase_of(footprint, "evaluate"), device, footprint.arithmetic, np.array([float(chunk)]))
    times = math.ceil(rows / chunk)
    seconds, busy = (times * float(part[0]) for part in (time.total_s, time.busy_s))
    return seconds, device.idle_w * seconds + (device.power_w - device.idle_w) * busy


def _limits(envelope: Envelope, device: Device, validation: Beside, *, devices: int = 1, wider: float = 1.0) -> Limits:
    """What validation leaves of the envelope, at its bound, while so many devices wait."""

    def left(limit: float | None, taken: float) -> float | None:
        return None if limit is None else max(limit - taken * wider, LEAST_LEFT * limit)

    seconds, count = validation.seconds, np.array([float(devices)])
    paid = 0.0 if device.price_per_hour is None else float(energy.price(device, count, seconds)[0])
    return Limits(
        memory_bytes=envelope.memory_bytes,
        train_time_s=left(envelope.train_time_s, seconds),
        energy_j=left(envelope.energy_j, float(energy.beside_j(device, count, validation.energy_j, seconds)[0])),
        cost=left(envelope.cost, paid),
        latency_s=envelope.latency_s,
    )


def _over(question: Question) -> dict[str, float]:
    """By how much the configuration that comes nearest to all limits passes each of them; those that it passes."""
    asked = demands(question, enumerate_all(question))
    ratios = np.stack([np.maximum(demand.asked / demand.limit, 1.0) for demand in asked.values()])
    nearest = int(np.argmin(np.log(ratios).sum(axis=0)))
    found = {name: float(ratio[nearest]) for name, ratio in zip(asked, ratios, strict=True) if ratio[nearest] > 1}
    return found or {"memory": 1.0}  # only with the margin that its last trace asked for


def _held(plan: Plan, machine: Machine) -> Cost:
    """What `make_plan` held the limits against: bounds, but in records of margins from before there was a prior."""
    margin = machine.margin("network")
    late = margin is not None and (machine.source or margin.runs < LEAST)
    return bounded(plan.predicted, margin if late else None)


def _tightened(tight: Envelope, held: Cost, over: Mapping[str, float]) -> Envelope:
    """Limits for `make_plan` that what it held against them passes by as much as the trace passed the envelope's."""
    slower = max((ratio for name, ratio in over.items() if name in {"train_time", "energy", "cost"}), default=0.0)

    def less(limit: float | int | None, was: float | int, ratio: float) -> float | int | None:
        if not ratio:
            return limit
        return min(was, was if limit is None else limit) / ratio * LEAST_TIGHTER

    memory = less(tight.memory_bytes, held.memory_bytes, over.get("memory", 0.0))
    return replace(
        tight,
        memory_bytes=None if memory is None else max(1, int(memory)),
        train_time_s=less(tight.train_time_s, held.train_time_s, slower),
        latency_s=less(tight.latency_s, held.latency_s, over.get("latency", 0.0)),
    )


def _again(over: Mapping[str, float]) -> str:
    name = max(over, key=lambda at: over[at])
    return f"Traced, the first network that seemed to fit asked for {over[name]:.2f}x the limit of {SAID[name]}, so it was planned again, smaller or shorter."


def _with(
    plan: Plan, envelope: Envelope, found: ExecutionPlan, asked: _Asked, machine: Machine, said: list[str]
) -> Plan:
    choice, run, validation = found.configuration, found.predicted, asked.validation
    wider, limits = run.train_bound_s / run.train_s, found.limits
    if asked.question.beside == validation:
        limits = _limits(envelope, found.cluster.device, validation, devices=choice.devices, wider=wider)
    answer = OnDevices(
        cluster=replace(found.cluster, device=machine.cluster.device),  # type: ignore[union-attr]  # it is there
        limits=limits,
        job=found.job,
        configuration=choice,
        predicted=run,
        resident_bytes=asked.question.resident_bytes or 0,
        validation_s=six_digits(validation.seconds),
        reasons=tuple(r for r in found.reasons if r != NOTHING_BINDS),  # of how it runs; widths may be bound
        sensitivities=found.sensitivities,
        alternatives=found.alternatives,
        versions=found.versions,
        objective=found.objective,
    )
    execution = replace(
        plan.execution,
        precision="bfloat16" if choice.arithmetic == "bfloat16" else "float32",
        micro_batch=choice.micro_batch,
    )
    made = replace(
        plan,
        envelope=envelope,
        execution=execution,
        execution_plan=answer.to_json(),
        reasons=(*plan.reasons, *_said(answer, machine), *said),
    )
    if not machine.source:  # measured constants say more of time than figures do
        return made
    predicted = Cost(
        parameters=plan.predicted.parameters,
        memory_bytes=run.memory_bytes,
        train_time_s=six_digits(run.train_s + validation.seconds),
        latency_s=six_digits(run.latency_s),
    )
    bound = replace(
        predicted,
        memory_bytes=run.memory_bound,
        train_time_s=six_digits((run.train_s + validation.seconds) * wider),
        latency_s=six_digits(run.latency_s * wider),
    )
    return replace(made, predicted=predicted, bound=bound)


def _said(answer: OnDevices, machine: Machine) -> list[str]:
    run, device, there = answer.predicted, answer.cluster.device, machine.cluster
    assert there is not None
    price = "" if run.price is None else f", a cost of {show_price(run.price)}"
    fewer = (
        f" {there.count - answer.cluster.count} of the {there.count} devices stay idle: a step of {answer.job.global_batch} rows is not divided by more."
        if answer.cluster.count < there.count
        else ""
    )
    processes = (
        f" Training starts {answer.configuration.devices} processes, one for each device; short ones that compare splits run in one."
        if answer.configuration.devices > 1
        else ""
    )
    ranked = (
        ""
        if answer.objective == "throughput"
        else f" Of the ways to run it that fit, this has the least {answer.objective}."
    )
    return [
        f"Runs on {answer.cluster.count} x {device.name}: {describe(answer.configuration)}; at most {show_bytes(run.memory_bound)} of "
        f"each device's {show_bytes(device.memory_bytes)}, {show_seconds(run.step_s)} a step, {show_energy(run.energy_j)}{price}, by the traced network.{ranked}{fewer}{processes}"
    ]
