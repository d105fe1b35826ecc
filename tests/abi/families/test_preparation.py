"""What a model learns about its inputs before training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.families.preparation import Preparation, parts_of, prepare
from abi.problem import Task


def test_features_by_how_they_are_encoded_keep_schema_order_and_place(toy: Any) -> None:
    kinds = {"a": "boolean", "b": "numeric", "t": "text", "c": "categorical", "d": "numeric", "many": "categorical"}
    problem = toy.problem(kinds)
    capacity = toy.plan(problem).capacity
    given = [replace(f, shared=23 if f.feature == "many" else 0) for f in capacity.features]
    parts = parts_of(problem.schema, replace(capacity, features=tuple(given)))
    found = {
        name: [(place, c.feature) for place, c in getattr(parts, name)]
        for name in ("numeric", "categorical", "shared", "text")
    }
    assert found == {
        "numeric": [(0, "b"), (1, "d")],
        "categorical": [(0, "a"), (2, "c")],
        "shared": [(3, "many")],
        "text": [(1, "t")],
    }


def test_what_has_no_width_is_not_encoded_but_keeps_its_place(toy: Any) -> None:
    problem = toy.problem({"a": "numeric", "b": "numeric", "c": "categorical", "d": "categorical"})
    capacity = toy.plan(problem).capacity
    given = [replace(f, width=0 if f.feature in "ac" else f.width) for f in capacity.features]
    parts = parts_of(problem.schema, replace(capacity, features=tuple(given)))
    assert [(place, c.feature) for place, c in parts.numeric] == [(1, "b")]
    assert [(place, c.feature) for place, c in parts.categorical] == [(1, "d")]


def test_knots_and_vocabularies_come_from_training_rows(toy: Any) -> None:
    table = toy.table("binary")
    capacity = toy.plan(table.problem).capacity
    found, fitting = prepare(table.problem.schema, capacity, table.train)
    assert (len(found.edges), len(found.vocabularies)) == (2, 1)
    assert found.edges[0][0] == table.train.numeric[:, 0].min()
    assert found.edges[0][-1] == table.train.numeric[:, 0].max()
    assert set(found.vocabularies[0]) == {"blue", "green", "red"}
    assert (found.target_mean, found.target_deviation) == (0.0, 1.0)
    assert (fitting.cells, fitting.masks) == ({}, {})


def test_nothing_is_learnt_of_a_feature_without_width(toy: Any) -> None:
    table = toy.table("binary")
    capacity = toy.plan(table.problem).capacity
    given = [replace(f, width=0 if f.feature in {"x0", "c0"} else f.width) for f in capacity.features]
    found, _ = prepare(table.problem.schema, replace(capacity, features=tuple(given)), table.train)
    assert found.edges[0] == ()
    assert found.edges[1][0] == table.train.numeric[:, 1].min()
    assert found.vocabularies == ((),)


def test_a_text_starts_with_the_terms_that_pay_and_their_inverse_frequency(toy: Any) -> None:
    table = toy.texts("multiclass", rows=200)
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    plan = toy.plan(table.problem, attention=attention, parameters=500)
    found, fitting = prepare(table.problem.schema, plan.capacity, table.train, attention)
    given, terms = plan.capacity.features[0], table.terms[0]
    lexicon, mask = found.lexicons["t0"], fitting.masks["t0"]
    assert mask.shape == (len(lexicon.terms), given.width)
    assert mask.any(axis=1).all()
    assert mask.sum() <= given.start_entries
    silent = {t for t, s in zip(terms.terms, terms.scores, strict=True) if s == 0}
    assert not silent & set(lexicon.terms)
    rows = dict(zip(terms.terms, terms.rows, strict=True))
    expected = [math.log((1 + terms.texts) / (1 + rows[term])) + 1 for term in lexicon.terms]
    np.testing.assert_allclose(lexicon.inverse, expected, rtol=1e-6)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_for_one_output_a_text_keeps_the_terms_whose_fitted_values_add_most(toy: Any, task: Task) -> None:
    table = toy.texts(task, rows=200)
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    plan = toy.plan(table.problem, attention=attention, parameters=60)
    found, fitting = prepare(table.problem.schema, plan.capacity, table.train, attention)
    given, linear = plan.capacity.features[0], fitting.linear["t0"]
    assert (given.width, given.entries, given.start_entries) == (1, len(linear.terms), len(linear.terms))
    assert plan.predicted.parameters <= 60
    assert {"says0", "says1"} <= set(found.lexicons["t0"].terms)
    assert fitting.masks["t0"].shape == (given.entries, 1)
    assert linear.shift.shape == (len(table.train),)


def test_the_scale_of_a_numeric_target_is_its_own(toy: Any) -> None:
    table = toy.table("regression")
    train = replace(table.train, target=np.tile([10.0, 14.0], 90))
    found, _ = prepare(table.problem.schema, toy.plan(table.problem).capacity, train)
    assert (found.target_mean, found.target_deviation) == (12.0, 2.0)


def test_a_constant_target_is_not_divided_by_zero(toy: Any) -> None:
    table = toy.table("regression")
    train = replace(table.train, target=np.full(180, 7.0))
    found, _ = prepare(table.problem.schema, toy.plan(table.problem).capacity, train)
    assert (found.target_mean, found.target_deviation) == (7.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_column_without_information_can_still_be_prepared(toy: Any, value: float) -> None:
    table = toy.table("binary")
    numeric = table.train.numeric.copy()
    numeric[:, 0] = value
    found, _ = prepare(table.problem.schema, toy.plan(table.problem).capacity, replace(table.train, numeric=numeric))
    assert len(found.edges[0]) == 2
    assert np.isfinite(found.edges[0]).all()


@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_it_survives_json_to_the_last_bit(toy: Any, kind: str) -> None:
    if kind == "numbers":
        table, attention = toy.table("regression"), None
        plan = toy.plan(table.problem)
    else:
        table = toy.texts("regression", rows=120)
        attention = toy.attention(table.problem, frugal=True, terms=table.terms)
        plan = toy.plan(table.problem, attention=attention)
    found, _ = prepare(table.problem.schema, plan.capacity, table.train, attention)
    assert Preparation.from_json(found.to_json()) == found
