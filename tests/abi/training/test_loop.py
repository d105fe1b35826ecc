"""Training: it learns, it is repeatable, it stops in time, and it says what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abi.data.columns import Codes
from abi.errors import TrainingDiverged
from abi.families import begin
from abi.metrics import primary_metric, score
from abi.training.loop import train

TASKS = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("numeric", "categorical"), [(2, 1), (1, 0), (0, 1)])
def test_it_learns_any_task_from_any_kinds_of_features(toy: Any, task: Any, numeric: int, categorical: int) -> None:
    table = toy.table(task, rows=400, numeric=numeric, categorical=categorical)
    fitted = toy.fitted(table, epochs=20, patience=20, batch_rows=50)
    found = score(task, table.validation.target, fitted.model.predict_columns(table.validation))
    reached = {"binary": 0.75, "multiclass": 0.75, "regression": 0.75}[task]
    assert found["r2" if task == "regression" else "accuracy"] > reached
    assert fitted.trained.metric == pytest.approx(found[primary_metric(task)])
    assert fitted.trained.attention == pytest.approx(fitted.trained.attention)
    assert sum(fitted.trained.attention) == pytest.approx(1.0, abs=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(toy: Any) -> None:
    table = toy.table("binary")
    first, again, other = (toy.fitted(table, seed=seed).trained for seed in (1, 1, 2))
    assert first.artifact == again.artifact
    assert first.artifact != other.artifact


def test_training_leaves_its_inputs_alone(toy: Any) -> None:
    table = toy.table("binary")
    before = table.train.numeric.copy()
    toy.fitted(table)
    np.testing.assert_array_equal(table.train.numeric, before)


def test_the_kept_weights_are_those_of_the_best_epoch(toy: Any) -> None:
    table = toy.table("binary")
    trained = toy.fitted(table, epochs=6, patience=6, learning_rate=0.1).trained
    losses = [line.validation_loss for line in trained.history]
    assert trained.best_epoch == losses.index(min(losses)) + 1
    assert trained.loss == pytest.approx(min(losses), rel=1e-6)
    assert [line.epoch for line in trained.history] == list(range(1, len(losses) + 1))


def test_it_stops_early_when_validation_gets_no_better(toy: Any) -> None:
    table = toy.table("binary")
    random = np.random.default_rng(0)
    noise = replace(table.validation, target=random.integers(0, 2, 60))
    trained = toy.fitted(replace(table, validation=noise), epochs=60, patience=2, learning_rate=0.05).trained
    assert trained.stopped == "early"
    assert len(trained.history) == trained.best_epoch + 2


def test_it_ends_inside_its_time_limit(toy: Any) -> None:
    table = toy.table("binary", rows=2000)
    config = toy.config()
    plan = toy.plan(table.problem, config)
    execution = replace(plan.execution, epochs=100_000, steps=100_000 * 47, batch_rows=32, patience=100_000)
    plan = replace(plan, execution=execution, envelope=replace(plan.envelope, train_time_s=1.0))
    trained = train(plan, table.train, table.validation, config, seed=0).trained
    assert trained.stopped == "time"
    assert 0.1 < trained.measured.train_time_s < 1.6  # after a stall at its start less is begun than would have fitted


def test_the_loss_of_an_epoch_that_the_clock_ended_is_of_the_rows_that_were_taken(
    toy: Any, cut_at: Callable[[int], None]
) -> None:
    cut_at(22)
    table = toy.table("multiclass")
    plan = toy.plan(table.problem, train_time_s=1e6)
    # six steps an epoch, of rows that are all the same, and nothing is learned
    execution = replace(plan.execution, batch_rows=30, epochs=9, learning_rate=1e-12, dropout=0.0, patience=99)
    same = table.train.take(np.zeros(180, dtype=np.int64))
    history = train(replace(plan, execution=execution), same, table.validation, toy.config(), seed=0).trained.history
    assert len(history) == 4
    assert history[3].train_loss == pytest.approx(history[0].train_loss, rel=1e-5)


def test_what_was_measured(toy: Any) -> None:
    fitted = toy.fitted(toy.table("binary"))
    measured = fitted.trained.measured
    assert measured.parameters == sum(p.numel() for p in fitted.model.network.parameters())
    assert measured.parameters == fitted.trained.plan.predicted.parameters
    assert 0 < measured.latency_s < 1
    assert 0 < measured.train_time_s < 60
    assert measured.memory_bytes >= 0


def test_the_watcher_hears_of_every_step_and_epoch(toy: Any) -> None:
    class Notes:
        def __init__(self) -> None:
            self.steps: list[tuple[int, int]] = []
            self.epochs: list[tuple[int, float, set[str]]] = []

        def step(self, done: int, total: int) -> None:
            self.steps.append((done, total))

        def epoch(self, line: Any, attention: Any, norms: dict[str, float]) -> None:
            self.epochs.append((line.epoch, float(attention.sum()), set(norms)))

        def revised(self, revision: Any) -> None:
            raise AssertionError(revision)

    table, config, notes = toy.table("binary"), toy.config(), Notes()
    plan = toy.plan(table.problem, config)
    train(plan, table.train, table.validation, config, seed=0, watcher=notes)
    steps = plan.execution.steps
    assert notes.steps == [(i, steps) for i in range(1, steps + 1)]
    assert [number for number, _, _ in notes.epochs] == list(range(1, plan.execution.epochs + 1))
    for _, total, parts in notes.epochs:
        assert total == pytest.approx(1.0, abs=1e-5)
        assert parts == {"numeric", "category", "attention", "adapter", "layers", "head"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_target_that_is_no_number_is_named_as_the_cause(toy: Any, value: float) -> None:
    table = toy.table("regression")
    target = table.train.target.copy()
    target[3] = value
    with np.errstate(invalid="ignore"), pytest.raises(TrainingDiverged, match=r"loss became (nan|inf).*check the data"):
        toy.fitted(replace(table, train=replace(table.train, target=target)))


def test_a_huge_learning_rate_is_named_as_the_cause(toy: Any) -> None:
    with pytest.raises(TrainingDiverged, match=r"(?s)became.*training\.learning_rate"):
        toy.fitted(toy.table("regression"), learning_rate=1e30, epochs=20)


@pytest.mark.parametrize("culprit", ["head.bias", "attention.offset"])
def test_the_parameter_whose_gradient_broke_is_named(toy: Any, culprit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: Any, **kwargs: Any) -> Any:
        network = real(*args, **kwargs)
        dict(network.named_parameters())[culprit].register_hook(lambda grad: grad * float("nan"))
        return network

    real = begin.build
    monkeypatch.setattr(begin, "build", build)
    with pytest.raises(TrainingDiverged, match=f"gradient of {culprit} "):
        toy.fitted(toy.table("binary"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_missing_and_extreme_inputs_are_trained_on(toy: Any, value: float) -> None:
    table = toy.table("binary")
    numeric = table.train.numeric.copy()
    numeric[::3, 0] = value
    numeric[:, 1] = value
    train_rows = replace(table.train, numeric=numeric)
    fitted = toy.fitted(replace(table, train=train_rows))
    assert np.isfinite(fitted.model.predict_columns(train_rows)).all()


def test_categories_that_training_never_saw_are_validated_on(toy: Any) -> None:
    table = toy.table("binary")
    strange = Codes(np.zeros(60, dtype=np.int32), ("mauve",))
    fitted = toy.fitted(replace(table, validation=replace(table.validation, categorical=(strange,))))
    assert np.isfinite(fitted.trained.loss)


def test_a_class_that_never_occurs_in_validation(toy: Any) -> None:
    table = toy.table("multiclass")
    some = replace(table, validation=table.validation.take(table.validation.target != 2))
    trained = toy.fitted(some).trained
    assert np.isfinite(trained.loss)
    assert len(trained.id) == 64


@pytest.mark.parametrize("task", TASKS)
def test_one_validation_row_gives_a_model_that_can_be_recorded(toy: Any, task: Any) -> None:
    table = toy.table(task)
    trained = toy.fitted(replace(table, validation=table.validation.take(np.arange(1)))).trained
    assert len(trained.id) == 64  # a NaN metric could not be written as JSON


@pytest.mark.parametrize("task", TASKS)
def test_a_handful_of_training_rows(toy: Any, task: Any) -> None:
    table = toy.table(task)
    fitted = toy.fitted(replace(table, train=table.train.take(np.arange(2))), batch_rows=2)
    assert np.isfinite(fitted.model.predict_columns(table.validation)).all()


def test_a_constant_target_is_learned(toy: Any) -> None:
    table = toy.table("regression")
    seven = replace(table.train, target=np.full(180, 7.0))
    fitted = toy.fitted(replace(table, train=seven), epochs=30, patience=30)
    np.testing.assert_allclose(fitted.model.predict_columns(table.validation), 7.0, atol=0.5)


def test_the_unit_of_the_target_does_not_matter(toy: Any) -> None:
    table = toy.table("regression")
    scaled = replace(
        table,
        train=replace(table.train, target=table.train.target * 1024 + 4096),
        validation=replace(table.validation, target=table.validation.target * 1024 + 4096),
    )
    plain, other = toy.fitted(table), toy.fitted(scaled)
    np.testing.assert_allclose(
        other.model.predict_columns(table.validation),
        plain.model.predict_columns(table.validation) * 1024 + 4096,
        rtol=1e-2,
        atol=10,
    )
    for fitted in (plain, other):  # the curve is of the same unit as what it ends with
        trained = fitted.trained
        assert trained.history[trained.best_epoch - 1].metric == pytest.approx(trained.metric, rel=1e-4)


def test_threads_and_global_state_are_not_left_in_training_mode(toy: Any) -> None:
    fitted = toy.fitted(toy.table("binary"))
    fitted.model.predict_columns(toy.table("binary").validation)
    assert not fitted.model.network.training
    assert torch.get_num_threads() == 1
