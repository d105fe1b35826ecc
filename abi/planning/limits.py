"""The envelope as one device sees it: memory that is there, and energy and cost as seconds."""

from __future__ import annotations

from dataclasses import replace

from abi.devices.device import Device
from abi.errors import PlanInfeasible, UsageError
from abi.execution.energy import HOUR_S
from abi.planning.machine import Machine
from abi.planning.on_devices import on_devices
from abi.types import Envelope, Plan
from abi.units import show_bytes, show_energy, show_seconds


def on_device(envelope: Envelope, machine: Machine) -> Envelope:
    """Limits of a training on one of the machine's devices, which draws no less than its idle power.

    How much more it draws is for the trace to say: where that is too much, limits are tightened.

    Raises:
        UsageError: energy or cost is limited, and the device's power or price is not known.
        PlanInfeasible: its driver and libraries alone take more memory.
    """
    if machine.cluster is None:
        if envelope.energy_j is not None or envelope.cost is not None:
            name = "energy" if envelope.energy_j is not None else "cost"
            msg = f"Expected devices beside a limit of {name}, got none: set training.gpus, as auto or 2xL4."
            raise UsageError(msg)
        return envelope
    device = machine.cluster.device
    room = device.memory_bytes if envelope.memory_bytes is None else min(envelope.memory_bytes, device.memory_bytes)
    if room <= device.context_bytes:
        msg = f"Expected a limit of memory above the {show_bytes(device.context_bytes)} that driver and libraries of {device.name} take, got memory={show_bytes(room)}: raise it."
        raise PlanInfeasible(msg)
    seconds = [s for s in (envelope.train_time_s, *_seconds(envelope, device).values()) if s is not None]
    return replace(
        envelope,
        memory_bytes=room - device.context_bytes,
        train_time_s=min(seconds, default=None),
        energy_j=None,
        cost=None,
    )


def training_seconds(plan: Plan) -> float | None:
    """Seconds after which a training would pass its limit of time, energy or cost, at the plan's power and devices."""
    envelope, planned = plan.envelope, on_devices(plan)
    if planned is None:
        return envelope.train_time_s
    run, seconds = planned.predicted, [] if envelope.train_time_s is None else [envelope.train_time_s]
    if envelope.energy_j is not None:
        seconds.append(envelope.energy_j * run.train_s / run.energy_j)
    if envelope.cost is not None and run.price:
        seconds.append(envelope.cost * run.train_s / run.price)
    return min(seconds, default=None)


def told(envelope: Envelope, machine: Machine) -> str:
    """What energy and cost allow, as the end of a sentence; empty where neither is limited."""
    if machine.cluster is None:
        return ""
    device = machine.cluster.device
    said = {
        "energy": f"energy={show_energy(envelope.energy_j or 0)} is {{}} at its idle power of {device.idle_w:g} W",
        "cost": f"cost={envelope.cost} is {{}} at {device.price_per_hour} an hour",
    }
    parts = [said[name].format(show_seconds(value)) for name, value in _seconds(envelope, device).items()]
    return f" On {device.name} {' and '.join(parts)}." if parts else ""


def _seconds(envelope: Envelope, device: Device) -> dict[str, float]:
    """Limit of energy and of cost -> seconds of one device.

    Raises:
        UsageError: its power or its price is not known.
    """
    found = {}
    if envelope.energy_j is not None:
        if device.power_w <= 0:
            msg = f"Expected the power of {device.name} beside a limit of energy, got none: set devices.{device.name}.power."
            raise UsageError(msg)
        found["energy"] = envelope.energy_j / (device.idle_w or device.power_w)
    if envelope.cost is not None:
        if device.price_per_hour is None:
            msg = f"Expected a price per hour of {device.name} beside a limit of cost, got none: set devices.{device.name}.price_per_hour."
            raise UsageError(msg)
        if device.price_per_hour:
            found["cost"] = envelope.cost * HOUR_S / device.price_per_hour
    return found
