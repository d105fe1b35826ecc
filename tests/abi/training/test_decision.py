"""A class that means none of the others: its rejection, its loss and its figures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from abi.config import load_config
from abi.data.memory import read_memory
from abi.errors import DataError, UsageError
from abi.families.artifact import Blueprint
from abi.families.decision import Decision, Rejection, decided, evidence
from abi.families.losses import EXPOSURE, Leaning, members_loss
from abi.frequency import groups_of
from abi.metrics import score
from abi.training.decision import decision_of, logistic, rejection_of
from abi.training.fitted import groups_in

CLASSES = ("a", "b", "oos")


def test_a_rejection_by_hand() -> None:
    rejection = Rejection(place=2, intercept=0.0, own=1.0, top=0.0)
    chance = np.array([[0.6, 0.2, 0.2]])
    # with the network's own odds nothing changes
    assert rejection.applied(chance) == pytest.approx(chance)
    # at four times the odds: .25 * 4 = 1, so one half, and the others share the rest as before
    more = replace(rejection, shift=math.log(4))
    assert more.applied(chance) == pytest.approx(np.array([[0.375, 0.125, 0.5]]))
    assert evidence(chance, 2) == pytest.approx(np.array([[math.log(0.25), math.log(3)]]))
    assert decided(Decision(rejection=more), chance) == pytest.approx(more.applied(chance))
    assert decided(None, chance) is chance


def _chances(rows: int, seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A network that is sure of rows in scope and unsure of others, whose own class it hardly ever takes."""
    random = np.random.default_rng(seed)
    target = random.integers(0, 2, rows)
    target[random.random(rows) < share] = 2
    sure = np.where(target == 2, random.uniform(0.5, 0.75, rows), random.uniform(0.7, 0.99, rows))
    guess = np.where(target == 2, random.integers(0, 2, rows), target)
    chance = np.zeros((rows, 3))
    chance[np.arange(rows), guess] = sure
    chance[np.arange(rows), 1 - guess] = 1 - sure
    chance[:, 2] = random.uniform(0.01, 0.05, rows)
    return target, chance / chance.sum(axis=1, keepdims=True)


def test_rare_rows_out_of_scope_are_rejected_as_often_as_others_are_answered() -> None:
    target, chance = _chances(3000, 0, 0.02)
    found = rejection_of(target, chance, 2)
    fresh, seen = _chances(3000, 1, 0.3)
    before = score("multiclass", fresh, seen, groups_of([9, 9, 1], 2))
    after = score("multiclass", fresh, found.applied(seen), groups_of([9, 9, 1], 2))
    assert before["out_of_scope_recall"] == 0.0
    assert after["out_of_scope_recall"] > 0.85
    assert after["in_scope_accuracy"] > 0.8
    assert after["out_of_scope_auroc"] > 0.95
    assert after["accuracy"] > before["accuracy"] + 0.1


def test_without_such_rows_the_maximum_probability_rejects() -> None:
    random = np.random.default_rng(2)
    target, chance = _chances(3000, 3, 0.0)
    wrong = random.random(3000) < np.where(chance.max(axis=1) < 0.75, 0.6, 0.02)
    target = np.where(wrong, 1 - target, target)
    found = rejection_of(target, chance, 2)
    assert found.own == 0.0
    unsure = found.applied(np.array([[0.5, 0.5, 0.0], [0.97, 0.03, 0.0]]))
    assert unsure.argmax(axis=1).tolist() == [2, 0]


@pytest.mark.parametrize("few", [1, 4])
def test_few_such_rows_and_a_network_that_is_right_reject_all_the_same(few: int) -> None:
    target, chance = _chances(400, 6, 0.0)
    chance[np.arange(400), target] += 1.0  # it is right and sure of every row in scope
    chance /= chance.sum(axis=1, keepdims=True)
    outside = np.tile([0.4, 0.4, 0.2], (few, 1))
    fresh, seen = np.append(target, np.full(few, 2)), np.vstack([chance, outside])
    unsure = [0.45, 0.35, 0.2]
    without, found = (
        r.applied(np.vstack([chance, unsure])) for r in (rejection_of(target, chance, 2), rejection_of(fresh, seen, 2))
    )
    assert without[-1, 2] > max(0.2, without[:-1, 2].max())
    assert found[-1].argmax() == 2
    assert (found[:-1].argmax(axis=1) == target).mean() > 0.95


def test_a_network_that_is_surest_where_it_is_wrong_does_not_turn_the_rejection_round() -> None:
    target, chance = _chances(40, 7, 0.0)
    found = rejection_of(np.where(chance.max(axis=1) > 0.85, 1 - target, target), chance, 2)
    assert found.top < 0


def test_logistic_regression_as_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(4)
    x = random.normal(size=(300, 2))
    y = x[:, 0] + random.normal(size=300) > 1
    for balanced in (False, True):
        other = LogisticRegression(C=1.0, tol=1e-10, class_weight="balanced" if balanced else None).fit(x, y)
        found = logistic(x, y, balanced=balanced)
        assert found == pytest.approx(np.append(other.intercept_, other.coef_), abs=2e-3)
    assert np.isfinite(logistic(np.linspace(-9, 9, 40)[:, None], np.arange(40) > 19, balanced=True)).all()


def test_outliers_make_the_other_classes_unsure() -> None:
    out = torch.tensor([[[2.0, 0.0, 0.0]], [[2.0, 0.0, 0.0]]])
    leaning = Leaning(torch.ones(3), torch.zeros(3), outside=2)
    target = torch.tensor([0, 2])
    plain = float(members_loss(out, target, "multiclass"))
    # of the second row alone: log(e^2 + e^0) - (2 + 0) / 2
    added = EXPOSURE * (math.log(math.exp(2) + 1) - 1) / 2
    assert float(members_loss(out, target, "multiclass", leaning=leaning)) == pytest.approx(plain + added)
    even = torch.zeros(1, 1, 3)
    least = float(members_loss(even, torch.tensor([2]), "multiclass", leaning=leaning))
    assert least == pytest.approx(math.log(3) + EXPOSURE * math.log(2))


def _frame(rows: int = 600, *, outside: bool = True) -> pd.DataFrame:
    random = np.random.default_rng(5)
    x = random.normal(size=(rows, 2))
    label = np.where(x[:, 0] > 0, "a", "b").astype(object)
    if outside:
        label[np.abs(x[:, 1]) > 1.8] = "oos"
    return pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "y": label})


def test_the_schema_has_the_class_whether_rows_have_it_or_not() -> None:
    config = load_config(settings={"data.out_of_scope": "oos"}, ambient=False)
    for outside in (True, False):
        schema = read_memory(_frame(outside=outside), "y", config).problem.schema
        assert (schema.classes, schema.out_of_scope, schema.task) == (CLASSES, "oos", "multiclass")
    assert "out_of_scope" not in read_memory(_frame(), "y", load_config(ambient=False)).problem.schema.to_json()


@pytest.mark.parametrize(
    ("frame", "settings", "error", "sentence"),
    [
        (_frame().assign(y=np.arange(600.0)), {}, UsageError, "got numbers"),
        (_frame(), {"data.task": "binary"}, UsageError, "data.task binary"),
        (_frame().assign(y=["a", "oos"] * 300), {}, DataError, "at least two classes beside 'oos'"),
        (_frame().assign(y=[["a"], []] * 300), {}, UsageError, "one class per row"),
    ],
)
def test_what_does_not_fit_is_told(frame: pd.DataFrame, settings: Any, error: Any, sentence: str) -> None:
    config = load_config(settings={"data.out_of_scope": "oos"} | settings, ambient=False)
    with pytest.raises(error, match=sentence):
        read_memory(frame, "y", config)


@pytest.mark.parametrize("outside", [True, False])
def test_a_trained_network_rejects_and_keeps_how(toy: Any, outside: bool) -> None:
    from abi.attention.fit import fit
    from abi.planning.family import plan_family
    from abi.scoring.score import score as score_features
    from abi.training import family
    from abi.types import Envelope

    settings = {"data.out_of_scope": "oos", "training.epochs": 15, "training.members": 2, "training.block_width": 32,
                "training.threads": 1, "training.device": "cpu"}  # fmt: skip
    config = load_config(settings=settings, ambient=False)
    reader = read_memory(_frame(outside=outside), "y", config, _frame(400))
    train, validation, test = (reader.load(role) for role in ("train", "validation", "test"))
    attention = fit(score_features(reader, config.scoring), None, config.attention)
    plan = plan_family(attention, Envelope(), config, toy.machine, train_rows=500, validation_rows=90)
    fitted = family.train(plan, train, validation, config, seed=0)
    blueprint = fitted.model.blueprint  # type: ignore[attr-defined]
    assert blueprint.decision.rejection.place == 2
    assert (blueprint.decision.rejection.own > 0) == outside
    assert Blueprint.from_json(blueprint.to_json()) == blueprint
    groups = groups_in(train, reader.problem.schema)
    assert groups is not None
    assert groups.outside == 2
    found = score("multiclass", test.target, fitted.model.predict_columns(test), groups)
    assert found["in_scope_accuracy"] > (0.8 if outside else 0.7)
    if outside:
        assert found["out_of_scope_recall"] > 0.5
    assert decision_of(replace(reader.problem.schema, out_of_scope=None), validation.target, np.eye(3)[[0]]) is None


@pytest.mark.parametrize("outside", [1 - 5e-8, 1 - 5e-7, 1.0])
def test_chances_sum_to_one_where_the_network_is_sure_that_it_is_none(outside: float) -> None:
    rejection = Rejection(place=2, intercept=-3.0, own=0.5, top=-0.3)
    chance = np.array([[0.6 * (1 - outside), 0.4 * (1 - outside), outside]])
    found = rejection.applied(chance)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found[0, 0] >= found[0, 1]
