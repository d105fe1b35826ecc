"""Weight decay per feature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.planning.decay import multiplier, with_decay


@pytest.mark.parametrize(
    ("ratio", "exponent", "expected"),
    [
        (1.0, 1.0, 1.0),
        (2.0, 1.0, 0.5),
        (4.0, 0.5, 0.5),
        (0.5, 1.0, 2.0),
        (9.0, 1.0, 0.25),
        (0.01, 0.5, 4.0),
        (7.0, 0, 1),
    ],
)
def test_a_feature_with_more_attention_decays_less_within_the_bounds(
    ratio: float, exponent: float, expected: float
) -> None:
    assert multiplier(ratio, float(exponent)) == expected


def test_the_multiplier_is_in_the_plan_with_its_reason(toy: Any) -> None:
    problem = toy.problem({"a": "numeric", "b": "numeric", "c": "numeric"})
    config = toy.config(training__attended_decay=1.0)
    attention = toy.attention(problem, [0.9, 0.5, 0.1], 0.5)
    assert config.training.weight_decay is None  # the recipe's
    plan = toy.plan(problem, config, attention)
    for given, one in zip(plan.capacity.features, attention.weights, strict=True):
        assert given.decay == pytest.approx(1 / (3 * one.weight), rel=1e-3)
        assert f"weight decay {given.decay:g}x" in given.reason
    plain = toy.plan(problem, toy.config(), attention)
    assert {f.decay for f in plain.capacity.features} == {1.0}
    assert [f.width for f in plain.capacity.features] == [f.width for f in plan.capacity.features]


@pytest.mark.parametrize("count", [3, 7, 24, 31])
def test_the_even_split_is_planned_as_if_there_were_none(toy: Any, count: int) -> None:
    problem = toy.problem({f"x{i}": "numeric" for i in range(count)})
    attention = toy.attention(problem)
    assert toy.plan(problem, toy.config(training__attended_decay=1.0), attention) == toy.plan(
        problem, toy.config(), attention
    )


def test_what_has_no_width_or_no_decay_keeps_1(toy: Any) -> None:
    problem = toy.problem({"a": "numeric", "b": "numeric", "c": "numeric"})
    attention = toy.attention(problem, [0.9, 0.5, 0.1], 0.5, frugal=True, silent=("c",))
    plan = toy.plan(problem, toy.config(training__attended_decay=1.0), attention)
    assert (plan.capacity.features[2].width, plan.capacity.features[2].decay) == (0, 1.0)
    free = toy.plan(problem, toy.config(training__attended_decay=1.0, training__weight_decay=0.0), attention)
    assert {f.decay for f in free.capacity.features} == {1.0}
    none = with_decay(plan.capacity, replace(attention, frugal=False), 0.0)
    assert {f.decay for f in none.features} == {1.0}
