"""Energy and cost as seconds, memory less what driver and libraries take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.devices.catalogue import find
from abi.devices.device import Cluster
from abi.errors import PlanInfeasible, UsageError
from abi.planning.limits import on_device, told
from abi.planning.machine import Machine
from abi.types import Envelope

LIMIT = 2**31


def _machine(toy: Any, **changed: Any) -> Machine:
    device = replace(find("L4"), power_w=100.0, idle_w=20.0, context_bytes=10, **changed)
    cluster = Cluster(device=device, count=1, host_memory_bytes=2**36, host_cores=8)
    here: Machine = toy.machine
    return replace(here, cluster=cluster)


def test_energy_lasts_at_most_at_idle_power(toy: Any) -> None:
    envelope = Envelope(energy_j=3000.0)
    assert on_device(envelope, _machine(toy)).train_time_s == 150  # at 20 W
    assert told(envelope, _machine(toy)) == " On L4 energy=3 kJ is 2.5 min at its idle power of 20 W."


def test_cost_lasts_by_the_hour_and_the_shortest_limit_holds(toy: Any) -> None:
    machine = _machine(toy, price_per_hour=2.0)
    assert on_device(Envelope(cost=0.5), machine).train_time_s == 900
    assert on_device(Envelope(cost=0.5, train_time_s=600.0), machine).train_time_s == 600
    assert on_device(Envelope(cost=0.5, energy_j=100.0), machine).train_time_s == 5
    both = on_device(Envelope(cost=0.5, energy_j=100.0), machine)
    assert both.energy_j is None
    assert both.cost is None


def test_memory_is_the_smaller_of_envelope_and_device_less_its_context(toy: Any) -> None:
    machine = _machine(toy)
    assert machine.cluster is not None
    assert on_device(Envelope(memory_bytes=LIMIT), machine).memory_bytes == LIMIT - 10
    whole = machine.cluster.device.memory_bytes
    assert on_device(Envelope(memory_bytes=2**50), machine).memory_bytes == whole - 10
    assert on_device(Envelope(), machine).memory_bytes == whole - 10
    with pytest.raises(
        PlanInfeasible, match="Expected a limit of memory above the 10 B that driver and libraries of L4"
    ):
        on_device(Envelope(memory_bytes=10), machine)


def test_without_devices_nothing_changes_and_energy_is_refused(toy: Any) -> None:
    envelope = Envelope(memory_bytes=LIMIT, train_time_s=2.0)
    assert on_device(envelope, toy.machine) is envelope
    assert told(envelope, toy.machine) == ""
    with pytest.raises(UsageError, match=r"got none: set training\.gpus, as auto or 2xL4"):
        on_device(Envelope(energy_j=1.0), toy.machine)


def test_a_price_has_to_be_known_and_may_be_nothing(toy: Any) -> None:
    with pytest.raises(
        UsageError, match=r"Expected a price per hour of L4 beside a limit of cost, got none: set devices"
    ):
        on_device(Envelope(cost=1.0), _machine(toy))
    assert on_device(Envelope(cost=1.0), _machine(toy, price_per_hour=0.0)).train_time_s is None


def test_so_has_a_power(toy: Any) -> None:
    machine = _machine(toy)
    assert machine.cluster is not None
    unknown = replace(machine.cluster.device, power_w=0.0, idle_w=0.0)
    with pytest.raises(UsageError, match=r"power of L4 beside a limit of energy, got none: set devices\.L4\.p"):
        on_device(Envelope(energy_j=1.0), replace(machine, cluster=replace(machine.cluster, device=unknown)))
