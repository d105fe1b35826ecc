"""Training the kept plan once more, on all rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.families.blend import Blend
from abi.families.decision import Decision, Rejection
from abi.families.trees import TreesModel
from abi.outcomes import Trained
from abi.planning.family import plan_family
from abi.training import loop
from abi.training.family import train
from abi.training.refit import refit, share_of
from abi.types import Envelope

FAMILIES = ("network", "trees", "blend")


def _trained(toy: Any, table: Any, family: str, **envelope: Any) -> Any:
    config = toy.config(training__family=family, training__trees__rounds=20, training__epochs=4, training__patience=1)
    plan = plan_family(
        toy.attention(table.problem), Envelope(**envelope), config, toy.machine, train_rows=180, validation_rows=60
    )
    return train(plan, table.train, table.validation, config, seed=3), config


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_same_rows_give_the_same_model(toy: Any, family: str, task: Any) -> None:
    """So it differs from what validation judged by nothing but the rows."""
    table = toy.table(task)
    fitted, config = _trained(toy, table, family)
    model, trained = refit(fitted.model, fitted.trained, table.train, config)
    assert model.artifact == fitted.model.artifact == trained.artifact
    assert trained.attention == pytest.approx(fitted.trained.attention)
    assert trained.refit.rows == len(table.train)
    assert trained.refit.epochs == fitted.trained.best_epoch


@pytest.mark.parametrize("family", FAMILIES)
def test_more_rows_give_another_model_and_what_was_judged_stays_known(toy: Any, family: str) -> None:
    table, more = toy.table("binary"), toy.table("binary", rows=400, seed=1).train
    fitted, config = _trained(toy, table, family)
    model, trained = refit(fitted.model, fitted.trained, more, config)
    assert trained.artifact == model.artifact != fitted.model.artifact
    assert (trained.loss, trained.best_epoch, trained.plan) == (
        fitted.trained.loss,
        fitted.trained.best_epoch,
        fitted.trained.plan,
    )
    assert trained.measured.parameters == model.parameters
    assert trained.judged == fitted.trained
    assert trained.judged.judged == fitted.trained
    assert fitted.trained.refit is None
    if family == "blend":
        assert isinstance(model, Blend)
        assert model.weight == fitted.model.weight


def test_rounds_are_as_many_whatever_their_loss(toy: Any) -> None:
    table = toy.table("binary")
    fitted, config = _trained(toy, table, "trees")
    noise = np.random.default_rng(0).integers(0, 2, len(table.train))
    model, _ = refit(fitted.model, fitted.trained, replace(table.train, target=noise), config)
    assert isinstance(model, TreesModel)
    assert model.rounds == fitted.model.rounds


@pytest.mark.parametrize("family", ["trees", "blend"])
def test_leaves_of_more_rows_stay_under_the_limit(toy: Any, family: str) -> None:
    table = toy.table("binary", rows=60)
    free, _ = _trained(toy, table, family)
    fitted, config = _trained(toy, table, family, parameters=free.model.parameters + 20)
    more = toy.table("binary", rows=2000, seed=1).train
    again, _ = refit(fitted.model, fitted.trained, more, config)
    assert again.parameters <= free.model.parameters + 20


def test_decisions_stay_as_validation_rows_made_them(toy: Any) -> None:
    table = toy.table("multiclass")
    fitted, config = _trained(toy, table, "network")
    decision = Decision(rejection=Rejection(place=1, intercept=0.5, own=0.0, top=0.0))
    model = replace(fitted.model, blueprint=replace(fitted.model.blueprint, decision=decision))
    again, _ = refit(model, fitted.trained, table.validation, config)
    assert again.blueprint.decision == decision


def test_how_much_of_the_schedule_was_run(toy: Any) -> None:
    trained = toy.fitted(toy.table()).trained
    ten = replace(trained.plan, execution=replace(trained.plan.execution, epochs=10))
    history = trained.history[:1] * 5
    one = replace(trained, plan=ten, history=history, best_epoch=4)
    assert share_of(replace(one, stopped="early")) == pytest.approx(0.4)
    assert share_of(replace(one, stopped="finished")) == pytest.approx(0.4)
    assert share_of(replace(one, stopped="time")) == pytest.approx(0.8)  # the clock had shortened it to five
    assert share_of(replace(one, stopped="early", share=0.7)) == 0.7


@pytest.mark.parametrize("patience", [1, 99])
def test_of_a_schedule_that_the_clock_shortened_the_share_is_kept(
    toy: Any, patience: int, cut_at: Callable[[int], None]
) -> None:
    table = toy.table("multiclass")
    plan = toy.plan(table.problem, train_time_s=1e6)
    changed = {"batch_rows": 30, "epochs": 20, "patience": patience, "learning_rate": 0.01}  # six steps an epoch
    plan = replace(plan, execution=replace(plan.execution, **changed))
    whole = loop.train(plan, table.train, table.validation, toy.config(), seed=3).trained
    assert (whole.share, share_of(whole)) == (None, whole.best_epoch / 20)
    cut_at(60)
    cut = loop.train(plan, table.train, table.validation, toy.config(), seed=3).trained
    assert cut.stopped == ("early" if patience == 1 else "time")
    step = min(60, 6 * cut.best_epoch)
    # it was cut in step 20 of 120, when 19 were counted
    expected = step / 120 if step < 20 else (19 + 101 * (step - 20) / 40) / 120
    assert share_of(cut) == pytest.approx(expected)
    assert Trained.from_json(cut.to_json()).share == cut.share
