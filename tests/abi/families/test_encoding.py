"""How columns become the trees' matrix."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from abi.data.columns import Codes, Columns
from abi.families import encoding, preparation
from abi.families.encoding import TreeEncoding, layout, learn_encoding, matrix, target_statistics
from abi.trees_capacity import TreeFeature, TreePair, TreesCapacity

CODES = np.array([0, 0, 0, 1, 1, 2, -1, 0], np.int32)
TARGET = np.array([1, 1, 0, 0, 1, 1, 0, 1])


def _capacity(treatments: dict[str, str]) -> TreesCapacity:
    features = tuple(
        TreeFeature(feature=n, bins=32, contribution=1.0, treatment=t, reason="")  # type: ignore[arg-type]
        for n, t in treatments.items()
    )
    return TreesCapacity(
        features=features, rounds=5, leaves=4, learning_rate=0.1, least_rows=1,
        feature_share=1.0, row_share=1.0, patience=5, parameters=0,
    )  # fmt: skip


def _columns(values: tuple[str, ...] = ("b", "a", "c")) -> Columns:
    return Columns(np.arange(8.0)[:, None], (Codes(CODES, values),), TARGET, np.arange(8))


def _schema(toy: Any, task: str = "binary") -> Any:
    return toy.problem({"x": "numeric", "c": "categorical"}, task).schema


def test_a_values_statistic_is_its_mean_pulled_to_the_overall_one() -> None:
    table, otherwise = target_statistics(CODES, TARGET[:, None].astype(float), 3)
    # five of eight are 1; value 0 has three of four, value 1 one of two, value 2 one of one
    np.testing.assert_allclose(table[:, 0], [(3 + 6.25) / 14, (1 + 6.25) / 12, (1 + 6.25) / 11])
    np.testing.assert_allclose(table[:, 1], np.log([5, 3, 2]))
    np.testing.assert_allclose(otherwise, [0.625, 0])


def test_categories_are_ranked_by_frequency_and_then_by_text(toy: Any) -> None:
    encoding, rows = learn_encoding(
        _schema(toy), _capacity({"x": "numeric", "c": "categories"}), _columns(("b", "a", "c")), 0
    )
    assert encoding.categories[0].values == ("b", "a", "c")
    np.testing.assert_array_equal(rows[:, 1], [0, 0, 0, 1, 1, 2, math.nan, 0])
    np.testing.assert_array_equal(rows[:, 0], np.arange(8))
    assert layout(_schema(toy), encoding).category_columns == (1,)


def test_targets_are_written_out_for_statistics_alone_and_no_wider_than_they_are(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = replace(_schema(toy, "multiclass"), classes=tuple(f"k{i}" for i in range(3000)))
    rows = replace(_columns(), target=np.array([2999, 0, 1, 1, 7, 0, 2, 2]))
    tracemalloc.start()
    targets, axes = encoding._targets(many, rows), preparation._axes(rows, many, 0.0, 1.0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3000**2
    assert [np.flatnonzero(row).tolist() for row in targets] == [[2998], [], [0], [0], [6], [], [1], [1]]
    assert np.array_equal(targets, axes[:, 1:])
    assert axes.sum(axis=1).tolist() == [1.0] * 8

    def refuse(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(encoding, "_targets", refuse)
    learn_encoding(many, _capacity({"x": "numeric", "c": "categories"}), rows, 0)


def test_codes_of_another_table_mean_the_same_values(toy: Any) -> None:
    encoding, _ = learn_encoding(_schema(toy), _capacity({"x": "numeric", "c": "categories"}), _columns(), 0)
    other = Columns(np.zeros((3, 1)), (Codes(np.array([0, 1, 2], np.int32), ("new", "c", "b")),), None, np.arange(3))
    np.testing.assert_array_equal(matrix(encoding, other)[:, 1], [math.nan, 2, 0])


def test_no_training_row_sees_its_own_target_in_a_statistic(toy: Any) -> None:
    capacity, schema = _capacity({"x": "numeric", "c": "statistics"}), _schema(toy)
    _, rows = learn_encoding(schema, capacity, _columns(), 3)
    for row in range(8):
        turned = TARGET.copy()
        turned[row] = 1 - turned[row]
        _, again = learn_encoding(schema, capacity, replace(_columns(), target=turned), 3)
        np.testing.assert_array_equal(again[row], rows[row])


def test_unknown_values_get_the_overall_statistics(toy: Any) -> None:
    encoding, _ = learn_encoding(_schema(toy), _capacity({"x": "numeric", "c": "statistics"}), _columns(), 0)
    assert encoding.categories[0].values == ("b", "a", "c")
    assert encoding.categories[0].numbers == encoding.numbers == 6
    other = Columns(np.zeros((2, 1)), (Codes(np.array([0, -1], np.int32), ("new",)),), None, np.arange(2))
    np.testing.assert_allclose(matrix(encoding, other)[:, 1:], [[0.625, 0], [0.625, 0]])
    found = matrix(encoding, _columns())[:, 1:]
    np.testing.assert_allclose(found[6], [0.625, 0])
    np.testing.assert_allclose(found[0], [9.25 / 14, math.log(5)], rtol=1e-8)


OTHER = np.array([0, 1, 0, 0, 1, 1, 0, 0], np.int32)


def _two(codes: np.ndarray = CODES, target: np.ndarray = TARGET) -> Columns:
    both = (Codes(codes, ("b", "a", "c")), Codes(OTHER, ("u", "v")))
    return Columns(np.zeros((8, 0)), both, target, np.arange(8))


def _with_pair(values: int = 9) -> TreesCapacity:
    pair = TreePair(features=("c", "d"), values=values, bins=16, contribution=0.5)
    return replace(_capacity({"c": "statistics", "d": "categories"}), pairs=(pair,))


def test_a_pairs_statistics_are_those_of_both_values_together(toy: Any) -> None:
    schema = toy.problem({"c": "categorical", "d": "categorical"}, "binary").schema
    encoding, rows = learn_encoding(schema, _with_pair(), _two(), 0)
    found = matrix(encoding, _two())
    assert found.shape == rows.shape == (8, 5)
    assert layout(schema, encoding).pair_of == (0, 0)
    assert layout(schema, encoding).members == ((0, 1),)
    # (b, u) stands in rows 0, 2 and 7, two of which are 1; the overall mean is 5/8
    np.testing.assert_allclose(found[[0, 2, 7], 3], [(2 + 6.25) / 13] * 3, rtol=1e-6)
    np.testing.assert_allclose(found[[0, 1, 3, 4, 5], 4], np.log([4, 2, 2, 2, 2]), rtol=1e-6)
    np.testing.assert_allclose(found[6, 3:], [0.625, 0])  # "c" is missing there
    assert encoding.pairs[0].numbers == 10
    back = TreeEncoding.from_json(json.loads(encoding.canonical()))
    np.testing.assert_array_equal(matrix(back, _two()), found)


def test_a_pairs_statistics_hold_no_target_of_their_own_row(toy: Any) -> None:
    schema = toy.problem({"c": "categorical", "d": "categorical"}, "binary").schema
    _, rows = learn_encoding(schema, _with_pair(), _two(), 3)
    for row in range(8):
        turned = TARGET.copy()
        turned[row] = 1 - turned[row]
        _, again = learn_encoding(schema, _with_pair(), _two(target=turned), 3)
        np.testing.assert_array_equal(again[row], rows[row])


def test_a_pair_has_no_more_entries_than_the_plan_gave_it(toy: Any) -> None:
    schema = toy.problem({"c": "categorical", "d": "categorical"}, "binary").schema
    encoding, _ = learn_encoding(schema, _with_pair(values=1), _two(), 0)
    assert encoding.pairs[0].numbers == 2
    found = matrix(encoding, _two())
    np.testing.assert_allclose(found[0, 4], math.log(4), rtol=1e-6)  # the most frequent one is kept
    np.testing.assert_allclose(found[1, 3:], [0.625, 0])


@pytest.mark.parametrize(("task", "columns"), [("binary", 2), ("multiclass", 3), ("regression", 2)])
def test_the_layout_names_the_feature_of_every_column(toy: Any, task: str, columns: int) -> None:
    schema = _schema(toy, task)
    encoding, rows = learn_encoding(schema, _capacity({"x": "numeric", "c": "statistics"}), _columns(), 0)
    found = layout(schema, encoding)
    assert found.feature_of == (0, *[1] * columns)
    assert found.category_columns == ()
    assert rows.shape == (8, 1 + columns)


def test_large_targets_keep_their_differences_in_a_pairs_statistics(toy: Any) -> None:
    schema = toy.problem({"c": "categorical", "d": "categorical"}, "regression").schema
    target = 1.7e9 + 30.0 * np.array([1, -1, 0, 2, -2, 1, 0, 3])
    encoding, _ = learn_encoding(schema, _with_pair(), _two(target=target), 0)
    found = matrix(encoding, _two())[:, 3] - target.mean()
    # (b, u) in rows 0, 2, 7: 30, 0 and 90 less the mean of 15, of weight 3 in 13
    assert found[0] == pytest.approx((30 + 0 + 90 - 3 * 15) / 13, abs=0.5)
