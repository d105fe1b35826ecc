"""How a plan's network is run on the devices that were asked for, as the plan carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from abi.devices.device import Cluster
from abi.execution.types import Alternative, Configuration, Job, Limits, Objective, RunCost
from abi.types import Plan
from abi.values import Value


@dataclass(frozen=True, kw_only=True)
class OnDevices(Value):
    """An execution plan without its traces, as a Plan carries it.

    Attributes:
        cluster: the devices that may be used.
        limits: what training may take of them; time, energy and cost are less what validation takes at its bound.
        job: rows and steps, which stay.
        configuration: the choice.
        predicted: what it takes, validation aside.
        resident_bytes: of the data on each device, and of the copies of the weights that training keeps.
        validation_s: seconds of all validations.
        reasons, sensitivities, alternatives, versions: as of an `ExecutionPlan`.
        objective: what ways to run it were ranked by; plans made before one could be asked for have none.
    """

    cluster: Cluster
    limits: Limits
    job: Job
    configuration: Configuration
    predicted: RunCost
    resident_bytes: int
    validation_s: float
    reasons: tuple[str, ...]
    sensitivities: dict[str, str]
    alternatives: tuple[Alternative, ...]
    versions: dict[str, str]
    objective: Annotated[Objective, Field(exclude_if=lambda objective: objective == "throughput")] = "throughput"


def on_devices(plan: Plan) -> OnDevices | None:
    """How a plan is run on devices; None where none were asked for."""
    return None if plan.execution_plan is None else OnDevices.from_json(plan.execution_plan)


def device_count(plan: Plan) -> int:
    """Devices that train a plan at once, each in a process of its own."""
    planned = on_devices(plan)
    return 1 if planned is None else planned.configuration.devices
