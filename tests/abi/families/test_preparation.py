"""What a model learns about its inputs before training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.families.preparation import Preparation, by_kind, prepare


def test_capacities_by_kind_keep_schema_order(toy: Any) -> None:
    problem = toy.problem({"a": "boolean", "b": "numeric", "c": "categorical", "d": "numeric"})
    numeric, others = by_kind(problem.schema, toy.plan(problem).capacity)
    assert [c.feature for c in numeric] == ["b", "d"]
    assert [c.feature for c in others] == ["a", "c"]


def test_knots_and_vocabularies_come_from_training_rows(toy: Any) -> None:
    table = toy.table("binary")
    capacity = toy.plan(table.problem).capacity
    found = prepare(table.problem.schema, capacity, table.train)
    assert (len(found.edges), len(found.vocabularies)) == (2, 1)
    assert found.edges[0][0] == table.train.numeric[:, 0].min()
    assert found.edges[0][-1] == table.train.numeric[:, 0].max()
    assert set(found.vocabularies[0]) == {"blue", "green", "red"}
    assert (found.target_mean, found.target_deviation) == (0.0, 1.0)


def test_the_scale_of_a_numeric_target_is_its_own(toy: Any) -> None:
    table = toy.table("regression")
    train = replace(table.train, target=np.tile([10.0, 14.0], 90))
    found = prepare(table.problem.schema, toy.plan(table.problem).capacity, train)
    assert (found.target_mean, found.target_deviation) == (12.0, 2.0)


def test_a_constant_target_is_not_divided_by_zero(toy: Any) -> None:
    table = toy.table("regression")
    train = replace(table.train, target=np.full(180, 7.0))
    found = prepare(table.problem.schema, toy.plan(table.problem).capacity, train)
    assert (found.target_mean, found.target_deviation) == (7.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_column_without_information_can_still_be_prepared(toy: Any, value: float) -> None:
    table = toy.table("binary")
    numeric = table.train.numeric.copy()
    numeric[:, 0] = value
    found = prepare(table.problem.schema, toy.plan(table.problem).capacity, replace(table.train, numeric=numeric))
    assert len(found.edges[0]) == 2
    assert np.isfinite(found.edges[0]).all()


def test_it_survives_json_to_the_last_bit(toy: Any) -> None:
    table = toy.table("regression")
    found = prepare(table.problem.schema, toy.plan(table.problem).capacity, table.train)
    assert Preparation.from_json(found.to_json()) == found
