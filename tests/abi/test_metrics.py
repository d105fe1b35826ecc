"""Each metric against scikit-learn, plain and with row counts (duplicated rows), and against numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from abi.errors import UsageError
from abi.frequency import groups_of
from abi.metrics import (
    BY_FREQUENCY,
    LOWER_IS_BETTER,
    METRICS,
    PRIMARY,
    expect_metric,
    primary_metric,
    row_loss,
    score,
    statistics,
)

REFERENCE: dict[str, dict[str, Callable[[Any, Any], float]]] = {
    "binary": {
        "roc_auc": lambda y, p: sk.roc_auc_score(y, p[:, 1]),
        "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(1)),
        "balanced_accuracy": lambda y, p: np.mean([np.mean(p.argmax(1)[y == c] == c) for c in np.unique(y)]),
        "f1_macro": lambda y, p: sk.f1_score(y, p.argmax(1), average="macro"),
        "log_loss": lambda y, p: sk.log_loss(y, p, labels=[0, 1]),
    },
    "multiclass": {
        "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(1)),
        "balanced_accuracy": lambda y, p: sk.recall_score(y, p.argmax(1), labels=np.unique(y), average="macro"),
        "f1_macro": lambda y, p: sk.f1_score(y, p.argmax(1), average="macro"),
        "log_loss": lambda y, p: sk.log_loss(y, p, labels=[0, 1, 2]),
    },
    "multilabel": {
        "f1_micro": lambda y, p: sk.f1_score(y, p >= 0.5, average="micro"),
        "f1_macro": lambda y, p: np.mean(
            sk.f1_score(y, p >= 0.5, average=None, zero_division=0)[(y | (p >= 0.5)).any(axis=0)]
        ),
        "subset_accuracy": lambda y, p: sk.accuracy_score(y, p >= 0.5),
    },
    "regression": {
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    },
}


def _sample(task: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Target and prediction; chances are rounded so that there are ties."""
    random = np.random.default_rng(seed)
    if task == "regression":
        target = random.normal(5, 3, rows)
        return target, target + random.normal(size=rows)
    if task == "multilabel":
        target = random.random((rows, 3)) < 0.4
        target[:3] |= np.eye(3, dtype=bool)
        return target, random.random((rows, 3)).round(1)
    classes = 2 if task == "binary" else 3
    target = np.append(np.arange(classes), random.integers(0, classes, rows - classes))
    chance = random.dirichlet(np.ones(classes), rows)
    if task == "binary":
        first = np.clip(chance[:, 0].round(1), 0.05, 0.95)
        chance = np.column_stack([first, 1 - first])
    return target, chance


def test_every_metric_has_a_reference_here() -> None:
    assert {task: set(names) for task, names in METRICS.items()} == {t: set(f) for t, f in REFERENCE.items()}


@pytest.mark.parametrize("task", list(METRICS))
@pytest.mark.parametrize("seed", range(5))
def test_as_scikit_learn(task: Any, seed: int) -> None:
    target, prediction = _sample(task, 60, seed)
    found = score(task, target, prediction)
    assert list(found) == list(METRICS[task])
    for name, reference in REFERENCE[task].items():
        assert found[name] == pytest.approx(reference(target, prediction), rel=1e-10), name


@settings(max_examples=40, deadline=None)
@given(task=st.sampled_from(list(METRICS)), rows=st.integers(4, 25), seed=st.integers(0, 1000))
def test_row_counts_are_as_good_as_duplicated_rows(task: Any, rows: int, seed: int) -> None:
    target, prediction = _sample(task, rows, seed)
    counts = np.random.default_rng(seed).integers(0, 4, (3, rows)).astype(np.float64)
    counts[:, :3] += 1  # every class occurs
    for name, function in statistics(task, target, prediction).items():
        for draw, count in zip(function(counts), counts.astype(int), strict=True):
            duplicated = REFERENCE[task][name](np.repeat(target, count, axis=0), np.repeat(prediction, count, axis=0))
            assert draw == pytest.approx(duplicated, rel=1e-8, abs=1e-10), name


@settings(max_examples=30, deadline=None)
@given(task=st.sampled_from(list(METRICS)), seed=st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(task: Any, seed: int) -> None:
    target, prediction = _sample(task, 20, seed)
    order = np.random.default_rng(seed).permutation(20)
    assert score(task, target[order], prediction[order]) == pytest.approx(score(task, target, prediction))


def test_roc_auc_by_hand_counts_a_tie_as_a_half() -> None:
    # pairs (positive, negative): .8>.5, .8>.2, .5=.5, .5>.2 -> 3.5 of 4
    positive = np.array([0.8, 0.5, 0.5, 0.2])
    found = score("binary", np.array([1, 1, 0, 0]), np.column_stack([1 - positive, positive]))
    assert found["roc_auc"] == 3.5 / 4


def test_log_loss_by_hand_and_at_a_chance_of_zero() -> None:
    found = score("binary", np.array([1, 0]), np.array([[0.75, 0.25], [0.5, 0.5]]))
    assert found["log_loss"] == pytest.approx((math.log(4) + math.log(2)) / 2)
    certain = score("binary", np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert certain["log_loss"] == pytest.approx(15 * math.log(10) / 2)


def test_a_class_that_does_not_occur_counts_neither_for_nor_against() -> None:
    target = np.array([0, 0, 1, 1])
    chance = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    assert score("multiclass", target, chance)["balanced_accuracy"] == 0.75


def test_regression_by_hand() -> None:
    found = score("regression", np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0]))
    assert found == pytest.approx({"rmse": math.sqrt(3), "mae": 1.0, "r2": 1 - 9 / 2})


def test_r2_of_a_large_offset_keeps_its_digits() -> None:
    target = 1e9 + np.arange(50.0)
    found = score("regression", target, target + 1)["r2"]
    assert found == pytest.approx(1 - 50 / ((50**3 - 50) / 12), rel=1e-6)


def test_what_is_not_defined_is_nan() -> None:
    one_class = score("binary", np.array([1, 1]), np.array([[0.3, 0.7], [0.4, 0.6]]))
    assert math.isnan(one_class["roc_auc"])
    assert one_class["accuracy"] == 1.0
    constant = score("regression", np.array([2.0, 2.0]), np.array([2.0, 3.0]))
    assert math.isnan(constant["r2"])
    assert constant["mae"] == 0.5


def test_r2_of_a_resample_with_one_distinct_value_is_nan_and_no_huge_number() -> None:
    function = statistics("regression", np.array([0.1, 0.7, 0.7]), np.array([0.2, 0.6, 0.8]))["r2"]
    draws = function(np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]))
    assert np.isfinite(draws).tolist() == [True, False, False]


def test_the_primary_metric() -> None:
    assert {task: primary_metric(task) for task in METRICS} == PRIMARY  # type: ignore[arg-type]
    assert primary_metric("binary", "log_loss") == "log_loss"
    assert primary_metric("regression", "roc_auc") == "rmse"


@pytest.mark.parametrize(
    ("task", "asked"),
    [("regression", "roc_auc"), ("multiclass", "roc_auc"), ("multilabel", "accuracy"), ("binary", "rmse")],
)
def test_a_metric_that_a_task_lacks_is_refused(task: Any, asked: str) -> None:
    with pytest.raises(UsageError, match=f"a {task} target for evaluation.metric, got '{asked}': choose 'auto', "):
        expect_metric(task, asked)


def test_every_metric_of_a_task_may_be_asked_for() -> None:
    for task, names in METRICS.items():
        for name in ("auto", *names):
            expect_metric(task, name)  # type: ignore[arg-type]
    expect_metric("binary", "tail_accuracy")
    assert primary_metric("multiclass", "tail_accuracy") == "tail_accuracy"
    assert primary_metric("regression", "tail_accuracy") == "rmse"
    assert primary_metric("multilabel", "roc_auc") == "f1_micro"
    assert PRIMARY["regression"] in LOWER_IS_BETTER
    assert not LOWER_IS_BETTER & {"roc_auc", "accuracy", "balanced_accuracy", "r2"}


def test_micro_f1_by_hand_is_over_all_pairs_of_row_and_label() -> None:
    target = np.array([[True, True], [False, True], [False, False]])
    chance = np.array([[0.9, 0.2], [0.6, 0.5], [0.1, 0.1]])
    # taken: a in rows 0 and 1, b in row 1; right: a in row 0, b in row 1; 3 labels are there
    found = score("multilabel", target, chance)
    assert found["f1_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["f1_macro"] == pytest.approx((2 * 1 / (1 + 2) + 2 * 1 / (2 + 1)) / 2)
    assert found["subset_accuracy"] == pytest.approx(1 / 3)


def test_sets_without_labels_have_no_f1() -> None:
    found = score("multilabel", np.zeros((2, 3), dtype=bool), np.zeros((2, 3)))
    assert math.isnan(found["f1_micro"])
    assert math.isnan(found["f1_macro"])
    assert found["subset_accuracy"] == 1.0


def test_accuracy_of_head_and_tail_by_hand() -> None:
    groups = groups_of([50, 5, 20])
    assert groups is not None
    target = np.array([0, 0, 0, 0, 1, 1, 2])
    chance = np.eye(3)[[0, 0, 0, 1, 1, 0, 2]]
    found = score("multiclass", target, chance, groups)
    assert [found[name] for name in BY_FREQUENCY] == [0.75, 1.0, 0.5]
    alone = statistics("multiclass", target, chance, groups)["tail_accuracy"]
    draws = alone(np.array([[1.0] * 7, [1.0, 1, 1, 1, 2, 0, 1], [1.0, 1, 1, 1, 0, 0, 1]]))
    assert draws[:2].tolist() == [0.5, 1.0]
    assert math.isnan(draws[2])  # no row of that class was drawn


def test_groups_are_thirds_of_the_classes_and_none_where_all_are_alike() -> None:
    assert groups_of([7, 7, 7]) is None
    assert groups_of([3]) is None
    two = groups_of([5, 9])
    assert two is not None
    assert (two.head, two.medium, two.tail, two.imbalance) == ((1,), (), (0,), 9 / 5)
    seven = groups_of([1, 2, 3, 4, 5, 6, 7])
    assert seven is not None
    assert (seven.head, seven.medium, seven.tail) == ((4, 5, 6), (2, 3), (0, 1))


def test_log_loss_of_a_set_is_the_mean_over_its_labels() -> None:
    found = row_loss("multilabel", np.array([[True, False]]), np.array([[0.5, 0.75]]))
    assert found.tolist() == pytest.approx([(math.log(2) + math.log(4)) / 2])
