"""Cells that training drops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abi.families.artifact import Blueprint, build
from abi.families.network import Network
from abi.families.preparation import prepare
from abi.inputs.text import TextEncoder
from abi.training.fitted import Fitted
from abi.training.loop import train
from abi.training.shrink import Shrinker, cells_at, most_useful
from abi.training.watch import Unwatched
from abi.types import Plan


def test_cells_by_hand() -> None:
    # from 6,400 to 25 in 8 stages of half each; a stage is 3/80 of training, from 1/10 on
    shares = [0.0, 0.0999, 0.1, 0.138, 0.22, 0.399, 0.4, 1.0]
    stages = [0, 0, 1, 2, 4, 8, 8, 8]
    assert [cells_at(s, 6400, 25) for s in shares] == [6400 // 2**stage for stage in stages]


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_cells_start_at_the_start_end_at_the_end_and_never_grow(a: int, b: int, shares: list[float]) -> None:
    start, final = max(a, b), min(a, b)
    assert (cells_at(0.0, start, final), cells_at(1.0, start, final)) == (start, final)
    left = [cells_at(share, start, final) for share in sorted(shares)]
    assert left == sorted(left, reverse=True)
    assert all(final <= n <= start for n in left)


def test_a_share_is_kept_for_the_cells_of_the_tail() -> None:
    worth = torch.tensor([9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0])
    tail = torch.tensor([False, False, False, False, True, True, True])
    assert most_useful(worth, 4, None, 0.5).tolist() == [0, 1, 2, 3]
    assert most_useful(worth, 4, tail, 0.5).tolist() == [0, 1, 5, 6]
    assert most_useful(worth, 4, tail, 0.0).tolist() == [0, 1, 2, 3]
    assert most_useful(worth, 4, tail, 1.0).tolist() == [0, 4, 5, 6]  # there are no more than three
    assert most_useful(worth, 4, worth > 6, 0.5).tolist() == [0, 1, 2, 3]  # they are the best ones anyway


def test_terms_of_the_tail_keep_cells_that_others_would_have(toy: Any) -> None:
    table = toy.texts("multiclass")
    (known,) = table.terms
    started = _built(toy, table, _plan(toy, table))[0].preparation.lexicons["t0"].terms
    rare = min(started, key=dict(zip(known.terms, known.scores, strict=True)).__getitem__)
    tail = tuple(float(term == rare) for term in known.terms)
    left = {}
    for name, terms in (("plain", known), ("tail", replace(known, tail=tail))):
        attention = toy.attention(table.problem, frugal=True, terms=(terms,))
        attention = replace(attention, tail=0.5 if name == "tail" else None)
        plan = toy.plan(table.problem, toy.config(training__epochs=2), attention, parameters=200)
        network, shrinker = _built(toy, table, plan)
        optimizer = torch.optim.AdamW([{"params": list(network.parameters()), "factor": 1.0}])
        encoder, term = _encoder(network), network.preparation.lexicons["t0"].terms.index(rare)
        with torch.no_grad():
            encoder.values[encoder.cell // encoder.width == term] *= 1e-6
        assert shrinker.step(1.0, network, None, optimizer)
        assert len(encoder.values) == plan.capacity.features[0].entries
        left[name] = int((encoder.cell // encoder.width == term).sum())
    assert left["plain"] == 0 < left["tail"]


def _plan(toy: Any, table: Any, parameters: int | None = 200, **execution: Any) -> Plan:
    attention = toy.attention(table.problem, frugal=True, terms=table.terms)
    plan = toy.plan(table.problem, toy.config(training__epochs=6), attention, parameters=parameters)
    return replace(plan, execution=replace(plan.execution, **({"batch_rows": 30} | execution)))


def _encoder(network: Network) -> TextEncoder:
    encoder = network.texts[0]
    assert isinstance(encoder, TextEncoder)
    return encoder


def _built(toy: Any, table: Any, plan: Plan) -> tuple[Network, Shrinker]:
    schema = table.problem.schema
    preparation, fitting = prepare(schema, plan.capacity, table.train, plan.attention)
    blueprint = Blueprint(
        family="network", schema=schema, capacity=plan.capacity, preparation=preparation,
        prior=tuple(w.weight for w in plan.attention.weights), dropout=0.0,
    )  # fmt: skip
    network = build(blueprint, masks=fitting.masks)
    return network, Shrinker(network, plan.capacity, network.encode(table.train, fitting), plan.attention)


def test_the_least_useful_cells_go_and_their_moments_with_them(toy: Any) -> None:
    table = toy.texts("multiclass")
    plan = _plan(toy, table)
    network, shrinker = _built(toy, table, plan)
    average, _ = _built(toy, table, plan)
    encoder, given = _encoder(network), plan.capacity.features[0]
    optimizer = torch.optim.AdamW([{"params": list(network.parameters()), "factor": 1.0}])
    values = encoder.values
    values.grad = torch.arange(1.0, len(values) + 1)
    optimizer.step()
    moments = {k: v.clone() for k, v in optimizer.state[values].items()}
    worth = encoder.contributions(shrinker._squares[0])
    cell, before, others = encoder.cell.clone(), values.detach().clone(), _encoder(average).values.detach().clone()
    assert given.start_entries == len(values)
    assert not shrinker.step(0.05, network, average, optimizer)
    assert not shrinker.done(network)
    assert shrinker.step(1.0, network, average, optimizer)
    assert shrinker.done(network)
    kept = np.flatnonzero(np.isin(cell.numpy(), encoder.cell.numpy()))
    assert len(kept) == len(encoder.values) == given.entries
    gone = np.setdiff1d(np.arange(len(cell)), kept)
    assert worth[kept].min() >= worth[gone].max()
    torch.testing.assert_close(encoder.values.detach(), before[kept])
    torch.testing.assert_close(_encoder(average).values.detach(), others[kept])
    state = optimizer.state[encoder.values]
    assert values not in optimizer.state
    torch.testing.assert_close(state["exp_avg"], moments["exp_avg"][kept])
    torch.testing.assert_close(state["exp_avg_sq"], moments["exp_avg_sq"][kept])
    assert state["step"] == moments["step"]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in network.parameters()}
    assert not shrinker.step(1.0, network, average, optimizer)


def _train(toy: Any, table: Any, plan: Plan, checkpoints: Any = None, watcher: Any = None) -> Fitted:
    config = toy.config(training__checkpoint="1us")
    return train(
        plan, table.train, table.validation, config, seed=5, watcher=watcher or Unwatched(), checkpoints=checkpoints
    )


@pytest.mark.parametrize("numeric", [0, 2])
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_trained_network_has_the_parameters_of_its_plan(toy: Any, numeric: int, average: float) -> None:
    table = toy.texts("multiclass", numeric=numeric)
    plan = _plan(toy, table, 5000 if numeric else 300, average=average)
    fitted = _train(toy, table, plan)
    text = plan.capacity.features[0]
    assert 0 < text.entries < text.start_entries or text.entries == text.rows * text.width
    predicted, measured = plan.predicted.parameters, fitted.trained.measured.parameters
    assert measured <= predicted if numeric else measured == predicted  # knots that coincide are one
    assert sum(w.width for w in fitted.trained.terms if w.feature == "t0") <= text.entries
    assert (_encoder(fitted.model.network).widths() > 0).all()  # terms that lost all are not kept


class _Killed(BaseException):
    pass


class _Kill(Unwatched):
    """Kills the training in that step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, done: int, total: int) -> None:
        if done == self.at:
            raise _Killed


class _Store:
    data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data

    def clear(self) -> None:
        self.data = None


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("kill_at", [7, 14, 20, 32])  # 36 steps: before, in and after the stages of dropping
def test_killed_while_cells_go_it_ends_with_the_same_weights(toy: Any, kill_at: int, average: float) -> None:
    table = toy.texts("multiclass")
    plan = _plan(toy, table, average=average)
    whole, store = _train(toy, table, plan), _Store()
    with pytest.raises(_Killed):
        _train(toy, table, plan, store, _Kill(kill_at))
    assert store.data is not None
    resumed = _train(toy, table, plan, store)
    assert resumed.trained.artifact == whole.trained.artifact
    assert resumed.trained.best_epoch == whole.trained.best_epoch
    assert [line.validation_loss for line in resumed.trained.history] == [
        line.validation_loss for line in whole.trained.history
    ]


def test_no_epoch_is_kept_before_the_last_cells_went(toy: Any) -> None:
    table = toy.texts("multiclass")
    fitted = _train(toy, table, _plan(toy, table))
    assert fitted.trained.best_epoch >= 4  # of 6, as the last cells go at 0.6


def test_a_clock_that_cuts_training_short_leaves_no_more_cells_than_planned(toy: Any) -> None:
    table = toy.texts("multiclass")
    plan = _plan(toy, table)
    plan = replace(plan, envelope=replace(plan.envelope, train_time_s=1e-4))
    fitted = _train(toy, table, plan)
    assert fitted.trained.measured.parameters == plan.predicted.parameters
    assert fitted.trained.stopped == "time"


def test_an_epoch_that_is_judged_again_without_its_last_cells_has_one_line(toy: Any) -> None:
    table = toy.texts("multiclass")
    plan = _plan(toy, table)
    execution = replace(plan.execution, epochs=60)  # cut in step 20 of 360, before any cells go
    plan = replace(plan, execution=execution, envelope=replace(plan.envelope, train_time_s=1e-4))
    trained = _train(toy, table, plan).trained
    assert [line.epoch for line in trained.history] == [1, 2, 3, 4]
    assert (trained.best_epoch, trained.loss) == (4, trained.history[3].validation_loss)
