"""How classes are weighed, against numbers by hand; that each method reaches what training does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abi.errors import UsageError
from abi.families.losses import members_loss
from abi.metrics import statistics
from abi.training import balancing, family
from abi.training.balance import balance_of, losses_of
from abi.training.balancing import METHODS, choose_balance, decided, decided_again, drawn
from abi.training.revise import even_twin
from abi.types import Attention, BalanceTrial, ClassBalance, Plan

TARGET = np.array([0] * 9 + [1])


def test_weights_by_effective_numbers_by_hand() -> None:
    found = balance_of("class_balanced", TARGET, 2)
    assert found is not None
    # (1 - b) / (1 - b^n): close to 1 / n for few rows, so 1/9 and 1/1, and their mean over rows is 1
    plain = np.array([(1 - 0.999) / (1 - 0.999**9), 1.0])
    assert found.weights == pytest.approx(plain * 10 / (9 * plain[0] + plain[1]))
    assert found.weights[TARGET].mean() == pytest.approx(1)
    assert found.start("binary", 10) is None


def test_resampling_goes_by_the_root_of_the_frequency() -> None:
    found = balance_of("resampled", TARGET, 2)
    assert found is not None
    assert found.weights == pytest.approx(np.array([1 / 3, 1.0]) * 10 / 4)  # 9 rows of 1/3 and one of 1
    assert found.redrawn
    assert found.leaning("binary", torch.device("cpu")) is None


def test_logits_are_adjusted_by_the_shares_in_the_loss_alone() -> None:
    found = balance_of("logit_adjusted", TARGET, 2)
    assert found is not None
    assert found.shares == pytest.approx([0.9, 0.1])
    even = np.array([[0.5, 0.5], [0.5, 0.5]])
    # a model that cannot tell is right about 9 rows in 10
    assert found.row_losses("binary", np.array([0, 1]), even) == pytest.approx([-math.log(0.9), -math.log(0.1)])
    start = found.start("binary", 2)
    assert start is not None
    assert start == pytest.approx([math.log(0.1 / 0.9)] * 2)


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 3)])
@pytest.mark.parametrize("method", ["class_balanced", "logit_adjusted"])
def test_the_networks_loss_is_the_balanced_loss_of_its_chances(task: Any, classes: int, method: Any) -> None:
    random = np.random.default_rng(0)
    target = np.append(np.arange(classes), random.integers(0, 2, 20))
    balance = balance_of(method, target, classes)
    assert balance is not None
    out = torch.from_numpy(random.normal(size=(len(target), 1, classes if task == "multiclass" else 1)))
    chance = out.softmax(-1).squeeze(1).numpy() if task == "multiclass" else out.sigmoid().squeeze(1).numpy()
    chance = chance if task == "multiclass" else np.column_stack([1 - chance, chance])
    leaning = balance.leaning(task, torch.device("cpu"))
    found = float(members_loss(out, torch.from_numpy(target), task, leaning=leaning))
    assert found == pytest.approx(float(balance.row_losses(task, target, chance).mean()), rel=1e-5)


def test_nothing_is_weighed_without_a_method() -> None:
    assert balance_of(None, TARGET, 2) is None
    chance = np.full((10, 2), 0.5)
    assert losses_of(None, "binary", TARGET, chance) == pytest.approx(np.full(10, math.log(2)))


def _rare(toy: Any, task: str = "multiclass") -> Any:
    """A table whose last class is left one row in eight, in a column that tells it with noise."""
    table = toy.table(task, rows=1200)
    last = 1 if task == "binary" else 2
    random = np.random.default_rng(1)

    def thinned(part: Any, share: float) -> Any:
        kept = part.take((part.target != last) | (random.random(len(part.target)) < share))
        return replace(kept, numeric=kept.numeric + random.normal(size=kept.numeric.shape))

    return replace(table, train=thinned(table.train, 0.12), validation=thinned(table.validation, 0.12))


def _plans(toy: Any, config: Any) -> Any:
    def plan(attention: Attention, asked: Any) -> Plan:
        from abi.planning.family import plan_family
        from abi.types import Envelope

        return plan_family(
            attention, Envelope(), config, toy.machine, train_rows=500, validation_rows=200, family=asked
        )  # fmt: skip

    return plan


@pytest.mark.parametrize("kind", ["network", "trees", "auto"])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_every_method_gives_the_rare_class_more_of_a_chance(toy: Any, kind: str, task: str) -> None:
    table = _rare(toy, task)
    config = toy.config(training__family=kind, training__epochs=12, training__trees__rounds=60)
    plan = _plans(toy, config)
    found = {}
    for method in (None, *METHODS):
        held = None if method is None else ClassBalance(method=method, reason="asked")
        made = plan(replace(toy.attention(table.problem), balance=held), None)
        assert made.execution.balance == method
        fitted = family.train(made, table.train, table.validation, config, seed=0)
        found[method] = float(fitted.model.predict_columns(table.validation)[:, -1].mean())
        balance = balance_of(method, table.train.target, len(table.problem.schema.classes))
        expected = losses_of(balance, task, table.validation.target, fitted.model.predict_columns(table.validation))  # type: ignore[arg-type]
        assert fitted.row_losses == pytest.approx(expected, rel=1e-4)
    assert all(found[method] > 1.3 * found[None] for method in METHODS), found


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1_macro"])
def test_resamples_are_drawn_chunk_by_chunk(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random, rows = np.random.default_rng(0), 500
    function = statistics("multiclass", random.integers(0, 20, rows), random.random((rows, 20)))[metric]
    counts = np.random.default_rng(3).multinomial(rows, np.full(rows, 1 / rows), size=200).astype(np.float64)
    at_once = function(np.vstack([np.ones(rows), counts]))
    held = list[int]()

    def seen(counts: Any) -> Any:
        held.append(len(counts))
        return function(counts)

    assert np.array_equal(drawn([function, function], rows, 3), [at_once, at_once])
    monkeypatch.setattr(balancing, "CHUNK_VALUES", 30 * rows)
    assert np.array_equal(drawn([seen], rows, 3), [at_once])
    assert (max(held), sum(held)) == (29, 201)


def test_auto_looks_where_the_metric_weighs_classes_alike(toy: Any) -> None:
    table = _rare(toy)
    scores = toy.scores(table.problem, [0.9, 0.1, 0.1])

    def chosen(**settings: Any) -> ClassBalance | None:
        config = toy.config(training__epochs=8, iterate__pilot=1.0, **settings)
        plan = _plans(toy, config)
        return choose_balance(scores, config, plan, "network", table.train, table.validation)

    assert chosen() is None  # accuracy
    assert chosen(evaluation__metric="f1_macro", training__balance="none") is None
    asked = chosen(training__balance="resampled")
    assert asked is not None
    assert (asked.method, asked.trials) == ("resampled", ())
    found = chosen(evaluation__metric="balanced_accuracy")
    assert found is not None
    assert [trial.method for trial in found.trials] == [None, *METHODS]
    assert found.method is not None
    assert "balanced_accuracy on validation rows" in found.reason
    again = decided_again(found, scores, toy.config(evaluation__metric="balanced_accuracy"))
    assert again == found


def test_classes_of_about_as_many_rows_are_left_alone_without_a_training(toy: Any) -> None:
    table = toy.table("multiclass")
    config = toy.config(evaluation__metric="f1_macro")

    def refuse(attention: Attention, asked: Any) -> Plan:
        raise AssertionError

    found = choose_balance(
        toy.scores(table.problem, [0.9, 0.1, 0.1]), config, refuse, "network", table.train, table.validation
    )
    assert found is not None
    assert (found.method, found.trials) == (None, ())


def test_a_gain_within_noise_is_none(toy: Any) -> None:
    trials = (
        BalanceTrial(method=None, metric=0.5),
        BalanceTrial(method="resampled", metric=0.52, gain=0.02, error=0.03),
        BalanceTrial(method="class_balanced", metric=0.51, gain=0.01, error=0.005),
    )
    assert decided(trials, "f1_macro", toy.config()).method == "class_balanced"
    assert decided(trials[:2], "f1_macro", toy.config()).method is None


def test_numbers_have_no_classes_to_weigh(toy: Any) -> None:
    table = toy.table("regression")
    config = toy.config(training__balance="resampled")
    scores = toy.scores(table.problem, [0.9, 0.1, 0.1])
    with pytest.raises(UsageError, match=r"training\.balance=resampled"):
        choose_balance(scores, config, _plans(toy, config), "network", table.train, table.validation)


def test_the_control_weighs_classes_as_the_model_does(toy: Any) -> None:
    held = ClassBalance(method="resampled", reason="asked")
    even = toy.attention(toy.problem({"a": "numeric"}))
    assert even_twin(even, replace(even, balance=held)).balance == held


def test_what_was_recorded_before_keeps_its_bytes(toy: Any) -> None:
    plan = toy.plan(toy.problem({"a": "numeric"}))
    assert "balance" not in plan.to_json()["execution"]
    assert "balance" not in plan.to_json()["attention"]
    held = replace(plan.attention, balance=ClassBalance(method="resampled", reason="asked"))
    assert Attention.from_json(held.to_json()) == held
