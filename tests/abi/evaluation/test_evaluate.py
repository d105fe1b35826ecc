"""The kept model beside its controls."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from abi.errors import DataError
from abi.evaluation.baseline import fit_baseline
from abi.evaluation.evaluate import Contender, evaluate, latency
from abi.metrics import METRICS, score
from abi.outcomes import Evaluation

TASKS = ["binary", "multiclass", "regression"]


def _evaluate(toy: Any, task: str, rows: Any = None, **settings: Any) -> tuple[Evaluation, Any, Any]:
    table = toy.table(task)
    config = toy.config(evaluation__resamples=100, evaluation__latency_calls=5, evaluation__slice_rows=5, **settings)
    test = table.validation if rows is None else table.validation.take(rows(table.validation))
    kept, uniform = (toy.fitted(table, seed=seed) for seed in (0, 1))
    baseline = fit_baseline(task, len(table.problem.schema.classes), [table.train], test, seed=0)  # type: ignore[arg-type]
    found = evaluate(
        Contender(model=kept.model, trained=kept.trained, trials=4),
        Contender(model=uniform.model, trained=uniform.trained, trials=4),
        baseline,
        test,
        config,
    )
    return found, kept, test


@pytest.mark.parametrize("task", TASKS)
def test_figures_are_those_of_the_predictions(toy: Any, task: str) -> None:
    found, kept, test = _evaluate(toy, task)
    expected = score(task, test.target, kept.model.predict_columns(test))  # type: ignore[arg-type]
    assert {name: e.value for name, e in found.metrics.items()} == pytest.approx(expected)
    assert all(e.low <= e.value <= e.high for e in found.metrics.values())
    assert (found.rows, found.trials, found.primary) == (60, 4, found.controls[0].gain.metric)


@pytest.mark.parametrize("task", TASKS)
def test_gains_are_differences_of_the_primary_metric(toy: Any, task: str) -> None:
    found, _, _ = _evaluate(toy, task)
    sign = -1 if task == "regression" else 1
    for name in ("uniform", "baseline"):
        control = found.control(name)
        difference = sign * (found.metrics[found.primary].value - control.metrics[found.primary].value)
        assert control.gain.difference.value == pytest.approx(difference)
        assert set(control.metrics) == set(METRICS[task])


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_survives_json(toy: Any, task: str) -> None:
    found, _, _ = _evaluate(toy, task)
    assert Evaluation.from_json(found.to_json()).id == found.id


def test_a_model_has_no_gain_over_itself(toy: Any) -> None:
    table, config = toy.table("binary"), toy.config(evaluation__resamples=100)
    one = toy.fitted(table)
    contender = Contender(model=one.model, trained=one.trained, trials=1)
    baseline = fit_baseline("binary", 2, [table.train], table.validation, seed=0)
    gained = evaluate(contender, contender, baseline, table.validation, config).control("uniform").gain
    assert (gained.difference.value, gained.difference.low, gained.difference.high) == (0, 0, 0)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_one_held_out_row_can_be_evaluated(toy: Any, task: str) -> None:
    found, _, _ = _evaluate(toy, task, rows=lambda test: np.arange(1))
    assert found.rows == 1
    assert len(found.id) == 64
    assert "r2" not in found.metrics


def test_held_out_rows_of_one_class_are_refused_with_a_remedy(toy: Any) -> None:
    with pytest.raises(DataError, match=r"roc_auc is defined.*evaluation\.metric"):
        _evaluate(toy, "binary", rows=lambda test: test.target == 1)


def test_and_evaluated_where_another_metric_decides(toy: Any) -> None:
    found, _, _ = _evaluate(toy, "binary", rows=lambda test: test.target == 1, evaluation__metric="log_loss")
    assert found.primary == "log_loss"
    assert "roc_auc" not in found.metrics
    assert len(found.id) == 64


def test_the_asked_metric_decides(toy: Any) -> None:
    found, _, _ = _evaluate(toy, "binary", evaluation__metric="log_loss")
    assert {c.gain.metric for c in found.controls} == {"log_loss"}


def test_latency_is_timed_on_more_calls_than_rows(toy: Any) -> None:
    table = toy.table("binary")
    assert 0 < latency(toy.fitted(table).model, table.validation.take(np.arange(2)), 7) < 1


def test_latency_counts_the_columns_that_are_derived_first(toy: Any) -> None:
    table, turns = toy.table("binary"), []
    model, rows = toy.fitted(table).model, table.validation
    found = latency(model, rows, 5, lambda turn: (turns.append(turn), time.sleep(0.02)))
    assert found >= 0.02
    assert turns == [0, 1, 2, 3, 4]
