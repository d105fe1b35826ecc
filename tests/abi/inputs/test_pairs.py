"""Which pairs of categories are looked at, and how two values become one."""

from __future__ import annotations

from typing import Any

import numpy as np

from abi.data.columns import Codes
from abi.inputs.pairs import find_pairs, frequent, joint_codes, places_in, thinned


def test_two_values_are_one_number_and_none_where_one_is_missing() -> None:
    first, second = np.array([0, 1, -1, 2]), np.array([3, 0, 1, -1])
    np.testing.assert_array_equal(joint_codes(first, second, 4), [3, 4, -1, -1])


def test_the_most_frequent_keys_are_kept_in_ascending_order() -> None:
    joint = np.array([7, 7, 2, 9, 9, 9, -1])
    np.testing.assert_array_equal(frequent(joint, 2), [7, 9])
    np.testing.assert_array_equal(places_in(frequent(joint, 2), joint), [0, 0, -1, 1, 1, 1, -1])
    np.testing.assert_array_equal(places_in(frequent(joint, 0), joint), [-1] * 7)


def test_a_feature_that_another_determines_makes_no_pair_with_it(toy: Any) -> None:
    random = np.random.default_rng(0)
    team, place = random.integers(0, 6, 200).astype(np.int32), random.integers(0, 4, 200).astype(np.int32)
    kinds = {
        "x": "numeric",
        "team": "categorical",
        "floor": "categorical",
        "place": "categorical",
        "two": "categorical",
    }
    schema = toy.problem(kinds, "binary", {"x": 200, "team": 6, "floor": 3, "place": 4, "two": 2}).schema
    codes = [
        Codes(values, tuple(map(str, range(values.max() + 1))))
        for values in (team, team // 2, place, (team % 2).astype(np.int32))
    ]
    found = find_pairs(schema, codes, {"x": 1.0, "team": 0.1, "floor": 0.2, "place": 0.3, "two": 0.9})
    assert [pair.features for pair in found] == [("place", "floor"), ("place", "team")]
    assert thinned(found) == (found[0],)  # of 12 values, the other has 24
    assert found[1].values == len(set(zip(team, place, strict=True)))


def test_pairs_that_are_another_in_nearly_every_row_are_left_out(toy: Any) -> None:
    number = np.arange(200, dtype=np.int32)
    schema = toy.problem({"a": "categorical", "b": "categorical"}, "binary", {"a": 20, "b": 20}).schema
    names = tuple(map(str, range(20)))
    once = [Codes(number // 10, names), Codes(number % 10 + number // 100 * 10, names)]
    twice = [Codes(number // 10, names), Codes(number % 10 // 2, names)]
    relevance = {"a": 1.0, "b": 1.0}
    assert find_pairs(schema, once, relevance) == ()
    assert find_pairs(schema, twice, relevance)[0].values == 100
