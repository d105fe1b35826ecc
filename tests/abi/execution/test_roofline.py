from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.errors import UsageError
from abi.execution.roofline import latency_s, phase_of, phase_time, time_margin
from abi.execution.types import CallLine


def test_time_is_the_slower_of_arithmetic_and_traffic_then_other_traffic_and_the_starts(made: Any) -> None:
    time = phase_time(phase_of(made.footprint(), "forward"), made.device(), "float32", np.array([1.0, 10.0]))
    # 1 GFLOP a row at 1e12 x 0.5; besides it (1 + 0.25 rows) MB at 1e9 x 0.8; 100 starts of 10 µs
    assert time.arithmetic_s == pytest.approx([2e-3, 20e-3])
    assert time.bandwidth_s == pytest.approx([1.5625e-3, 4.375e-3])
    assert time.launches_s == pytest.approx([1.6e-3, 1.6e-3])
    assert time.total_s == pytest.approx([3.5625e-3, 24.375e-3])  # a GPU is not kept waiting by shorter starts


def test_a_processor_starts_what_it_computes_itself(made: Any) -> None:
    time = phase_time(phase_of(made.footprint(), "forward"), made.device(kind="cpu"), "float32", np.array([1.0, 10.0]))
    assert time.total_s == pytest.approx([5.1625e-3, 25.975e-3])


def test_every_operator_has_a_roof_of_its_own(made: Any) -> None:
    calls = (
        CallLine(name="mm", calls=2, flops=(0.0, 1e9), bytes=(0.0, 4e5), rate="own", times=1.5, tensor_times=3.0, kernels=1.0),
        CallLine(name="low", calls=1, flops=(0.0, 1e9), bytes=(0.0, 4e5), rate="low", times=1.0, tensor_times=1.0, kernels=1.0),
        CallLine(name="add", calls=3, flops=(0.0, 0.0), bytes=(8e5, 0.0), rate="", times=2.0, tensor_times=2.0, kernels=1.0),
    )  # fmt: skip
    phase = replace(phase_of(made.footprint(), "forward"), calls=calls)
    time = phase_time(phase, made.device(), "float32", np.array([1.0]))
    # 1 GFLOP at 1e12 x 0.5 takes 2 ms, its traffic half of one; twice, 1.5 times the roof
    product, other = 2 * (1.5 * 2e-3 + 6.75e-6), 3 * (2 * 1e-3 + 1.1e-6)
    rate = made.device().rates["bfloat16"] * 0.5
    low = max(1e9 / rate, 5e-4) + 6.75e-6
    assert float(time.arithmetic_s[0] + time.bandwidth_s[0]) == pytest.approx(product + low + other)


def test_matrix_products_may_be_held_back_by_bandwidth(made: Any) -> None:
    device = made.device(rates={"float32": 1e14})  # 20 µs a row, where their quarter of a MB takes 312.5
    time = phase_time(phase_of(made.footprint(), "forward"), device, "float32", np.array([2.0]))
    assert time.arithmetic_s.tolist() == [0]
    assert time.bandwidth_s == pytest.approx([2.5e-3])  # all 2 MB


def test_latency_is_one_row_of_evaluation(made: Any) -> None:
    assert latency_s(made.footprint(), made.device()) == pytest.approx(3.5625e-3)


def test_operators_without_a_formula_widen_the_bound_of_time(made: Any) -> None:
    assert time_margin(made.footprint()) == 0
    assert time_margin(made.footprint(uncounted=("aten::a", "aten::b"))) == pytest.approx(0.2)


def test_an_arithmetic_that_the_device_has_not(made: Any) -> None:
    with pytest.raises(UsageError, match=r"Expected an arithmetic of Round \(float32, bfloat16\), got tf32"):
        phase_time(phase_of(made.footprint(), "forward"), made.device(), "tf32", np.ones(1))
