"""The bound on what a division is worth, and divisions near it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.inputs.kind import Step
from abi.planning import allocate
from abi.planning.allocate import NEAR, SMALL, solve
from abi.planning.knapsack import Knapsack, climb, knapsack
from abi.planning.machine import Machine
from abi.planning.relaxation import open_rungs, relax


@pytest.fixture(scope="module")
def bench(benchmark_module: Any) -> Any:
    return benchmark_module("planner_solve")


def _sack(costs: list[list[int]], weights: list[float], budget: int, width_limit: int | None = None) -> Knapsack:
    """Widths 1, 2, .. at these costs, where the layer above costs nothing."""
    ladders = [[Step(width=i + 1, encoder_parameters=c) for i, c in enumerate(row)] for row in costs]
    return knapsack(ladders, weights, budget, 0, width_limit, None)


def test_by_hand() -> None:
    # two features of weight .5 with widths 1 and 2 at 1 and 3 parameters: 5 parameters are the first rungs and one second
    # rung and a half; each second rung adds .5 * log2(3 / 2) for 2 parameters
    sack = _sack([[1, 3], [1, 3]], [0.5, 0.5], 5)
    relaxed = relax(sack)
    assert relaxed is not None
    second = 0.5 * math.log2(1.5)
    assert relaxed.bound == pytest.approx(1 + 1.5 * second)
    # one more parameter is half a rung, and the price is that of all five
    assert relaxed.parameter_price == pytest.approx(5 * second / 2)
    assert relaxed.width_price == pytest.approx(0)
    assert sorted(relaxed.places) == [0, 1]


def test_the_width_has_a_price_where_it_is_what_binds() -> None:
    sack = _sack([[1, 3], [1, 3]], [0.5, 0.5], 100, width_limit=3)
    relaxed = relax(sack)
    assert relaxed is not None
    assert relaxed.parameter_price == pytest.approx(0)
    assert relaxed.width_price == pytest.approx(3 * 0.5 * math.log2(1.5))


def test_rungs_beyond_the_gap_are_closed() -> None:
    # the first feature gets its second rung, the second half of its own: its .3 * log2(3 / 2) for 2 parameters is the price
    sack = _sack([[1, 3], [1, 3], [1, 3]], [0.6, 0.3, 0.1], 6)
    relaxed = relax(sack)
    assert relaxed is not None
    assert relaxed.places == [1, 0, 0]
    second = math.log2(1.5)
    assert relaxed.bound - sack.worth([1, 0, 0]) == pytest.approx(0.15 * second)
    # the third's second rung would lose .3 - .1 of it, the first's first rung .6 - .3: both more than the gap of .15
    assert open_rungs(sack, relaxed, sack.worth([1, 0, 0])).tolist() == [False, True, True, True, True, False]
    assert open_rungs(sack, relaxed, 0.0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.6), room=st.floats(0.05, 1.0))
def test_what_is_found_is_the_optimum_within_half_a_percent(bench: Any, seed: int, share: float, room: float) -> None:
    sack = bench.division(4, share, seed, (1, 2, 4, 8, 16), room)
    places, relaxed = solve(sack), relax(sack)
    if places is None:
        assert not sack.holds(sack.lowest)
        return
    assert relaxed is not None
    best = bench.best_worth(sack)
    assert sack.holds(places)
    assert best * 0.995 <= sack.worth(places) <= best + 1e-9
    assert best <= relaxed.bound + 1e-9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.6), room=st.floats(0.1, 1.0))
def test_small_divisions_by_way_of_the_relaxation_are_as_good(bench: Any, seed: int, share: float, room: float) -> None:
    """What many features go through, where everything can be tried."""
    sack = bench.division(4, share, seed, (1, 2, 4, 8, 16), room)
    relaxed = relax(sack)
    if relaxed is None:
        assert not sack.holds(sack.lowest)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(allocate, "SMALL", 0)
        places = solve(sack)
    assert places is not None
    assert bench.best_worth(sack) * 0.9949 <= sack.worth(places)


@pytest.mark.parametrize("count", [SMALL + 1, 150, 700])
@pytest.mark.parametrize("share", [0.03, 0.3])
def test_of_many_features_the_gap_to_the_bound_is_below_a_thousandth(bench: Any, count: int, share: float) -> None:
    sack = bench.division(count, share, count)
    places, relaxed = solve(sack), relax(sack)
    assert places is not None
    assert relaxed is not None
    assert sack.holds(places)
    assert sack.worth(places) >= (1 - 2 * NEAR) * relaxed.bound
    assert solve(sack) == places  # the same inputs, the same plan
    assert sack.worth(places) >= sack.worth(climb(sack, sack.lowest)) - 1e-12


def test_the_first_solver_still_answers_as_it_did_for_records_that_were_made_by_it(bench: Any) -> None:
    small, many = bench.division(SMALL, 0.1, 3), bench.division(700, 0.1, 3)
    assert solve(small, None) == solve(small)
    assert solve(many, None) == climb(many, many.lowest)  # above 600 features it only climbed


def test_a_machine_of_before_is_read_and_written_without_a_solver(toy: Any) -> None:
    plain = {name: value for name, value in toy.machine.to_json().items() if name != "solver"}
    before = Machine.from_json(plain)
    assert before.solver is None
    assert before.to_json() == plain
    assert toy.machine.to_json()["solver"] == allocate.SOLVER


def test_nothing_is_printed(bench: Any, capfd: pytest.CaptureFixture[str]) -> None:
    relax(bench.division(80, 0.1, 0))
    assert capfd.readouterr().out == ""


def test_where_nothing_fits_there_is_no_bound() -> None:
    assert relax(_sack([[5], [5]], [0.5, 0.5], 9)) is None
    assert solve(_sack([[5], [5]], [0.5, 0.5], 9)) is None


def test_arrays_have_an_entry_for_each_rung() -> None:
    sack = _sack([[1, 3, 6], [2]], [0.5, 0.5], 10, width_limit=4)
    assert np.allclose(sack.price, [0.1, 0.3, 0.6, 0.2])
    assert np.allclose(sack.width, [0.25, 0.5, 0.75, 0.25])
    assert sack.owner.tolist() == [0, 0, 0, 1]
    assert sack.starts.tolist() == [0, 3]
    assert (sack.spent([1, 0]), sack.laid([1, 0])) == (5, 3)
