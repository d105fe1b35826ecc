"""Plans that start training with a larger network than they end with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.errors import PlanInfeasible
from abi.families.sizes import multiply_accumulates
from abi.planning.backbone import FEW_MEMBERS
from abi.planning.cost import parameters, start_parameters
from abi.planning.frugal import STARTS, WORTH_PRUNING
from abi.planning.plan import MACS_SLACK, make_plan
from abi.types import Capacity, Envelope, Plan

kinds = st.lists(st.sampled_from(["numeric", "categorical", "boolean"]), min_size=2, max_size=6)


def _plan(toy: Any, names: list[str], *, pruned: bool = True, allocation: Any = "attention", silent: tuple[str, ...] = (), **envelope: Any) -> Plan:  # fmt: skip
    problem = toy.problem(
        {f"f{i}": kind for i, kind in enumerate(names)},
        distinct={f"f{i}": 2 if kind == "boolean" else 900 for i, kind in enumerate(names)},
    )
    values = [0.9 if i % 2 else 0.4 for i in range(len(names))]
    attention = toy.attention(problem, values, 0.5, frugal=True, pruned=pruned, silent=silent)
    config = toy.config(training__members=8, training__block_width=64, training__blocks=2)
    return make_plan(
        attention, Envelope(**envelope), config, toy.machine,
        allocation=allocation, train_rows=2000, validation_rows=300,
    )  # fmt: skip


def _macs(capacity: Capacity) -> int:
    width = sum(f.width for f in capacity.features)
    return multiply_accumulates(width, capacity.members, capacity.blocks, capacity.block_width, 1)


@settings(max_examples=40, deadline=None)
@given(names=kinds, limit=st.integers(1_000, 60_000))
def test_what_is_left_costs_no_more_than_the_even_split(toy: Any, names: list[str], limit: int) -> None:
    try:
        even = _plan(toy, names, allocation="even", parameters=limit)
    except PlanInfeasible:
        return
    ours = _plan(toy, names, parameters=limit)
    assert ours.predicted.parameters == parameters(ours.capacity) <= even.predicted.parameters <= limit
    if ours.capacity.pruning is None:
        return
    assert ours.capacity.pruning.macs <= MACS_SLACK * _macs(even.capacity)
    assert start_parameters(ours.capacity) >= WORTH_PRUNING * parameters(ours.capacity)
    assert start_parameters(ours.capacity) <= max(STARTS) * parameters(even.capacity)
    assert ours.capacity.members <= FEW_MEMBERS
    assert ours.execution == even.execution
    assert "drops the least useful ones" in ours.reasons[1]


def test_a_tight_limit_prunes_and_a_loose_one_does_not(toy: Any) -> None:
    names = ["numeric"] * 6
    assert _plan(toy, names, parameters=4_000).capacity.pruning is not None
    assert _plan(toy, names).capacity.pruning is None
    assert _plan(toy, names, pruned=False, parameters=4_000).capacity.pruning is None


@pytest.mark.parametrize("limit", ["memory_bytes", "train_time_s", "latency_s"])
def test_the_larger_start_keeps_the_other_limits(toy: Any, limit: str) -> None:
    names = ["numeric"] * 6
    free = _plan(toy, names, parameters=4_000)
    even = _plan(toy, names, allocation="even", parameters=4_000)
    bound = 0.5 * (getattr(free.predicted, limit) + getattr(even.predicted, limit))
    ours = _plan(toy, names, parameters=4_000, **{limit: int(bound) if limit == "memory_bytes" else bound})
    assert getattr(ours.predicted, limit) <= bound
    assert start_parameters(ours.capacity) < start_parameters(free.capacity)


def test_few_members_where_the_limit_binds(toy: Any) -> None:
    names = ["numeric"] * 6
    assert _plan(toy, names, pruned=False, parameters=4_000).capacity.members == FEW_MEMBERS
    assert _plan(toy, names, pruned=False).capacity.members == 8


def test_where_not_all_fit_the_costliest_get_nothing_with_the_reason(toy: Any) -> None:
    names = ["numeric"] * 2 + ["categorical"] * 30
    with pytest.raises(PlanInfeasible):
        _plan(toy, names, pruned=False, allocation="even", parameters=500)
    ours = _plan(toy, names, pruned=False, parameters=500)
    given_nothing = [f for f in ours.capacity.features if not f.width]
    assert ours.predicted.parameters <= 500
    assert 0 < len(given_nothing) < len(names)
    assert all("bring more elsewhere" in f.reason for f in given_nothing)
    silent = _plan(toy, names, pruned=False, silent=("f0",), parameters=500)
    assert "shuffled target" in silent.capacity.features[0].reason


def test_the_same_inputs_give_the_same_plan(toy: Any) -> None:
    first, again = (_plan(toy, ["numeric"] * 6, parameters=4_000) for _ in range(2))
    assert first.id == again.id
    assert Plan.from_json(first.to_json()) == replace(first)
