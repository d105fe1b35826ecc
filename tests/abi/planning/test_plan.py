"""Attention and envelope -> plan."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.errors import PlanInfeasible
from abi.families.artifact import Blueprint, build
from abi.families.preparation import prepare
from abi.planning.plan import make_plan
from abi.problem import Feature, Problem
from abi.types import Attention, Cost, Envelope, Plan
from abi.units import parse_bytes, parse_count, parse_seconds

LIMITS = [f.name for f in fields(Cost) if f.name in {limit.name for limit in fields(Envelope)}]
envelopes = st.builds(
    Envelope,
    parameters=st.none() | st.integers(100, 400_000),
    memory_bytes=st.none() | st.integers(40 * 2**20, 120 * 2**20),
    train_time_s=st.none() | st.floats(0.001, 3).map(lambda x: float(f"{x:.4g}")),
    latency_s=st.none() | st.floats(1.5e-4, 5e-4).map(lambda x: float(f"{x:.4g}")),
)
kinds = st.lists(st.sampled_from(["numeric", "categorical", "boolean"]), min_size=1, max_size=7)


def _problem(toy: Any, names: list[str], seed: int = 0, task: str = "binary") -> Problem:
    random = np.random.default_rng(seed)
    most = {"numeric": 5000, "categorical": 500, "boolean": 2}
    problem = toy.problem({f"x{i}": kind for i, kind in enumerate(names)}, task)
    features = tuple(
        replace(f, distinct=2 if f.kind == "boolean" else int(random.integers(2, most[f.kind])))
        for f in problem.schema.features
    )
    return replace(problem, schema=replace(problem.schema, features=features))


def _attention(toy: Any, problem: Problem, seed: int, temperature: float = 0.2) -> Attention:
    values = np.random.default_rng(seed).random(len(problem.schema.features)).tolist()
    return toy.attention(problem, values, temperature)


def _plan(toy: Any, attention: Attention, envelope: Envelope, allocation: Any = "attention") -> Plan | None:
    try:
        return make_plan(
            attention, envelope, toy.config(training__members=8, training__block_width=64), toy.machine,
            allocation=allocation, train_rows=2000, validation_rows=300,
        )  # fmt: skip
    except PlanInfeasible:
        return None


def _within(cost: Cost, envelope: Envelope) -> dict[str, tuple[float, float]]:
    """Limits that are exceeded."""
    pairs = {name: (getattr(cost, name), getattr(envelope, name)) for name in LIMITS}
    return {name: pair for name, pair in pairs.items() if pair[1] is not None and pair[0] > pair[1]}


@settings(max_examples=40, deadline=None)
@given(names=kinds, seed=st.integers(0, 99), envelope=envelopes)
def test_a_plan_keeps_every_limit_of_its_envelope(toy: Any, names: list[str], seed: int, envelope: Envelope) -> None:
    problem = _problem(toy, names, seed)
    for allocation in ("even", "attention"):
        plan = _plan(toy, _attention(toy, problem, seed), envelope, allocation)
        assert plan is None or _within(plan.predicted, envelope) == {}


@settings(max_examples=40, deadline=None)
@given(names=kinds, seed=st.integers(0, 99), name=st.sampled_from(LIMITS))
def test_attention_costs_no_more_than_the_even_split_of_any_limited_resource(
    toy: Any, names: list[str], seed: int, name: str
) -> None:
    attention = _attention(toy, _problem(toy, names, seed), seed)
    even = _plan(toy, attention, Envelope(), "even")
    assert even is not None
    ours = _plan(toy, attention, Envelope(**{name: getattr(even.predicted, name)}))
    assert ours is not None
    assert getattr(ours.predicted, name) <= getattr(even.predicted, name)


@settings(max_examples=40, deadline=None)
@given(names=kinds, seed=st.integers(0, 99), envelope=envelopes)
def test_attention_never_has_more_parameters_than_the_even_split_and_the_same_schedule(
    toy: Any, names: list[str], seed: int, envelope: Envelope
) -> None:
    attention = _attention(toy, _problem(toy, names, seed), seed)
    ours, even = (_plan(toy, attention, envelope, a) for a in ("attention", "even"))
    assert (ours is None) == (even is None)
    if ours is not None and even is not None:
        assert ours.predicted.parameters <= even.predicted.parameters
        assert ours.execution == even.execution
        assert all(f.width >= 1 for f in ours.capacity.features)
        for name in ("members", "blocks", "block_width"):
            assert getattr(ours.capacity, name) == getattr(even.capacity, name)


@settings(max_examples=40, deadline=None)
@given(names=kinds, seed=st.integers(0, 99), envelope=envelopes)
def test_the_limits_that_a_refusal_names_are_feasible(
    toy: Any, names: list[str], seed: int, envelope: Envelope
) -> None:
    attention = _attention(toy, _problem(toy, names, seed), seed)
    try:
        make_plan(
            attention, envelope, toy.config(), toy.machine, allocation="even", train_rows=2000, validation_rows=300
        )
    except PlanInfeasible as error:
        message = str(error)
        found = dict(re.findall(r"(\w+)=([^\s,]+)", message.split("The smallest that would do:")[1].rstrip(".")))
        named = Envelope(
            parameters=parse_count(found["parameters"]),
            memory_bytes=parse_bytes(found["memory"]),
            train_time_s=parse_seconds(found["train_time"]),
            latency_s=parse_seconds(found["latency"]),
        )
        plan = make_plan(
            attention, named, toy.config(), toy.machine, allocation="even", train_rows=2000, validation_rows=300
        )
        assert _within(plan.predicted, named) == {}


@settings(max_examples=40, deadline=None)
@given(names=kinds, seed=st.integers(0, 99), envelope=envelopes, lifted=st.sampled_from(LIMITS))
def test_lifting_a_limit_never_makes_a_plan_impossible(
    toy: Any, names: list[str], seed: int, envelope: Envelope, lifted: str
) -> None:
    attention = _attention(toy, _problem(toy, names, seed), seed)
    if _plan(toy, attention, envelope) is not None:
        assert _plan(toy, attention, replace(envelope, **{lifted: None})) is not None


@pytest.mark.parametrize("limit", ["latency_s", "train_time_s", "memory_bytes"])
def test_many_features_get_narrow_where_a_limit_other_than_parameters_asks_for_it(toy: Any, limit: str) -> None:
    attention = toy.attention(_problem(toy, ["numeric"] * 200))
    narrow = _plan(toy, attention, Envelope(parameters=10_000))
    assert narrow is not None
    wide = _plan(toy, attention, Envelope())
    assert wide is not None
    allowed = (getattr(narrow.predicted, limit) * 101) / 100
    assert getattr(wide.predicted, limit) > allowed
    value = int(allowed) if limit == "memory_bytes" else allowed
    assert _plan(toy, attention, Envelope(**{limit: value})) is not None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize(("numeric", "categorical"), [(1, 0), (0, 1), (3, 2)])
@pytest.mark.parametrize("limit", [None, 2500])
def test_the_predicted_parameters_are_those_of_the_built_network(
    toy: Any, task: Any, numeric: int, categorical: int, limit: int | None
) -> None:
    table = toy.table(task, rows=400, numeric=numeric, categorical=categorical)
    features = tuple(_as_in(f, table, i) for i, f in enumerate(table.problem.schema.features))
    problem = replace(table.problem, schema=replace(table.problem.schema, features=features))
    plan = toy.plan(problem, attention=_attention(toy, problem, 1), parameters=limit)
    network = build(
        Blueprint(
            family="network",
            schema=problem.schema,
            capacity=plan.capacity,
            preparation=prepare(problem.schema, plan.capacity, table.train)[0],
            prior=tuple(w.weight for w in plan.attention.weights),
            dropout=0.1,
        )
    )
    counts: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        part = {"numeric": "feature_extraction", "category": "feature_extraction", "attention": "feature_extraction"}
        part |= {"adapter": "middle", "layers": "middle", "head": "output"}
        counts[part[name.split(".")[0]]] = counts.get(part[name.split(".")[0]], 0) + parameter.numel()
    assert counts == plan.capacity.layers.to_json()
    assert sum(counts.values()) == plan.predicted.parameters
    assert isinstance(network, torch.nn.Module)


def _as_in(feature: Feature, table: Any, index: int) -> Feature:
    numeric = table.train.numeric
    place = index - numeric.shape[1]
    values = numeric[:, index] if place < 0 else table.train.categorical[place].codes
    return replace(feature, distinct=len(np.unique(values)))


def test_the_same_inputs_give_the_same_bytes(toy: Any) -> None:
    attention = _attention(toy, _problem(toy, ["numeric", "categorical", "boolean"]), 3)
    envelope = Envelope(parameters=30_000, train_time_s=60.0)
    first, second = _plan(toy, attention, envelope), _plan(toy, attention, envelope)
    assert first is not None
    assert second is not None
    assert first.canonical() == second.canonical()
    assert Plan.from_json(first.to_json()).id == first.id


def test_more_attention_gives_the_wider_encoder_and_a_reason_with_its_figure(toy: Any) -> None:
    problem = toy.problem(dict.fromkeys(("weak", "strong", "a", "b", "c", "d"), "numeric"))
    plan = toy.plan(problem, attention=toy.attention(problem, [0.0, 1.0, 0.1, 0.1, 0.1, 0.1], 0.5), parameters=30_000)
    weak, strong, *_ = plan.capacity.features
    assert strong.width > weak.width
    share = {w.feature: w.weight for w in plan.attention.weights}
    assert strong.reason.startswith(f"attention {share['strong']:.1%}, {6 * share['strong']:.1f}x the even share")


def test_without_any_preference_the_attention_plan_is_the_even_plan(toy: Any) -> None:
    attention = toy.attention(_problem(toy, ["numeric", "categorical"]))
    ours, even = (_plan(toy, attention, Envelope(parameters=30_000), a) for a in ("attention", "even"))
    assert ours is not None
    assert even is not None
    assert ours.capacity == even.capacity


def test_a_short_time_limit_means_fewer_epochs_and_the_schedule_adds_up(toy: Any) -> None:
    attention = toy.attention(_problem(toy, ["numeric"]))
    config = toy.config(training__epochs=50)
    common: Any = {"allocation": "even", "train_rows": 2000, "validation_rows": 300}
    free = make_plan(attention, Envelope(), config, toy.machine, **common)
    limit = free.predicted.train_time_s / 2
    short = make_plan(attention, Envelope(train_time_s=limit), config, toy.machine, **common)
    assert free.execution.epochs == 50
    assert short.execution.epochs < 50
    assert short.predicted.train_time_s <= limit
    for execution in (free.execution, short.execution):
        assert execution.steps == execution.epochs * -(-2000 // execution.batch_rows)


def test_a_refusal_names_what_was_exceeded(toy: Any) -> None:
    attention = toy.attention(_problem(toy, ["numeric"]))
    for limit, word in (
        (Envelope(parameters=10), "parameters=10 where"),
        (Envelope(memory_bytes=2**10), "memory=1 KiB where"),
        (Envelope(train_time_s=1e-3), "train_time=1 ms where"),
        (Envelope(latency_s=1e-6), "latency=1 µs where"),
    ):
        with pytest.raises(PlanInfeasible, match=f"got {word}"):
            toy.plan(attention.scores.problem, **{name: getattr(limit, name) for name in LIMITS})


def test_where_memory_is_short_a_step_is_done_in_parts_before_the_network_shrinks(toy: Any) -> None:
    attention = _attention(toy, _problem(toy, ["numeric"] * 6), 0)
    free = _plan(toy, attention, Envelope())
    assert free is not None
    assert free.execution.micro_batch is None
    tight = _plan(toy, attention, Envelope(memory_bytes=free.predicted.memory_bytes - 1))
    assert tight is not None
    assert tight.execution.micro_batch == -(-free.execution.batch_rows // 2)
    assert tight.execution.batch_rows == free.execution.batch_rows
    assert tight.predicted.parameters == free.predicted.parameters
    assert tight.predicted.memory_bytes < free.predicted.memory_bytes
    assert tight.predicted.train_time_s > free.predicted.train_time_s
    assert any(f"in parts of {tight.execution.micro_batch} to stay within" in reason for reason in tight.reasons)


def test_no_more_rows_in_a_step_than_there_are(toy: Any) -> None:
    attention = toy.attention(_problem(toy, ["numeric"]))
    plan = make_plan(
        attention, Envelope(), toy.config(), toy.machine, allocation="even", train_rows=3, validation_rows=1
    )
    assert plan.execution.batch_rows == 3
