"""Splits that give features without signal nothing, and grade the terms of a text."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.errors import PlanInfeasible
from abi.families.sizes import multiply_accumulates
from abi.inputs.categorical import shares_rows
from abi.inputs.kind import CELLS_UNIT
from abi.inputs.profile import SHARED_FROM, SHARED_ROWS, sharing_step
from abi.inputs.text import START_FACTOR, text_step, with_cells
from abi.planning.backbone import GOOD_WIDTH
from abi.planning.cost import parameters
from abi.planning.ladder import NOTHING, ladder, measured_utility, utility
from abi.planning.plan import MACS_SLACK, make_plan
from abi.problem import Feature, Problem
from abi.types import Attention, Capacity, Envelope, Plan, TermScores

kinds = st.lists(st.sampled_from(["numeric", "categorical", "boolean", "text"]), min_size=1, max_size=6)


def _terms(name: str, count: int) -> TermScores:
    falling = tuple(1 / (1 + i) for i in range(count))
    rows = tuple(float(count - i) for i in range(count))
    return TermScores(
        feature=name, texts=count, terms=tuple(f"w{i}" for i in range(count)), rows=rows, scores=falling, errors=falling
    )


def _problem(toy: Any, names: list[str], distinct: int = 900) -> Problem:
    return toy.problem(
        {f"f{i}": kind for i, kind in enumerate(names)},
        distinct={f"f{i}": 2 if kind == "boolean" else distinct for i, kind in enumerate(names)},
    )


def _attention(toy: Any, problem: Problem, *, frugal: bool = True, silent: tuple[str, ...] = ()) -> Attention:
    texts = tuple(_terms(f.name, 500) for f in problem.schema.features if f.kind == "text")
    values = [0.9 if i % 2 else 0.4 for i in range(len(problem.schema.features))]
    return toy.attention(problem, values, 0.5, frugal=frugal, terms=texts, silent=silent)


def _plan(toy: Any, attention: Attention, allocation: Any = "attention", **envelope: Any) -> Plan:
    config = toy.config(training__members=8, training__block_width=64)
    return make_plan(
        attention, Envelope(**envelope), config, toy.machine,
        allocation=allocation, train_rows=2000, validation_rows=300,
    )  # fmt: skip


def _macs(capacity: Capacity) -> int:
    width = sum(f.width for f in capacity.features)
    return multiply_accumulates(width, capacity.members, capacity.blocks, capacity.block_width, 1)


@settings(max_examples=40, deadline=None)
@given(names=kinds, silent=st.sets(st.integers(0, 5), max_size=3), limit=st.none() | st.integers(3_000, 300_000))
def test_silent_features_get_nothing_and_the_rest_costs_no_more_than_the_even_split(
    toy: Any, names: list[str], silent: set[int], limit: int | None
) -> None:
    problem = _problem(toy, names)
    without = tuple(f"f{i}" for i in silent if i < len(names))
    attention = _attention(toy, problem, silent=without)
    try:
        even = _plan(toy, attention, "even", parameters=limit)
    except PlanInfeasible:
        return
    ours = _plan(toy, attention, parameters=limit)
    assert parameters(ours.capacity) <= parameters(even.capacity)
    if even.capacity.blocks:  # a head alone costs less than adding up a text's terms
        assert _macs(ours.capacity) <= MACS_SLACK * _macs(even.capacity)
    assert ours.execution == even.execution
    for feature in ours.capacity.features:
        if feature.feature in without and ours.capacity != even.capacity:
            assert (feature.width, feature.bins, feature.rows, feature.entries, feature.parameters) == (0, 0, 0, 0, 0)
            assert "shuffled target" in feature.reason
        else:
            assert feature.width >= 1


@settings(max_examples=30, deadline=None)
@given(
    names=kinds,
    silent=st.sets(st.integers(0, 5), max_size=3),
    limit=st.sampled_from(["parameters", "memory_bytes", "train_time_s", "latency_s"]),
)
def test_a_limit_that_the_even_split_just_keeps_is_kept(
    toy: Any, names: list[str], silent: set[int], limit: str
) -> None:
    problem = _problem(toy, names)
    attention = _attention(toy, problem, silent=tuple(f"f{i}" for i in silent if i < len(names)))
    even = _plan(toy, attention, "even")
    ours = _plan(toy, attention, **{limit: getattr(even.predicted, limit)})
    assert getattr(ours.predicted, limit) <= getattr(even.predicted, limit)


def test_where_nothing_tells_anything_the_split_is_even(toy: Any) -> None:
    problem = _problem(toy, ["numeric", "text"])
    attention = _attention(toy, problem, silent=("f0", "f1"))
    assert _plan(toy, attention).capacity == _plan(toy, attention, "even").capacity


def test_what_silent_features_would_have_cost_goes_to_the_others(toy: Any) -> None:
    problem = _problem(toy, ["numeric"] * 8)
    silent = tuple(f"f{i}" for i in range(6))
    even = _plan(toy, _attention(toy, problem), "even", parameters=30_000)
    ours = _plan(toy, _attention(toy, problem, silent=silent), parameters=30_000)
    assert [f.width for f in ours.capacity.features[:6]] == [0] * 6
    assert all(f.width > even.capacity.features[0].width for f in ours.capacity.features[6:])


def test_a_category_of_many_values_shares_rows_where_it_is_frugal_alone(toy: Any) -> None:
    problem = _problem(toy, ["numeric", "categorical"], distinct=3000)
    shared = [
        _plan(toy, _attention(toy, problem, frugal=frugal), parameters=60_000).capacity.features[1].shared
        for frugal in (True, False)
    ]
    assert shared == [SHARED_ROWS + 1, 0]


@settings(max_examples=30, deadline=None)
@given(limit=st.integers(3_000, 100_000))
def test_a_text_takes_what_the_others_leave_in_cells(toy: Any, limit: int) -> None:
    problem = _problem(toy, ["text", "numeric"])
    ours = _plan(toy, _attention(toy, problem), parameters=limit)
    text = ours.capacity.features[0]
    assert text.entries <= text.start_entries <= text.rows * text.width
    assert text.start_entries <= START_FACTOR * text.entries
    # what is left would pay for no rung more; a text's table may be full
    even = _plan(toy, _attention(toy, problem), "even", parameters=limit)
    left = parameters(even.capacity) - parameters(ours.capacity)
    assert left == 0 or text.entries == text.rows * text.width or "widest rung" in text.reason


def test_where_no_even_split_fits_a_frugal_one_may(toy: Any) -> None:
    problem = _problem(toy, ["numeric"] * 40 + ["text"])
    silent = tuple(f"f{i}" for i in range(38))
    tight = {"parameters": 1200}
    with pytest.raises(PlanInfeasible):
        _plan(toy, _attention(toy, problem, silent=silent), "even", **tight)
    with pytest.raises(PlanInfeasible):
        _plan(toy, _attention(toy, problem, frugal=False), **tight)
    ours = _plan(toy, _attention(toy, problem, silent=silent), **tight)
    assert ours.predicted.parameters == parameters(ours.capacity) <= 1200
    assert ours.reasons[0] == "No even split fits; what attention asks for does."


def test_a_frugal_split_is_as_deep_as_it_can_be_with_widths_that_tell(toy: Any) -> None:
    problem = _problem(toy, ["numeric"] * 30)
    silent = tuple(f"f{i}" for i in range(24))
    ours = _plan(toy, _attention(toy, problem, silent=silent), parameters=20_000)
    given = [f.width for f in ours.capacity.features if f.width]
    assert len(given) == 6
    assert sum(given) >= GOOD_WIDTH * 6


def test_text_alone_needs_no_backbone(toy: Any) -> None:
    config, problem = toy.config(training__members=None, training__block_width=None), _problem(toy, ["text"])
    attention = _attention(toy, problem)
    free, bound = (
        make_plan(attention, Envelope(parameters=limit), config, toy.machine, train_rows=2000, validation_rows=300)
        for limit in (None, 400)
    )
    for plan in (free, bound):
        assert (plan.capacity.blocks, plan.capacity.layers.middle) == (0, 0)
        assert plan.execution.term_dropout > 0
        assert "the head alone" in plan.reasons[1]
    # for one output, a term has one value; one attention and a head of 1 + 1 come to them
    given = bound.capacity.features[0]
    assert (given.width, given.start_entries) == (1, given.entries)
    assert 0.9 * 400 < bound.predicted.parameters == given.entries + 3 <= 400


def _feature(kind: Any, distinct: int) -> Feature:
    return Feature(name="x", column="x", kind=kind, distinct=distinct, missing_share=0.0)


def test_nothing_costs_nothing() -> None:
    assert NOTHING.parameters(500) == 0
    assert NOTHING.units == 0
    assert utility(0) == 0


@given(st.integers(0, 5000), st.integers(0, 400), st.sampled_from(["text", "categorical"]))
def test_frugal_rungs_rise(terms: int, per_width: int, kind: str) -> None:
    rungs = ladder(_feature(kind, 5000), 64, frugal=True, terms=terms)
    assert rungs
    for low, high in pairwise(rungs):
        assert high.units > low.units
        assert high.parameters(per_width) > low.parameters(per_width)


def test_cells_by_hand() -> None:
    step = text_step(512, 1000)
    assert (step.width, step.rows, step.entries, step.start_entries) == (16, 1000, 512, 6144)
    assert step.encoder_parameters == 512
    assert step.units == 512 / CELLS_UNIT
    few = text_step(512, 20)  # a table of 320 cells is full
    assert (few.entries, few.start_entries) == (320, 320)
    more = with_cells(step, 100)
    assert (more.entries, more.start_entries, more.encoder_parameters) == (612, 7344, 612)
    assert with_cells(few, 100) == few


def test_rows_of_a_category_that_shares() -> None:
    # 16 own rows per unit of width, 22 shared ones, one for missing
    step = sharing_step(2, 32)
    assert (step.rows, step.shared, step.encoder_parameters) == (32 + 23, 23, 2 * 55)
    assert [shares_rows(_feature("categorical", n)) for n in (SHARED_FROM, SHARED_FROM + 1)] == [False, True]
    assert not shares_rows(_feature("text", 10**6))


def test_a_measured_curve_by_hand() -> None:
    curve = (0.5, 0.8, 0.9, 1.0)  # at width 4, log2 5 = 2.32
    whole = utility(4)
    assert measured_utility(0, curve) == 0
    assert [measured_utility(w, curve) / whole for w in (1, 2, 3, 4)] == pytest.approx([0.5, 0.8, 0.9, 1.0])
    # beyond, it goes on as the last dimension did: 0.1 of 2.32 where log2 5 - log2 4 = 0.32
    slope = 0.1 * whole / (whole - 2)
    assert measured_utility(8, curve) == pytest.approx(whole + slope * (utility(8) - whole))
    assert measured_utility(8, (1.0, 1.0)) == pytest.approx(utility(2))  # a second one brought nothing
    assert [measured_utility(w, ()) for w in (1, 3)] == [1, 2]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.integers(1, 60))
def test_more_width_is_never_of_less_use(parts: list[float], units: int) -> None:
    falling = sorted(parts, reverse=True)
    curve = [*(sum(falling[:i]) / sum(parts) for i in range(1, len(parts))), 1.0]
    assert measured_utility(units + 1, curve) >= measured_utility(units, curve) - 1e-12


def test_what_a_moved_attention_saw_is_planned_with(toy: Any) -> None:
    problem = _problem(toy, ["numeric", "numeric"])
    attention = toy.attention(problem, [0.5, 0.5], 0.5)
    flat, rising = (1.0,) + (1.0,) * 7, tuple((i + 1) / 8 for i in range(8))
    features = tuple(replace(f, curve=c) for f, c in zip(attention.scores.features, (flat, rising), strict=True))
    attention = replace(attention, scores=replace(attention.scores, features=features))
    first, second = _plan(toy, attention, parameters=20_000).capacity.features
    assert first.width == 1
    assert second.width > 4
