"""Growing trees: they learn, are repeatable, stop in time and follow their features' contributions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.metrics import primary_metric, row_loss, score
from abi.planning.family import plan_family
from abi.training.trees import cut_trees, train_trees
from abi.types import Envelope, TreesAttention

TASKS = ["binary", "multiclass", "regression"]


def _plan(toy: Any, table: Any, config: Any, *, temperature: Any = None, values: Any = None, **envelope: Any) -> Any:
    attention = toy.attention(table.problem, values, temperature)
    own = TreesAttention(temperature=temperature, weights=attention.weights)
    return plan_family(
        replace(attention, trees=own), Envelope(**envelope), config, toy.machine, train_rows=180, validation_rows=60, family="trees"
    )  # fmt: skip


def _grown(toy: Any, table: Any, seed: int = 0, **settings: Any) -> Any:
    config = toy.config(**settings)
    return train_trees(_plan(toy, table, config), table.train, table.validation, config, seed=seed)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("numeric", "categorical"), [(2, 1), (1, 0), (0, 1)])
def test_they_learn_any_task_from_any_kinds_of_features(toy: Any, task: Any, numeric: int, categorical: int) -> None:
    table = toy.table(task, rows=400, numeric=numeric, categorical=categorical)
    fitted = _grown(toy, table)
    prediction = fitted.model.predict_columns(table.validation)
    found = score(task, table.validation.target, prediction)
    assert found["r2" if task == "regression" else "accuracy"] > 0.75
    trained = fitted.trained
    assert trained.metric == pytest.approx(found[primary_metric(task)])
    scale = np.std(table.train.target) ** 2 if task == "regression" else 1.0
    assert trained.loss == pytest.approx(row_loss(task, table.validation.target, prediction).mean() / scale)
    assert trained.measured.parameters == fitted.model.parameters
    assert trained.best_epoch == fitted.model.rounds


def test_the_same_seed_gives_the_same_trees(toy: Any) -> None:
    table = toy.table("binary")
    assert _grown(toy, table, 1).trained.artifact == _grown(toy, table, 1).trained.artifact


def test_growing_stops_when_validation_gets_no_better(toy: Any) -> None:
    table = toy.table("binary")
    noise = replace(table.validation, target=np.random.default_rng(0).integers(0, 2, 60))
    config = toy.config(training__trees__patience=3, training__trees__rounds=300)
    trained = train_trees(_plan(toy, table, config), table.train, noise, config, seed=0).trained
    assert trained.stopped == "early"
    assert trained.best_epoch < 100


def test_growing_ends_inside_its_time_limit(toy: Any) -> None:
    table = toy.table("binary")
    config = toy.config(training__trees__rounds=100_000, training__trees__patience=100_000)
    plan = _plan(toy, table, config)
    plan = replace(plan, envelope=replace(plan.envelope, train_time_s=0.3))
    trained = train_trees(plan, table.train, table.validation, config, seed=0).trained
    assert trained.stopped == "time"
    assert 0.25 < trained.measured.train_time_s < 1.5


def test_a_feature_that_counts_for_nothing_is_not_split_on(toy: Any) -> None:
    table = toy.table("regression", numeric=2, categorical=0)
    config = toy.config(training__trees__rounds=10)
    plan = _plan(toy, table, config)
    assert plan.trees is not None
    # the target follows the first feature; here its splits count for nothing
    muted = (replace(plan.trees.features[0], contribution=0.0), plan.trees.features[1])
    plan = replace(plan, trees=replace(plan.trees, features=muted))
    model = train_trees(plan, table.train, table.validation, config, seed=0).model
    gains = model.booster.feature_importance("split")
    assert gains[0] == 0
    assert gains[1] > 0


def test_a_feature_has_at_most_its_bins(toy: Any) -> None:
    table = toy.table("regression", numeric=1, categorical=0)
    config = toy.config(training__trees__bins=4, training__trees__rounds=30)
    model = train_trees(_plan(toy, table, config), table.train, table.validation, config, seed=0).model
    assert 2 <= len(np.unique(model.predict_columns(table.validation))) <= 4


def test_cut_trees_are_described_anew(toy: Any) -> None:
    table = toy.table("regression")
    whole = _grown(toy, table, training__trees__rounds=20)
    cut = cut_trees(whole, whole.model.parameters // 2, table.validation)
    assert cut is not None
    assert cut.trained.measured.parameters <= whole.model.parameters // 2
    assert cut.trained.artifact == cut.model.artifact != whole.trained.artifact
    assert cut.trained.loss > whole.trained.loss
    assert cut_trees(whole, 1, table.validation) is None
    assert cut_trees(whole, whole.model.parameters, table.validation) is whole
