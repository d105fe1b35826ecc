from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.execution.sharding import Sharing, bound_bytes, line_bytes


def mib(
    made: Any, parallel: str, *, rows: int, times: int = 1, upper: bool = False, unit_mib: float = 10, **changed: Any
) -> float:
    sharing = Sharing(parallel=parallel, devices=1 if parallel == "none" else 4, unit_bytes=int(unit_mib * made.mib))  # type: ignore[arg-type]
    line = line_bytes(
        made.footprint(**changed), sharing, np.array([float(rows)]), np.array([float(times)]), upper=upper
    )
    return float(line[0]) / made.mib


def test_one_device_is_on_the_line_of_its_largest_phase(made: Any) -> None:
    assert mib(made, "none", rows=2) == pytest.approx(40 + 2 * 20)


def test_accumulation_keeps_gradients_through_the_forward_pass(made: Any) -> None:
    # forward 30 + 40 + 10 of gradients, as much as backward, in which they are already
    assert mib(made, "none", rows=2, times=2) == pytest.approx(80)
    # for the bound they may come on top of the backward pass
    assert mib(made, "none", rows=2, times=2, upper=True) == pytest.approx(90)


def test_ddp_copies_gradients_into_buckets(made: Any) -> None:
    assert mib(made, "ddp", rows=2) == pytest.approx(90)


def test_fsdp_keeps_a_part_and_gathers_units(made: Any) -> None:
    # backward: 80 - 3/4 x (10 + 10 + 20), and 2 x 2.5 gathered with 2.5 of gradients
    # forward: 70 - 3/4 x (10 + 20), and the same gathered
    assert mib(made, "fsdp", rows=2, unit_mib=2.5) == pytest.approx(max(80 - 30, 70 - 22.5) + 7.5)


def test_fsdp_of_one_unit_gathers_all_parameters(made: Any) -> None:
    assert mib(made, "fsdp", rows=2) == pytest.approx(50 + 10 + 10)  # backward; forward takes 47.5 + 20


def test_bound_has_margin_and_context(made: Any) -> None:
    assert bound_bytes(made.footprint(), np.array([1000.0]), 50) == pytest.approx([1150])


def test_each_instant_is_shared_for_itself(made: Any) -> None:
    """At the start of the backward pass all activations and no gradients are there, at its end it is the other way."""
    footprint = made.footprint()
    backward = replace(
        footprint.phases[1], lines=((30.0 * made.mib, 20.0 * made.mib), (40.0 * made.mib, 1.0 * made.mib))
    )
    phases = (footprint.phases[0], backward, *footprint.phases[2:])
    # few rows: the end, 40 + 0.5 - 3/4 x 40 + 20 gathered; evaluation and forward take less
    assert mib(made, "none", rows=0, phases=phases) == pytest.approx(40)
    # two rows: the start, 30 + 40, of which no gradients can be saved: - 3/4 x 30 + 20
    assert mib(made, "fsdp", rows=2, phases=phases) == pytest.approx(70 - 22.5 + 20)
