"""Widths by marginal gain, against full enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.inputs.kind import Step
from abi.planning.allocate import Allotment, allocate
from abi.planning.ladder import utility

Ladders = list[tuple[Step, ...]]
weights = st.lists(st.floats(0.01, 1), min_size=1, max_size=4).map(lambda w: [x / sum(w) for x in w])


def _ladder(costs: Sequence[int]) -> tuple[Step, ...]:
    """Width 1, 2, .. at these encoder costs."""
    return tuple(Step(width=i + 1, bins=0, rows=0, encoder_parameters=c) for i, c in enumerate(costs))


def _spent(steps: Sequence[Step], per_width: int) -> int:
    return sum(s.parameters(per_width) for s in steps)


def _worth(steps: Sequence[Step], shares: Sequence[float]) -> float:
    return sum(a * utility(s.width) for a, s in zip(shares, steps, strict=True))


def _best(ladders: Ladders, shares: Sequence[float], budget: int, per_width: int) -> float:
    """The optimum by trying everything; minus infinity where nothing fits."""
    fitting = (c for c in itertools.product(*ladders) if _spent(c, per_width) <= budget)
    return max((_worth(c, shares) for c in fitting), default=-math.inf)


def _steps(allotted: tuple[Allotment, ...] | None) -> list[Step]:
    assert allotted is not None
    return [a.step for a in allotted]


def test_utility_is_one_per_doubling() -> None:
    assert [utility(w) for w in (0, 1, 3, 7)] == [0, 1, 2, 3]


@settings(max_examples=80, deadline=None)
@given(shares=weights, budget=st.integers(4, 30), rungs=st.integers(1, 5))
def test_at_equal_prices_it_is_the_optimum(shares: list[float], budget: int, rungs: int) -> None:
    ladders = [_ladder(range(1, rungs + 1)) for _ in shares]
    found = _steps(allocate(ladders, shares, budget, 0))
    assert _worth(found, shares) == pytest.approx(_best(ladders, shares, budget, 0))


@settings(max_examples=80, deadline=None)
@given(
    shares=weights,
    prices=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    budget=st.integers(1, 150),
    per=st.integers(0, 4),
)
def test_at_any_prices_it_fits_and_lacks_at_most_the_worth_of_one_rung(
    shares: list[float], prices: list[int], budget: int, per: int
) -> None:
    ladders = [_ladder([price * w for w in range(1, 5)]) for price in prices[: len(shares)]]
    best = _best(ladders, shares, budget, per)
    allotted = allocate(ladders, shares, budget, per)
    if best == -math.inf:
        assert allotted is None
        return
    found = _steps(allotted)
    assert _spent(found, per) <= budget
    one_rung = max(shares) * (utility(2) - utility(1))
    assert _worth(found, shares) >= best - one_rung - 1e-9
    if _spent(found, per) == budget:  # nothing is left over: then it is the optimum
        assert _worth(found, shares) == pytest.approx(best)


@settings(max_examples=80, deadline=None)
@given(shares=weights, prices=st.lists(st.integers(1, 9), min_size=4, max_size=4), budget=st.integers(40, 200))
def test_no_rung_that_still_fits_is_left(shares: list[float], prices: list[int], budget: int) -> None:
    ladders = [_ladder([price * w for w in range(1, 5)]) for price in prices[: len(shares)]]
    allotted = allocate(ladders, shares, budget, 1)
    left = budget - _spent(_steps(allotted), 1)
    for one in allotted or ():
        assert one.next_parameters is None or one.next_parameters > left


@settings(max_examples=60, deadline=None)
@given(shares=weights, budget=st.integers(20, 80))
def test_among_equal_features_more_attention_is_never_less_width(shares: list[float], budget: int) -> None:
    found = _steps(allocate([_ladder([3, 7, 12, 18, 25]) for _ in shares], shares, budget, 1))
    for (a, first), (b, second) in itertools.permutations(zip(shares, found, strict=True), 2):
        assert a <= b or first.width >= second.width


def test_even_attention_on_equal_features_is_the_even_split() -> None:
    ladders = [_ladder([10, 20, 30, 40]) for _ in range(5)]
    found = _steps(allocate(ladders, [0.2] * 5, 5 * ladders[0][2].parameters(7), 7))
    assert [s.width for s in found] == [3] * 5


def test_by_hand() -> None:
    # price 1 a rung; gains of the second to fourth rung: log2(3/2) = .585, log2(4/3) = .415, log2(5/4) = .322
    # weights .7 and .3: .409, .291, .225 against .175; three rungs go to the first, the fourth to the second
    found = _steps(allocate([_ladder([1, 2, 3, 4, 5])] * 2, [0.7, 0.3], 2 + 3, 0))
    assert [s.width for s in found] == [4, 1]
    found = _steps(allocate([_ladder([1, 2, 3, 4])] * 2, [0.7, 0.3], 2 + 4, 0))
    assert [s.width for s in found] == [4, 2]


def test_what_the_next_rung_would_cost_is_told() -> None:
    (one,) = allocate([_ladder([5, 9])], [1.0], 8, 2) or ()
    assert (one.step.width, one.next_width, one.next_parameters) == (1, 2, 6)
    (top,) = allocate([_ladder([5, 9])], [1.0], 13, 2) or ()
    assert (top.step.width, top.next_width, top.next_parameters) == (2, None, None)


def test_a_budget_below_the_first_rungs_is_none() -> None:
    assert allocate([_ladder([5]), _ladder([5])], [0.5, 0.5], 9, 0) is None
    assert allocate([_ladder([5]), _ladder([5])], [0.5, 0.5], 10, 0) is not None
