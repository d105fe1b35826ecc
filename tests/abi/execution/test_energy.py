from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.execution.costing import Beside
from abi.execution.demands import demands
from abi.execution.energy import energy_j, power_w, price
from abi.execution.search import enumerate_all
from abi.execution.types import Limits


def test_power_lies_between_idle_and_full(made: Any) -> None:
    assert power_w(made.device(), np.array([0.0, 0.5, 1.0, 1.2])) == pytest.approx([10, 60, 110, 110])


def test_energy_and_price_of_all_devices(made: Any) -> None:
    assert energy_j(made.device(), 2, np.array([0.5]), np.array([100.0])) == pytest.approx([12_000])
    assert price(made.device(), 2, np.array([1000.0])) == pytest.approx([2.0])  # 3.6 an hour
    assert np.isnan(price(made.device(price_per_hour=None), 2, np.array([1000.0]))).all()


def test_limits_hold_what_comes_beside_training_while_the_other_devices_wait(made: Any) -> None:
    """100 s and 500 J of one device; another one waits at 10 W, and costs as much: 0.1."""
    plain = made.question(2, Limits(train_time_s=1e4, energy_j=1e6, cost=10.0))
    columns = enumerate_all(plain)
    more, before = (
        demands(question, columns) for question in (replace(plain, beside=Beside(seconds=100.0, energy_j=500.0)), plain)
    )
    added = {name: more[name].asked - before[name].asked for name in ("train_time", "energy", "cost")}
    for devices, wanted in {1: (100, 500, 0.1), 2: (100, 1500, 0.2)}.items():
        for found, expected in zip(added.values(), wanted, strict=True):
            assert found[columns.devices == devices] == pytest.approx(expected)
