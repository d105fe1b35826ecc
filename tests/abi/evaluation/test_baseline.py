"""The gradient boosting that a user would otherwise take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from abi.data.columns import Codes, Columns
from abi.evaluation.baseline import MAX_CATEGORIES, _encoder, fit_baseline
from abi.metrics import score

CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}


@pytest.mark.parametrize("task", list(CLASSES))
@pytest.mark.parametrize(("numeric", "categorical"), [(2, 1), (2, 0), (0, 1)])
def test_it_learns_any_task(toy: Any, task: Any, numeric: int, categorical: int) -> None:
    table = toy.table(task, rows=300, numeric=numeric, categorical=categorical)
    found = fit_baseline(task, CLASSES[task], [table.train], table.validation, seed=0)
    metrics = score(task, table.validation.target, found.prediction)
    assert metrics["r2" if task == "regression" else "accuracy"] > 0.7
    assert found.parameters > 0
    assert found.train_time_s > 0
    if task != "regression":
        np.testing.assert_allclose(found.prediction.sum(1), 1)


def test_on_numeric_data_it_is_scikit_learns_own_with_the_same_settings(toy: Any) -> None:
    table = toy.table("binary", rows=400, numeric=3, categorical=0)
    found = fit_baseline("binary", 2, [table.train], table.validation, seed=5)
    plain = HistGradientBoostingClassifier(max_iter=300, early_stopping=True, validation_fraction=0.15, random_state=5)
    plain.fit(table.train.numeric, table.train.target)
    np.testing.assert_allclose(found.prediction, plain.predict_proba(table.validation.numeric))


def test_parts_are_put_together(toy: Any) -> None:
    table = toy.table("binary")
    halves = [table.train.take(np.arange(90)), table.train.take(np.arange(90, 180))]
    one = fit_baseline("binary", 2, [table.train], table.validation, seed=0)
    two = fit_baseline("binary", 2, halves, table.validation, seed=0)
    np.testing.assert_array_equal(one.prediction, two.prediction)


def test_a_class_that_training_never_saw_gets_no_chance(toy: Any) -> None:
    table = toy.table("multiclass")
    some = table.train.take(table.train.target != 1)
    found = fit_baseline("multiclass", 3, [some], table.validation, seed=0)
    assert (found.prediction[:, 1] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_infinite_and_constant_columns(toy: Any, value: float) -> None:
    table = toy.table("binary")
    numeric = table.train.numeric.copy()
    numeric[::3, 0], numeric[:, 1] = value, value
    found = fit_baseline("binary", 2, [replace(table.train, numeric=numeric)], table.validation, seed=0)
    assert np.isfinite(found.prediction).all()


@pytest.mark.parametrize("rows", [20, 300])
def test_a_column_with_a_single_value_left(toy: Any, rows: int) -> None:
    table = toy.table("binary", rows=rows)
    for place in range(12):  # wherever the split for early stopping puts it
        numeric = table.train.numeric.copy()
        numeric[:, 1] = np.nan
        numeric[place, 1] = 1.0
        fit_baseline("binary", 2, [replace(table.train, numeric=numeric)], table.validation, seed=0)


def _rows(codes: list[int], values: tuple[str, ...]) -> Columns:
    return Columns(
        np.empty((len(codes), 0)), (Codes(np.array(codes, dtype=np.int32), values),), None, np.arange(len(codes))
    )


def test_categories_are_ranked_by_frequency_in_training_rows_alone() -> None:
    train = _rows([0, 1, 1, -1], ("rare", "often"))
    test = _rows([0, 1, 2, -1, 0], ("new", "often", "rare"))
    first, second = map(_encoder([train]), (train, test))
    np.testing.assert_array_equal(first[:, 0], [1, 0, 0, np.nan])
    np.testing.assert_array_equal(second[:, 0], [np.nan, 0, 1, np.nan, np.nan])


def test_more_categories_than_scikit_learn_takes(toy: Any) -> None:
    table = toy.table("binary", rows=600, numeric=0, categorical=1)
    names = tuple(f"v{i}" for i in range(450))
    rare = replace(table.train, categorical=(Codes(np.arange(450, dtype=np.int32), names),))
    found = fit_baseline("binary", 2, [rare], table.validation, seed=0)
    assert np.isfinite(found.prediction).all()
    assert np.nanmax(_encoder([rare])(rare)) == MAX_CATEGORIES - 1


@pytest.mark.parametrize("texts", [(), (0,)])
def test_it_predicts_other_rows_as_the_held_out_ones(toy: Any, texts: tuple[int, ...]) -> None:
    table = toy.texts("binary", numeric=1) if texts else toy.table("binary")
    found = fit_baseline("binary", 2, [table.train], table.validation, seed=0, texts=texts)
    some = np.array([3, 1])
    np.testing.assert_allclose(found.predict(table.validation.take(some)), found.prediction[some])


def test_very_few_rows_are_trained_on_without_early_stopping(toy: Any) -> None:
    table = toy.table("binary")
    found = fit_baseline("binary", 2, [table.train.take(np.arange(20))], table.validation, seed=0)
    assert found.prediction.shape == (60, 2)
