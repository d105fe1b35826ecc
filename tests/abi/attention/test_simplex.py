"""Softmax, entropy, distance and the balance of floor and cap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from abi.attention.simplex import balance, distance, entropy, softmax

scores = st.lists(st.floats(0, 1), min_size=1, max_size=12).map(np.array)
temperatures = st.floats(0.001, 10)


def test_softmax_of_zero_and_log_two_is_one_and_two_thirds() -> None:
    assert_allclose(softmax(np.array([0.0, math.log(2)]), 1.0), [1 / 3, 2 / 3], rtol=1e-15)


def test_half_the_temperature_squares_the_ratio() -> None:
    assert_allclose(softmax(np.array([0.0, math.log(2)]), 0.5), [1 / 5, 4 / 5], rtol=1e-15)


def test_no_temperature_is_the_even_split() -> None:
    assert softmax(np.array([0.9, 0.1, 0.5, 0.2]), None).tolist() == [0.25] * 4


def test_a_very_low_temperature_gives_all_to_the_best_without_overflow() -> None:
    assert softmax(np.array([0.0, 1.0]), 1e-6).tolist() == [0.0, 1.0]


@given(scores, temperatures, st.floats(-1, 1))
def test_softmax_sums_to_one_and_ignores_a_common_shift(values: np.ndarray, temperature: float, shift: float) -> None:
    weights = softmax(values, temperature)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert_allclose(softmax(values + shift, temperature), weights, atol=1e-9)


def test_entropy_is_zero_for_one_feature_and_log_n_for_the_even_split() -> None:
    assert entropy(np.array([1.0, 0.0])) == 0.0
    assert entropy(np.full(8, 1 / 8)) == pytest.approx(3 * math.log(2))


def test_distance_is_the_share_that_moved() -> None:
    assert distance(np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])) == pytest.approx(0.2)
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


def test_what_exceeds_the_cap_goes_to_the_others_in_ratio() -> None:
    assert_allclose(balance(np.array([0.7, 0.2, 0.1]), 0.0, 0.5), [1 / 2, 1 / 3, 1 / 6], rtol=1e-12)


def test_what_the_floor_needs_is_taken_from_the_others_in_ratio() -> None:
    # the last one rises to 0.1; the others share 0.9 as 6 to 3.9
    assert_allclose(balance(np.array([0.6, 0.39, 0.01]), 0.1, 1.0), [0.9 * 60 / 99, 0.9 * 39 / 99, 0.1], rtol=1e-12)


def test_floor_and_cap_together() -> None:
    # cap takes 0.4, the floors 0.1 each, and 0.4 is left for the free one
    assert_allclose(balance(np.array([0.8, 0.18, 0.01, 0.01]), 0.1, 0.4), [0.4, 0.4, 0.1, 0.1], rtol=1e-9)


def test_weights_that_underflowed_to_zero_share_what_the_cap_leaves() -> None:
    assert_allclose(balance(np.array([1.0, 0.0, 0.0]), 0.0, 0.5), [0.5, 0.25, 0.25], rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_cap_below_the_even_share_counts_as_the_even_share(count: int) -> None:
    weights = np.arange(1.0, count + 1)
    assert_allclose(balance(weights / weights.sum(), 0.0, 0.01), np.full(count, 1 / count), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_floor_of_the_even_share_leaves_no_choice(count: int) -> None:
    weights = np.arange(1.0, count + 1)
    assert_allclose(balance(weights / weights.sum(), 1 / count, 1.0), np.full(count, 1 / count), rtol=1e-12)


def test_a_floor_above_the_even_share_is_our_own_error() -> None:
    with pytest.raises(AssertionError, match="floors"):
        balance(np.array([0.5, 0.5]), 0.6, 1.0)


@given(scores, temperatures, st.floats(0, 1), st.floats(0.05, 1))
def test_balanced_weights_are_on_the_simplex_within_bounds_and_keep_free_ratios(
    values: np.ndarray, temperature: float, floor_share: float, cap: float
) -> None:
    weights, count = softmax(values, temperature), len(values)
    floor, cap = floor_share / count, max(cap, 1 / count)
    balanced = balance(weights, floor, cap)
    assert balanced.sum() == pytest.approx(1.0, abs=1e-12)
    assert (balanced >= floor - 1e-12).all()
    assert (balanced <= cap + 1e-12).all()
    free = (balanced > floor * (1 + 1e-9)) & (balanced < cap * (1 - 1e-9)) & (weights > 1e-200)
    if free.sum() > 1:
        ratios = balanced[free] / weights[free]
        assert_allclose(ratios, ratios[0], rtol=1e-6)
        # projection: what is on a bound would be beyond it at the free ones' scale
        assert (weights[balanced <= floor * (1 - 1e-9)] * ratios[0] <= floor).all()


@given(scores, temperatures, st.floats(0, 0.9), st.floats(0.05, 1), st.randoms(use_true_random=False))
def test_balance_does_not_depend_on_the_order_of_features(
    values: np.ndarray, temperature: float, floor: float, cap: float, random: object
) -> None:
    weights = softmax(values, temperature)
    order = np.arange(len(values))
    random.shuffle(order)  # type: ignore[attr-defined]
    floor /= len(values)
    assert_allclose(balance(weights[order], floor, cap), balance(weights, floor, cap)[order], atol=1e-9)


@given(scores, temperatures, st.floats(0, 0.9), st.floats(0.3, 1))
def test_balancing_twice_changes_nothing(values: np.ndarray, temperature: float, floor: float, cap: float) -> None:
    once = balance(softmax(values, temperature), floor / len(values), cap)
    assert_allclose(balance(once, floor / len(values), cap), once, atol=1e-9)
