"""Scores from a trained model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.attention.fit import move
from abi.training.rescore import rescore
from abi.types import Envelope

TASKS = ["binary", "multiclass", "regression"]


@pytest.fixture(scope="module", name="runs")
def _runs(toy: Any) -> dict[str, Any]:
    found = {}
    for task in TASKS:
        table = toy.table(task, rows=400, numeric=3, categorical=1)
        found[task] = (table, toy.fitted(table, epochs=15, patience=15, batch_rows=50).model)
    return found


def _scores(toy: Any, table: Any, signal: bool = False) -> Any:
    return toy.scores(table.problem, [0.5] * len(table.problem.schema.features), signal)


@pytest.mark.parametrize("task", TASKS)
def test_the_feature_that_the_target_follows_ranks_above_noise(toy: Any, runs: Any, task: str) -> None:
    table, model = runs[task]
    scores, shares = rescore(model, table.validation, _scores(toy, table), seed=0)
    assert shares.argmax() == 0
    assert shares[0] > 2 * shares[1:].max()
    assert scores.features[0].score == 1.0
    assert scores.features[0].carries_signal


@pytest.mark.parametrize("task", TASKS)
def test_shares_are_on_the_simplex_and_scores_in_their_intervals(toy: Any, runs: Any, task: str) -> None:
    table, model = runs[task]
    scores, shares = rescore(model, table.validation, _scores(toy, table), seed=0)
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= 0).all()
    assert all(0 <= f.low <= f.score <= f.high <= 1 for f in scores.features)
    assert (scores.source, scores.round, scores.rows) == ("model", 1, len(table.validation))
    assert len(scores.id) == 64


def test_the_same_seed_gives_the_same_scores(toy: Any, runs: Any) -> None:
    table, model = runs["binary"]
    first, second = (rescore(model, table.validation, _scores(toy, table), seed=4)[0] for _ in range(2))
    assert first == second


def test_what_a_model_cannot_tell_is_kept(toy: Any, runs: Any) -> None:
    table, model = runs["binary"]
    before = _scores(toy, table, signal=True)
    scores, _ = rescore(model, table.validation, before, seed=0)
    for old, new in zip(before.features, scores.features, strict=True):
        assert new.carries_signal
        assert (new.feature, new.relevance, new.redundancy, new.null) == (
            old.feature,
            old.relevance,
            old.redundancy,
            old.null,
        )


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_very_few_rows_still_give_finite_shares(toy: Any, runs: Any, rows: int) -> None:
    table, model = runs["binary"]
    scores, shares = rescore(model, table.validation.take(np.arange(rows)), _scores(toy, table), seed=0)
    assert np.isfinite(shares).all()
    assert shares.sum() == pytest.approx(1.0)
    assert len(scores.id) == 64


def test_a_constant_feature_gets_nothing(toy: Any, runs: Any) -> None:
    table, model = runs["binary"]
    numeric = table.validation.numeric.copy()
    numeric[:, 2] = 0.3
    _, shares = rescore(model, replace(table.validation, numeric=numeric), _scores(toy, table), seed=0)
    assert shares[2] == pytest.approx(0.0, abs=1e-6)


def test_many_features_are_shuffled_in_groups_and_the_planted_one_is_still_found(toy: Any) -> None:
    table = toy.table("regression", rows=400, numeric=80, categorical=0)
    model = toy.fitted(table, epochs=15, patience=15, batch_rows=50).model
    _, shares = rescore(model, table.validation, _scores(toy, table), seed=0)
    assert len(shares) == 80
    assert shares.argmax() == 0


def test_the_model_is_not_changed(toy: Any, runs: Any) -> None:
    table, model = runs["binary"]
    before = model.artifact
    rescore(model, table.validation, _scores(toy, table), seed=0)
    assert model.artifact == before


def test_a_text_keeps_its_terms_and_can_be_trained_again(toy: Any) -> None:
    table = toy.texts("binary", numeric=1)
    attention = toy.attention(table.problem, [0.9, 0.4], 0.4, frugal=True, terms=table.terms)
    fitted = toy.fitted(table, attention=attention, envelope=Envelope(parameters=5000))
    scores, shares = rescore(fitted.model, table.validation, attention.scores, seed=0)
    assert scores.terms == table.terms
    assert (scores.source, scores.round) == ("model", 1)
    moved = move(attention, scores, shares, toy.config().attention)
    assert moved.frugal
    again = toy.fitted(table, attention=moved, envelope=Envelope(parameters=5000))
    assert np.isfinite(again.trained.loss)


def test_a_feature_without_width_is_worth_nothing(toy: Any) -> None:
    table = toy.table("binary", numeric=3)
    attention = toy.attention(table.problem, [0.9, 0.4, 0.3, 0.2], 0.4, frugal=True, silent=("x1", "c0"))
    fitted = toy.fitted(table, attention=attention)
    assert [f.width == 0 for f in fitted.trained.plan.capacity.features] == [False, True, False, True]
    scores, shares = rescore(fitted.model, table.validation, attention.scores, seed=0)
    assert (shares[1], shares[3]) == (0, 0)
    assert not scores.features[1].carries_signal
    moved = move(attention, scores, shares, toy.config().attention)
    assert toy.plan(table.problem, attention=moved).capacity.features[1].width == 0
