from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abi.execution.energy import energy_j, power_w, price


def test_power_lies_between_idle_and_full(made: Any) -> None:
    assert power_w(made.device(), np.array([0.0, 0.5, 1.0, 1.2])) == pytest.approx([10, 60, 110, 110])


def test_energy_and_price_of_all_devices(made: Any) -> None:
    assert energy_j(made.device(), 2, np.array([0.5]), np.array([100.0])) == pytest.approx([12_000])
    assert price(made.device(), 2, np.array([1000.0])) == pytest.approx([2.0])  # 3.6 an hour
    assert np.isnan(price(made.device(price_per_hour=None), 2, np.array([1000.0]))).all()
