"""Constants of a device that is only described."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.devices.catalogue import find
from abi.devices.device import Cluster, Device
from abi.errors import UsageError
from abi.execution import roofline
from abi.planning.figures import machine_of, precision_of
from abi.planning.machine import Machine


def _cluster(**changed: Any) -> Cluster:
    device = replace(find("L4"), **changed)
    return Cluster(device=device, count=2, host_memory_bytes=2**36, host_cores=16)


def _endless(**changed: Any) -> Cluster:
    """A device that takes time for nothing but starting kernels."""
    rates: dict[str, float] = dict.fromkeys(("float32", "bfloat16"), 1e30)
    return _cluster(rates=rates, bandwidth=1e30, **changed)


@pytest.fixture(scope="module")
def made() -> Machine:
    return machine_of(_cluster(), "auto", None)


def test_where_only_launches_cost_time_all_constants_are_launches() -> None:
    one, two = (machine_of(_endless(launch_s=s), "float32", None) for s in (1e-5, 2e-5))
    assert two.call_s == pytest.approx(2 * one.call_s, rel=1e-5)
    assert two.predict_call_s == pytest.approx(2 * one.predict_call_s, rel=1e-5)
    kernels = one.predict_call_s / 1e-5 / roofline.MODELS
    assert kernels == pytest.approx(round(kernels))
    assert 10 < kernels < 60


def test_without_launches_the_time_is_inverse_to_rate_and_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "PRODUCT_START_S", 0.0)
    monkeypatch.setattr(roofline, "OTHER_START_S", 0.0)
    slow = machine_of(_cluster(launch_s=0.0), "float32", None)
    device = find("L4")
    fast = replace(
        device, launch_s=0.0, bandwidth=4 * device.bandwidth, rates={n: 4 * r for n, r in device.rates.items()}
    )
    quick = machine_of(replace(_cluster(), device=fast), "float32", None)
    assert quick.activation_s == pytest.approx(slow.activation_s / 4, rel=1e-4)
    assert quick.mac_s == pytest.approx(slow.mac_s / 4, rel=1e-4)


def test_it_says_what_it_is_of_and_is_the_same_every_time(made: Machine) -> None:
    assert (made.device, made.name, made.precision, made.threads) == ("cuda", "L4", "bfloat16", 16)
    assert made.memory_bytes == find("L4").memory_bytes - find("L4").context_bytes
    assert Machine.from_json(made.to_json()) == made
    assert machine_of(_cluster(), "auto", None).canonical() == made.canonical()


def test_what_was_measured_before_devices_could_be_named_still_reads() -> None:
    made = machine_of(_cluster(), "auto", 3)
    plain = replace(made, cluster=None, source="").to_json()
    assert {"cluster", "source"}.isdisjoint(plain)
    assert Machine.from_json(plain).cluster is None


@pytest.mark.parametrize(
    ("rates", "asked", "expected"),
    [
        ({"float32": 1.0, "bfloat16": 2.0}, "auto", "bfloat16"),
        ({"float32": 1.0, "bfloat16": 2.0}, "float32", "float32"),
        ({"float32": 1.0, "tf32": 2.0}, "auto", "float32"),
    ],
)
def test_precision_by_the_rates(rates: dict[str, float], asked: str, expected: str) -> None:
    assert precision_of(replace(find("L4"), rates=rates), asked) == expected


def test_a_precision_without_a_rate_is_refused() -> None:
    device: Device = find("T4")
    with pytest.raises(
        UsageError, match=r"Expected a precision that T4 has a rate for .*got training.precision=bfloat"
    ):
        precision_of(device, "bfloat16")
