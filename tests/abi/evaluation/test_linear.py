"""The baseline of tables with free text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from abi.data.columns import Codes, Columns
from abi.evaluation import linear
from abi.evaluation.baseline import fit_baseline
from abi.evaluation.linear import _encoder
from abi.metrics import score

CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}


@pytest.mark.parametrize("task", list(CLASSES))
@pytest.mark.parametrize("numeric", [0, 2])
def test_it_learns_from_words_and_says_so(toy: Any, task: Any, numeric: int) -> None:
    table = toy.texts(task, rows=400, numeric=numeric, categorical=numeric and 1)
    found = fit_baseline(task, CLASSES[task], [table.train], table.validation, seed=0, texts=[0])
    metrics = score(task, table.validation.target, found.prediction)
    assert metrics["r2" if task == "regression" else "accuracy"] > (0.5 if task == "regression" else 0.85)
    assert "TF-IDF" in found.description
    assert found.parameters > 100
    if task != "regression":
        np.testing.assert_allclose(found.prediction.sum(1), 1)


def test_numbers_beside_the_text_are_used(toy: Any) -> None:
    table = toy.texts("binary", rows=400, numeric=1)
    blank = Codes(np.zeros(300, dtype=np.int32), ("the same",))
    train = replace(table.train, categorical=(blank,))
    test = replace(table.validation, categorical=(Codes(np.full(100, -1, dtype=np.int32), ()),))
    found = fit_baseline("binary", 2, [train], test, seed=0, texts=[0])
    assert score("binary", test.target, found.prediction)["accuracy"] > 0.9


def test_parts_are_put_together_and_seeds_repeat(toy: Any) -> None:
    table = toy.texts("binary")
    halves = [table.train.take(np.arange(90)), table.train.take(np.arange(90, 180))]
    one, two = (
        fit_baseline("binary", 2, parts, table.validation, seed=3, texts=[0]) for parts in ([table.train], halves)
    )
    np.testing.assert_allclose(one.prediction, two.prediction, atol=1e-4)


def test_a_class_that_training_never_saw_gets_no_chance(toy: Any) -> None:
    table = toy.texts("multiclass")
    some = table.train.take(table.train.target != 1)
    found = fit_baseline("multiclass", 3, [some], table.validation, seed=0, texts=[0])
    assert (found.prediction[:, 1] == 0).all()


def _columns(numeric: list[float], codes: list[int], values: tuple[str, ...], kinds: list[int]) -> Columns:
    rows = len(codes)
    text = Codes(np.array(codes, dtype=np.int32), values)
    colour = Codes(np.array(kinds, dtype=np.int32), ("red", "blue"))
    return Columns(np.array(numeric)[:, None], (text, colour), None, np.arange(rows))


def test_features_by_hand() -> None:
    train = _columns([1.0, 3.0, np.nan], [0, 1, -1], ("a b", "a"), [0, 0, -1])
    test = _columns([np.inf, 4.0], [0, 1], ("b a b", "c"), [1, 0])
    first, second = (_encoder([train], [0])(rows).toarray() for rows in (train, test))
    # number (mean 2, deviation 1) and whether it lacks | a, the one term of two texts, and no term | red, missing
    np.testing.assert_allclose(first, [[-1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]])
    np.testing.assert_allclose(second, [[0, 1, 1, 0, 0, 0], [2, 0, 0, 1, 1, 0]])


@pytest.mark.parametrize("task", list(CLASSES))
def test_very_few_rows_and_texts_without_any_word(toy: Any, task: Any) -> None:
    table = toy.texts(task)
    few = table.train.take(np.arange(6))
    assert np.isfinite(fit_baseline(task, CLASSES[task], [few], table.validation, 0, [0]).prediction).all()
    codes = Codes(np.zeros(180, dtype=np.int32), ("",))
    silent = replace(table.train, categorical=(codes,))
    assert np.isfinite(fit_baseline(task, CLASSES[task], [silent], table.validation, 0, [0]).prediction).all()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_what_begins_where_another_penalty_ended_is_what_begins_at_nothing(toy: Any, task: Any) -> None:
    train = toy.texts(task, rows=600).train
    x = csr_array(_encoder([train], [0])(train)).astype(np.float32)
    heavy = linear._fit(task, x, train.target, 1.0)
    cold, warm = (linear._fit(task, x, train.target, 0.1, start) for start in (None, heavy))
    np.testing.assert_allclose(warm.predict_proba(x), cold.predict_proba(x), atol=0.01)
    assert np.abs(heavy.predict_proba(x) - cold.predict_proba(x)).max() > 0.05
    assert linear._fit(task, x, train.target, 0.1, cold).n_iter_[0] <= 1 < cold.n_iter_[0]


def test_a_class_that_the_choice_of_the_penalty_did_not_see_is_learned(toy: Any) -> None:
    table = toy.texts("multiclass", rows=600)
    some = linear._fit("multiclass", csr_array(np.eye(4, dtype=np.float32)), np.array([0, 0, 1, 1]), 0.1)
    whole = linear._fit("multiclass", csr_array(np.eye(4, dtype=np.float32)), np.array([0, 0, 1, 2]), 0.1, some)
    assert whole.classes_.tolist() == [0, 1, 2]
    assert table.validation.target is not None
    predict, _, size, _ = linear.fit_linear("multiclass", 4, [table.train], [0], seed=0)
    prediction = predict(table.validation)
    assert prediction.sum(axis=1) == pytest.approx(np.ones(len(prediction)))
    assert (prediction[:, 3] == 0).all()  # a class that no row has
    assert size % 3 == 0
    metrics = score("multiclass", table.validation.target, prediction)
    assert metrics["accuracy"] > 0.9
    assert metrics["log_loss"] < 0.5
