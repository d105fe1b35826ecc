"""The envelope as one device sees it: memory that is there, and energy and cost as seconds."""

from __future__ import annotations

from dataclasses import replace

from abi.devices.device import Cluster, Device
from abi.errors import UsageError
from abi.execution.energy import HOUR_S
from abi.types import Envelope
from abi.units import show_energy, show_seconds


def on_device(envelope: Envelope, cluster: Cluster | None) -> Envelope:
    """Limits of a training on one of the devices, which draws its full power at most.

    Raises:
        UsageError: energy or cost is limited, and the device's power or price is not known.
    """
    if cluster is None:
        if envelope.energy_j is not None or envelope.cost is not None:
            name = "energy" if envelope.energy_j is not None else "cost"
            msg = f"Expected devices beside a limit of {name}, got none: set training.gpus, as auto or 2xL4."
            raise UsageError(msg)
        return envelope
    device = cluster.device
    room = device.memory_bytes if envelope.memory_bytes is None else min(envelope.memory_bytes, device.memory_bytes)
    seconds = [s for s in (envelope.train_time_s, *_seconds(envelope, device).values()) if s is not None]
    return replace(
        envelope,
        memory_bytes=max(1, room - device.context_bytes),
        train_time_s=min(seconds, default=None),
        energy_j=None,
        cost=None,
    )


def training_seconds(envelope: Envelope, cluster: Cluster | None) -> float | None:
    """Seconds after which a training would pass its limit of time, energy or cost."""
    return envelope.train_time_s if cluster is None else on_device(envelope, cluster).train_time_s


def told(envelope: Envelope, cluster: Cluster | None) -> str:
    """What energy and cost allow, as the end of a sentence; empty where neither is limited."""
    if cluster is None:
        return ""
    device, seconds = cluster.device, _seconds(envelope, cluster.device)
    said = {
        "energy": f"energy={show_energy(envelope.energy_j or 0)} is {{}} at {device.power_w:g} W",
        "cost": f"cost={envelope.cost} is {{}} at {device.price_per_hour} an hour",
    }
    parts = [said[name].format(show_seconds(value)) for name, value in seconds.items()]
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
        found["energy"] = envelope.energy_j / device.power_w
    if envelope.cost is not None:
        if not device.price_per_hour:
            msg = f"Expected a price per hour of {device.name} beside a limit of cost, got {device.price_per_hour if device.price_per_hour is not None else 'none'}: set devices.{device.name}.price_per_hour."
            raise UsageError(msg)
        found["cost"] = envelope.cost * HOUR_S / device.price_per_hour
    return found
