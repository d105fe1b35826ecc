"""Quality group by group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Codes, Columns
from abi.evaluation.slices import slices
from abi.outcomes import Slice


@pytest.fixture(scope="module", name="trained")
def _trained(toy: Any) -> Any:
    return toy.fitted(toy.table("regression", numeric=1, categorical=1)).trained


def _rows(numeric: Any, codes: Any, values: tuple[str, ...] = ("a", "b")) -> Columns:
    rows = len(numeric)
    column = np.array(numeric, dtype=np.float64)[:, None]
    return Columns(column, (Codes(np.array(codes, dtype=np.int32), values),), np.zeros(rows), np.arange(rows))


def _slices(
    toy: Any, trained: Any, rows: Columns, error: Any, attention: Any = (0.6, 0.4), **settings: Any
) -> tuple[Slice, ...]:
    config = toy.config(evaluation__slice_rows=2, **settings)
    prediction = np.array(error, dtype=np.float64)
    return slices(replace(trained, attention=attention), rows, prediction, "mae", config)


def test_quarters_of_a_numeric_feature_by_hand(toy: Any, trained: Any) -> None:
    rows = _rows(np.arange(9.0), [0] * 9)  # quartiles 0, 2, 4, 6, 8
    found = _slices(toy, trained, rows, [1, 1, 2, 2, 3, 3, 4, 4, 4], evaluation__slices=1)
    assert [(s.group, s.rows, s.metric.value) for s in found] == [
        ("0 to 2", 2, 1.0),
        ("2 to 4", 2, 2.0),
        ("4 to 6", 2, 3.0),
        ("6 to 8", 3, 4.0),
    ]


def test_rows_in_order_of_time_are_resampled_in_blocks(toy: Any, trained: Any) -> None:
    rows = _rows([0.0] * 400, [0, 1] * 200)
    errors = np.repeat([1.0, 2.0, 3.0, 4.0], 100)  # rows are like those beside them
    attention = trained.plan.attention
    problem = replace(attention.scores.problem, split=replace(attention.scores.problem.split, order="day"))
    plan = replace(trained.plan, attention=replace(attention, scores=replace(attention.scores, problem=problem)))
    plain = _slices(toy, trained, rows, errors, attention=(0.4, 0.6), evaluation__slices=1)
    ordered = _slices(toy, replace(trained, plan=plan), rows, errors, attention=(0.4, 0.6), evaluation__slices=1)
    assert len(plain) == len(ordered) == 2
    for one, other in zip(plain, ordered, strict=True):
        assert one.metric.value == other.metric.value
        assert other.metric.high - other.metric.low > 1.5 * (one.metric.high - one.metric.low)


def test_categories_by_frequency_and_missing_ones_last(toy: Any, trained: Any) -> None:
    rows = _rows([0.0] * 7, [0, 0, 1, 1, 1, -1, -1])
    found = _slices(toy, trained, rows, [1, 1, 2, 2, 2, 3, 3], attention=(0.4, 0.6), evaluation__slices=1)
    assert [(s.feature, s.group, s.rows, s.metric.value) for s in found] == [
        ("c0", "b", 3, 2.0),
        ("c0", "a", 2, 1.0),
        ("c0", "missing", 2, 3.0),
    ]


def test_features_with_the_most_attention_come_first(toy: Any, trained: Any) -> None:
    rows = _rows(np.arange(8.0), [0, 1] * 4)
    found = _slices(toy, trained, rows, np.ones(8), attention=(0.3, 0.7))
    assert list(dict.fromkeys(s.feature for s in found)) == ["c0", "x0"]
    assert _slices(toy, trained, rows, np.ones(8), evaluation__slices=0) == ()


def test_small_groups_are_left_out(toy: Any, trained: Any) -> None:
    rows = _rows([0.0] * 4, [0, 0, 0, 1])
    found = _slices(toy, trained, rows, np.ones(4), attention=(0.4, 0.6), evaluation__slices=1)
    assert [s.group for s in found] == ["a"]


def test_groups_where_the_metric_is_not_defined_are_left_out(toy: Any) -> None:
    trained = toy.fitted(toy.table("binary", numeric=1, categorical=1)).trained
    rows = replace(_rows([0.0] * 8, [0, 0, 0, 0, 1, 1, 1, 1]), target=np.array([0, 1, 0, 1, 1, 1, 1, 1]))
    chance = np.array([0.2, 0.8, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5])
    config = toy.config(evaluation__slice_rows=2, evaluation__slices=1)
    found = slices(
        replace(trained, attention=(0.4, 0.6)), rows, np.column_stack([1 - chance, chance]), "roc_auc", config
    )
    assert [(s.group, s.metric.value) for s in found] == [("a", 1.0)]


def test_missing_and_infinite_numbers(toy: Any, trained: Any) -> None:
    rows = _rows([0.0, 1.0, 2.0, 3.0, np.nan, np.nan, np.inf, -np.inf], [0] * 8)
    found = _slices(toy, trained, rows, np.ones(8), evaluation__slices=1)
    assert [s.group for s in found][-1] == "missing"
    assert _slices(toy, trained, _rows([np.nan] * 4, [0] * 4), np.ones(4), evaluation__slices=1) == ()


def test_a_group_of_only_infinite_values_is_no_group(toy: Any, trained: Any) -> None:
    assert _slices(toy, trained, _rows([np.inf] * 4, [0] * 4), np.ones(4), evaluation__slices=1) == ()


def test_every_group_of_a_large_number_has_a_name_of_its_own(toy: Any, trained: Any) -> None:
    stamps = 1.7e9 + np.arange(40.0) * 3600  # seconds of forty hours
    groups = [s.group for s in _slices(toy, trained, _rows(stamps, [0] * 40), np.ones(40), evaluation__slices=1)]
    assert len(set(groups)) == len(groups) == 4


def test_all_rows_are_no_group_and_edges_are_written_out(toy: Any, trained: Any) -> None:
    assert _slices(toy, trained, _rows([1.0] * 40, [0] * 40), np.ones(40), evaluation__slices=2) == ()
    sizes = np.linspace(1000.0, 54_321.0, 40)
    groups = [s.group for s in _slices(toy, trained, _rows(sizes, [0] * 40), np.ones(40), evaluation__slices=1)]
    assert groups == ["1000 to 14330", "14330 to 27660", "27660 to 40990", "40990 to 54320"]


def test_texts_have_no_groups_and_take_no_place(toy: Any) -> None:
    table = toy.texts("regression", numeric=1)
    trained = toy.fitted(table, epochs=1).trained
    found = _slices(toy, trained, table.validation, table.validation.target, (0.9, 0.1), evaluation__slices=1)
    assert {s.feature for s in found} == {"x0"}
