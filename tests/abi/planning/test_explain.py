"""Explanations of plans: what binds, what limits are worth, next steps, what lost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from abi.planning.compare import compare
from abi.planning.explain import PlanExplanation, explain_plan
from abi.planning.planner import Planner
from abi.planning.prices import binding, limit_prices, with_limit
from abi.planning.steps import division, next_steps
from abi.planning.trail import Trail
from abi.planning.worth import expected_gain
from abi.types import Attention, Envelope, Plan

KINDS = {"a": "numeric", "b": "numeric", "c": "categorical", "d": "boolean"}
DISTINCT = {"a": 900, "b": 900, "c": 40, "d": 2}


def _attention(toy: Any, **split: Any) -> Attention:
    return toy.attention(toy.problem(KINDS, distinct=DISTINCT), [0.9, 0.5, 0.3, 0.1], 0.3, **split)


def _planner(toy: Any, family: str = "network", **limits: Any) -> Planner:
    asked = {"envelope__parameters": None, "envelope__memory": None, "envelope__train_time": None}
    asked |= {f"envelope__{name}": value for name, value in limits.items()}
    config = toy.config(training__members=8, training__block_width=64, training__family=family, **asked)
    return Planner(toy.machine, 2000, 300, config)


def _explained(
    toy: Any, family: str = "network", split: dict[str, Any] | None = None, **limits: Any
) -> PlanExplanation:
    return explain_plan(_planner(toy, family, **limits), _attention(toy, **(split or {})))


def _solve(planner: Planner, attention: Attention) -> Any:
    return lambda envelope: planner.divide(attention, envelope=envelope)


def test_expected_gain_by_hand(toy: Any) -> None:
    planner, attention = _planner(toy), _attention(toy)
    plan = planner.divide(attention)
    by_hand = sum(
        w.weight * math.log2(1 + f.width) for w, f in zip(attention.weights, plan.capacity.features, strict=True)
    )
    assert expected_gain(plan) == pytest.approx(by_hand)
    trees = _planner(toy, "trees").divide(attention)
    assert trees.trees is not None
    bins = [f.bins for f in trees.trees.features]
    by_hand = sum(w.weight * (1 - 1 / b) for w, b in zip(attention.weights, bins, strict=True))
    assert expected_gain(trees) == pytest.approx(by_hand)


def test_silent_features_count_nothing_where_attention_is_frugal(toy: Any) -> None:
    attention = _attention(toy, frugal=True, silent=("a",))
    plan = _planner(toy).divide(attention)
    even = _planner(toy).divide(attention, allocation="even")
    assert even.capacity.features[0].width > 0
    heard = [w.weight * math.log2(1 + f.width) for w, f in zip(attention.weights, even.capacity.features, strict=True)]
    assert expected_gain(even) == pytest.approx(sum(heard[1:]))
    assert plan.capacity.features[0].width == 0


def test_the_limit_that_binds_is_named_with_what_is_used_of_it(toy: Any) -> None:
    told = _explained(toy, parameters="5k", memory="4GiB")
    assert told.binding == "parameters"
    assert told.bound.startswith("Binding limit: parameters, ")
    assert told.bound.endswith(" of 5k.")
    prices = {p.limit: p for p in told.prices}
    assert set(prices) == {"parameters", "memory"}
    assert prices["memory"].until is None
    assert "changes nothing, nor does any more of it" in prices["memory"].sentence


def test_without_limits_none_binds(toy: Any) -> None:
    told = _explained(toy)
    assert (told.binding, told.prices) == (None, ())
    assert told.bound.startswith("No limit is set, so none binds.")
    loose = _explained(toy, parameters="1M")
    assert loose.binding is None
    assert loose.bound.startswith("No limit binds")


def test_prices_are_those_of_solving_again(toy: Any) -> None:
    planner, attention = _planner(toy, parameters="5k"), _attention(toy)
    plan = planner.divide(attention)
    (price,) = limit_prices(plan, _solve(planner, attention))
    for value, said in ((5250, price.more), (4750, price.less)):
        other = planner.divide(attention, envelope=Envelope(parameters=value))
        gain = expected_gain(other) / expected_gain(plan) - 1
        assert said is None or said == pytest.approx(gain, abs=1e-6)
        assert (said is None) == (other.capacity == plan.capacity)
    assert price.until is not None
    # just below, nothing is different; at it, something is
    found = planner.divide(attention, envelope=Envelope(parameters=math.ceil(price.until)))
    assert found.capacity != plan.capacity


def test_a_limit_at_which_less_leaves_nothing_says_so(toy: Any) -> None:
    attention = _attention(toy)
    needed = 200
    while True:
        try:
            plan = _planner(toy, parameters=str(needed)).divide(attention)
            break
        except ValueError:
            needed += 1
    planner = _planner(toy, parameters=str(needed))
    (price,) = limit_prices(plan, _solve(planner, attention))
    assert price.less is None
    assert price.sentence.endswith("leaves nothing that fits.")


def test_binding_is_the_limit_of_which_the_smallest_share_more_changes_the_plan(toy: Any) -> None:
    told = _explained(toy, parameters="5k", latency="200.1us")
    steps = {p.limit: p.until / p.value for p in told.prices if p.until is not None}
    assert told.binding == min(steps, key=steps.__getitem__)
    assert binding(()) is None


def test_next_steps_have_the_price_that_the_reason_tells_and_are_sorted_by_what_a_unit_brings(toy: Any) -> None:
    planner, attention = _planner(toy, parameters="5k"), _attention(toy)
    trail = Trail()
    plan = planner.divide(attention, trail=trail)
    steps = next_steps(plan, trail)
    assert [s.gain_per_unit for s in steps] == sorted((s.gain_per_unit for s in steps), reverse=True)
    reasons = {f.feature: f.reason for f in plan.capacity.features}
    whole = expected_gain(plan)
    for s in steps:
        if s.next is None:
            assert "the widest rung" in reasons[s.feature]
            continue
        assert f"width {s.next} would cost" in reasons[s.feature]
        assert s.gain == pytest.approx(s.attention * math.log2((1 + s.next) / (1 + s.now)) / whole)
        assert s.gain_per_unit == pytest.approx(1000 * s.gain / s.parameters)


def test_the_even_split_has_next_steps_too(toy: Any) -> None:
    problem = toy.problem(KINDS, distinct=DISTINCT)
    planner, attention, trail = _planner(toy), toy.attention(problem), Trail()
    plan = planner.divide(attention, trail=trail)
    assert attention.even
    steps = {s.feature: s for s in next_steps(plan, trail)}
    assert (steps["a"].now, steps["a"].next) == (8, 12)
    assert steps["d"].next is None  # a boolean has two values, and two units
    assert explain_plan(planner, attention).division is None  # nothing was divided


def test_a_text_s_next_step_is_in_cells(toy: Any) -> None:
    table = toy.texts()
    attention = toy.attention(table.problem, [0.9], 0.3, frugal=True, terms=table.terms)
    planner, trail = _planner(toy), Trail()
    plan = planner.divide(attention, trail=trail)
    (step,) = next_steps(plan, trail)
    (given,) = plan.capacity.features
    assert step.unit == "cells"
    assert given.entries >= step.now  # what the rungs left over went to it as well
    assert step.next is None or step.next == 2 * step.now or step.next == given.rows * given.width


def test_trees_next_bin_by_hand(toy: Any) -> None:
    planner, attention, trail = _planner(toy, "trees"), _attention(toy), Trail()
    plan = planner.divide(attention, trail=trail)
    trees = plan.trees
    assert trees is not None
    steps = {s.feature: s for s in next_steps(plan, trail)}
    whole = expected_gain(plan)
    for weight, given in zip(attention.weights, trees.features, strict=True):
        s = steps[given.feature]
        assert s.now == given.bins
        if s.next is not None:
            assert s.memory_bytes == 16 * trees.leaves
            assert s.gain == pytest.approx(weight.weight * (1 / s.now - 1 / s.next) / whole, abs=1e-9)
    assert steps["d"].why == "each of its values has a bin"


@pytest.mark.parametrize("split", [{}, {"frugal": True}, {"frugal": True, "pruned": True}])
def test_the_gap_is_that_of_the_division_that_the_plan_has(toy: Any, split: dict[str, Any]) -> None:
    planner, attention, trail = _planner(toy, parameters="6k"), _attention(toy, **split), Trail()
    plan = planner.divide(attention, trail=trail)
    told = explain_plan(planner, attention)
    solved = division(plan, trail)
    assert solved is not None
    assert told.division is not None
    assert told.division.worth == pytest.approx(expected_gain(plan), rel=1e-6)
    assert 0 <= told.division.gap < 0.2
    assert told.division.bound >= told.division.worth


def test_what_lost_names_the_even_split_fewer_members_and_the_sizes_that_exceed_a_limit(toy: Any) -> None:
    told = _explained(toy, parameters="5k")
    lost = {one.what: one.why for one in told.alternatives}
    assert "expected gain of the widths" in lost["the even split"]
    refused = [why for what, why in lost.items() if what.startswith("an even split on")]
    assert refused
    assert all(why.startswith("exceeds parameters=5k where ") for why in refused)
    fewer = _explained(toy)
    assert any(one.what.startswith("4 members, backbone") for one in fewer.alternatives)


def test_explaining_is_the_same_byte_for_byte_and_changes_no_plan(toy: Any) -> None:
    planner, attention = _planner(toy, "auto", parameters="5k"), _attention(toy)
    before = planner.divide(attention)
    told = explain_plan(planner, attention)
    assert explain_plan(planner, attention).canonical() == told.canonical()
    assert planner.divide(attention).canonical() == before.canonical()
    assert planner.divide(attention, trail=Trail()).canonical() == before.canonical()
    assert {s.part for s in told.steps} == {"network", "trees"}


def test_comparing_plans(toy: Any) -> None:
    attention = _attention(toy)
    large, small = _planner(toy, parameters="9k").divide(attention), _planner(toy, parameters="3k").divide(attention)
    found = compare(large, small, ("large", "small"))
    assert (found.before, found.after, found.same) == ("large", "small", False)
    assert found.envelope == {"parameters": (9000, 3000)}
    assert found.total_variation == 0
    for f, a, b in zip(
        sorted(found.features, key=lambda f: f.feature), large.capacity.features, small.capacity.features, strict=True
    ):
        assert f.width == (a.width, b.width)
        assert f.parameters == (a.parameters, b.parameters)
        assert f.same == (a.width == b.width and a.parameters == b.parameters and a.bins == b.bins and a.rows == b.rows)
    assert found.layers["middle"] == (large.capacity.layers.middle, small.capacity.layers.middle)
    assert compare(large, large).same
    assert not [f for f in compare(large, large).features if not f.same]


def test_comparing_plans_of_other_features(toy: Any) -> None:
    def plan(kinds: dict[str, str]) -> Plan:
        return _planner(toy).divide(toy.attention(toy.problem(kinds), [0.5] * len(kinds), 0.3))

    found = {
        f.feature: f
        for f in compare(plan({"a": "numeric", "b": "numeric"}), plan({"b": "numeric", "z": "numeric"})).features
    }
    assert {name: f.change for name, f in found.items()} == {"a": "removed", "b": "kept", "z": "added"}
    assert found["a"].attention == (0.5, None)
    assert compare(plan({"a": "numeric"}), plan({"z": "numeric"})).total_variation == 1


def test_limits_of_whole_numbers_stay_whole(toy: Any) -> None:
    envelope = Envelope(parameters=10, memory_bytes=10, train_time_s=1.0)
    assert with_limit(envelope, "parameters", 10.5) == replace(envelope, parameters=10)
    assert with_limit(envelope, "memory", 0.2) == replace(envelope, memory_bytes=1)
    assert with_limit(envelope, "train_time", 1.5) == replace(envelope, train_time_s=1.5)
    assert with_limit(envelope, "parameters", None) == replace(envelope, parameters=None)
