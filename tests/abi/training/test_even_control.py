"""When a model is what its uniform control would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from abi.training.loop import train
from abi.training.revise import is_even


def test_what_would_come_out_otherwise_is_no_control(toy: Any) -> None:
    table, config = toy.table("binary"), toy.config(training__epochs=2)
    plan = toy.plan(table.problem, config)
    trained = train(plan, table.train, table.validation, config, seed=3).trained
    assert is_even(trained, plan, 3)
    assert not is_even(trained, plan, 4)
    assert not is_even(replace(trained, stopped="time"), plan, 3)
    assert not is_even(trained, replace(plan, execution=replace(plan.execution, epochs=3)), 3)
    assert not is_even(trained, replace(plan, attention=toy.attention(table.problem, [0.9, 0.1, 0.2], 0.1)), 3)
    first, *others = plan.capacity.features
    narrow = replace(plan.capacity, features=(replace(first, width=1), *others))
    assert not is_even(trained, replace(plan, capacity=narrow), 3)
    told = replace(plan.capacity, features=(replace(first, reason="else"), *others))
    assert is_even(trained, replace(plan, capacity=told), 3)
