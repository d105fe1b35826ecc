"""A source's attention as a prior, and starts beside each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.families.transfer import Carried
from abi.outcomes import Source
from abi.training import loop
from abi.training.fitted import Fitted
from abi.training.transfer import (
    better,
    carried,
    chosen_share,
    inherit,
    matched_features,
    prior_alone,
    prior_of,
    start_of,
    with_prior,
)
from abi.types import Inherited, Trial


def _source(toy: Any, table: Any, attention: tuple[float, ...] | None = None, **fit: Any) -> tuple[Source, Any]:
    fitted = toy.fitted(table, **fit)
    trained = fitted.trained if attention is None else replace(fitted.trained, attention=attention)
    return Source(uri="models:/other/3", trained=trained), fitted.model


def _trial(loss: float, gain: float | None, error: float | None) -> Trial:
    return Trial(temperature=None, loss=loss, metric=None, gain=gain, error=error)


def test_matched_features_keep_the_weight_that_they_have_together(toy: Any) -> None:
    there = toy.table("binary", numeric=2, categorical=1)
    source, _ = _source(toy, there, attention=(0.6, 0.2, 0.2))
    here = toy.attention(toy.problem({"x0": "numeric", "x1": "numeric", "z": "numeric"}), [0.5, 0.5, 0.5], 1.0)
    # a third each: of the two thirds of x0 and x1, the source gives 3 : 1
    assert prior_of(here, source, {"x0": "x0", "x1": "x1"}) == pytest.approx((1 / 2, 1 / 6, 1 / 3))


def test_the_prior_is_blended_by_its_logarithm(toy: Any) -> None:
    attention = toy.attention(toy.problem({"a": "numeric", "b": "numeric"}), [0.5, 0.5], 1.0)
    free = replace(attention, floor=0.0, cap=1.0)
    inherited = Inherited(source="models:/o/1", matched=("a", "b"), prior=(0.8, 0.2), shares=(0.0, 0.5, 1.0), trials=(), share=0.5)  # fmt: skip
    found = with_prior(free, inherited)
    # sqrt(0.5 * 0.8) : sqrt(0.5 * 0.2) = 2 : 1
    assert [w.weight for w in found.weights] == pytest.approx([2 / 3, 1 / 3])
    assert all(w.low <= w.weight <= w.high for w in found.weights)
    none = with_prior(free, replace(inherited, share=0.0))
    assert none.weights == free.weights
    assert replace(none, inherited=None) == free


def test_an_even_split_with_a_prior_is_none_any_more(toy: Any) -> None:
    even = toy.attention(toy.problem({"a": "numeric", "b": "numeric"}))
    inherited = Inherited(source="models:/o/1", matched=("a", "b"), prior=(0.8, 0.2), shares=(0.0, 1.0), trials=(), share=1.0)  # fmt: skip
    assert even.even
    assert not with_prior(even, inherited).even
    assert with_prior(even, replace(inherited, share=0.0)).even
    assert "inherited" not in even.to_json()


def test_more_of_the_prior_is_taken_where_it_wins_by_more_than_noise() -> None:
    base = Inherited(source="", matched=("a", "b"), prior=(0.8, 0.2), shares=(0.0, 0.5, 1.0), trials=(), share=0.0)
    first = _trial(1.0, None, None)
    half = replace(base, trials=(first, _trial(0.9, 0.1, 0.05), _trial(0.89, 0.01, 0.05)))
    assert chosen_share(half, 1.0).share == 0.5
    assert chosen_share(replace(base, trials=(first, _trial(0.99, 0.01, 0.05), _trial(0.99, 0.01, 0.05))), 1.0).share == 0.0  # fmt: skip
    assert chosen_share(base, 1.0).share == 0.0


def test_shares_are_tried_on_validation_rows(toy: Any) -> None:
    table, config = toy.table("binary", numeric=3, categorical=0), toy.config()
    source, model = _source(toy, table, attention=(0.9, 0.05, 0.05))
    attention = toy.attention(table.problem)
    pairs = matched_features(attention.scores, source, model)
    assert pairs == {"x0": "x0", "x1": "x1", "x2": "x2"}
    found = inherit(attention, source, pairs, lambda a: toy.plan(table.problem, config, a), (table.train, table.validation), config)  # fmt: skip
    assert found.inherited is not None
    assert len(found.inherited.trials) == 3
    assert found == with_prior(
        attention, chosen_share(found.inherited, config.attention.caution)
    )  # as a replay does it
    alone = inherit(attention, source, {"x0": "x0"}, lambda _: pytest.fail("nothing to choose"), (table.train, table.validation), config)  # fmt: skip
    assert alone.inherited is not None
    assert (alone.inherited.share, alone.inherited.trials) == (0.0, ())


def test_a_warm_start_begins_where_the_source_ended(toy: Any) -> None:
    table, config = toy.table("binary", rows=480, numeric=3), toy.config()
    source, model = _source(toy, table, epochs=20)
    plan = toy.plan(table.problem, config)
    start = start_of(model, {f.name: f.name for f in table.problem.schema.features})
    assert start is not None
    few = replace(plan, execution=replace(plan.execution, epochs=1))
    cold, warm = (loop.train(few, table.train, table.validation, config, seed=3, start=s) for s in (None, start))
    assert warm.trained.loss < 0.7 * cold.trained.loss
    again = loop.train(few, table.train, table.validation, config, seed=3, start=start)
    assert again.trained.artifact == warm.trained.artifact
    brought = carried(start, plan, table.train)
    assert brought.layers == 2
    kept, transfer = better(cold, warm, brought, source)
    assert kept is warm
    assert transfer.kept == "warm"
    assert transfer.gain.value == pytest.approx(float((cold.row_losses - warm.row_losses).mean()), rel=1e-6)
    assert (transfer.cold.artifact, transfer.warm.artifact) == (cold.trained.artifact, warm.trained.artifact)


def test_the_gain_is_paired_by_row_with_its_interval(toy: Any) -> None:
    table = toy.table("binary")
    source, model = _source(toy, table)
    fitted = toy.fitted(table)
    cold = Fitted(model, fitted.trained, np.array([1.0, 2.0, 3.0, 4.0]))
    warm = Fitted(model, fitted.trained, np.array([1.5, 2.0, 3.5, 4.0]))
    kept, transfer = better(cold, warm, Carried((), 0, 0, 0, 0), source)
    # differences -0.5, 0, -0.5, 0: mean -0.25, deviation 0.288675, error 0.144338
    assert kept is cold
    assert transfer.kept == "cold"
    assert transfer.gain.value == pytest.approx(-0.25)
    assert transfer.gain.high == pytest.approx(-0.25 + 1.96 * 0.144338, abs=1e-5)


def test_trees_carry_nothing_but_the_prior_over(toy: Any) -> None:
    table = toy.table("binary")
    source, model = _source(toy, table)
    cold = toy.fitted(table)
    found = prior_alone(cold, source, "trees have no weights to carry over")
    assert found.cold == found.warm
    assert (found.gain.value, found.kept) == (0.0, "cold")
    assert start_of(model, {}) is not None
