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


def test_a_text_whose_terms_are_graded_is_not_divided_evenly(toy: Any) -> None:
    table, config = toy.texts("multiclass"), toy.config(training__epochs=2)
    (known,) = table.terms
    some = (replace(known, scores=(0.0, *known.scores[1:])),)
    even, frugal = (toy.attention(table.problem, frugal=frugal, terms=some) for frugal in (False, True))
    plan = toy.plan(table.problem, config, even)
    trained = train(plan, table.train, table.validation, config, seed=3).trained
    assert is_even(trained, plan, 3)
    graded = replace(plan, attention=frugal)
    assert graded.capacity == plan.capacity
    other = train(graded, table.train, table.validation, config, seed=3).trained
    assert other.measured.parameters < trained.measured.parameters
    assert not is_even(other, plan, 3)


def test_a_text_of_single_numbers_has_nothing_to_grade(toy: Any) -> None:
    table, config = toy.texts("binary"), toy.config(training__epochs=2)
    even, frugal = (toy.attention(table.problem, frugal=frugal, terms=table.terms) for frugal in (False, True))
    plan = toy.plan(table.problem, config, even)
    assert plan.capacity.features[0].width == 1
    trained = train(replace(plan, attention=frugal), table.train, table.validation, config, seed=3).trained
    assert is_even(trained, plan, 3)
