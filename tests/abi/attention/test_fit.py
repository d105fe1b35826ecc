"""Scores -> attention."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.attention.fit import fit
from abi.config import AttentionConfig
from abi.types import Attention

FREE = AttentionConfig(floor=0.0, cap=1.0)


def _fit(
    toy: Any, values: list[float], temperature: float | None, config: AttentionConfig, width: float = 0.05
) -> Attention:
    problem = toy.problem({f"x{i}": "numeric" for i in range(len(values))})
    return fit(toy.scores(problem, values, width=width), temperature, config)


def test_weights_are_the_softmax_of_the_scores(toy: Any) -> None:
    found = _fit(toy, [0.0, math.log(2)], 1.0, FREE)
    assert [w.weight for w in found.weights] == pytest.approx([1 / 3, 2 / 3], abs=1e-12)
    assert found.entropy == pytest.approx(math.log(3) - 2 / 3 * math.log(2), abs=1e-9)
    assert found.effective == pytest.approx(3 / 2 ** (2 / 3), abs=1e-6)  # e to that
    assert [w.bound for w in found.weights] == [None, None]


def test_the_interval_is_what_the_weight_would_be_at_the_ends_of_its_own_score(toy: Any) -> None:
    # scores ln 2 / 2 each; the ends of the interval are 0 and ln 2: e^0 / (e^0 + sqrt 2) and 2 / (2 + sqrt 2)
    middle = math.log(2) / 2
    for weight in _fit(toy, [middle, middle], 1.0, FREE, width=middle).weights:
        assert weight.low == pytest.approx(1 / (1 + math.sqrt(2)), abs=1e-12)
        assert weight.high == pytest.approx(2 / (2 + math.sqrt(2)), abs=1e-12)


def test_the_even_split_has_neither_interval_nor_bounds(toy: Any) -> None:
    for weight in _fit(toy, [0.9, 0.1, 0.0, 0.3], None, AttentionConfig()).weights:
        assert (weight.weight, weight.low, weight.high, weight.bound) == (0.25, 0.25, 0.25, None)


def test_bounds_are_named(toy: Any) -> None:
    found = _fit(toy, [1.0, 0.5, 0.0], 0.2, AttentionConfig(floor=0.3, cap=0.5))
    assert [w.bound for w in found.weights] == ["cap", None, "floor"]
    assert [w.weight for w in found.weights] == pytest.approx([0.5, 0.4, 0.1], abs=1e-9)


def test_one_feature_takes_everything_whatever_the_cap(toy: Any) -> None:
    (only,) = _fit(toy, [0.4], 0.1, AttentionConfig(cap=0.5)).weights
    assert (only.weight, only.low, only.high) == (1.0, 1.0, 1.0)


def test_without_a_floor_no_weight_is_zero_since_training_takes_its_logarithm(toy: Any) -> None:
    found = _fit(toy, [0.0, 1.0], 0.001, FREE)
    assert min(w.weight for w in found.weights) > 0


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    temperature=st.one_of(st.none(), st.floats(0.001, 5)),
    floor=st.floats(0, 0.99),
    cap=st.floats(0.05, 1),
)
def test_weights_lie_in_their_interval_within_the_bounds_and_sum_to_one(
    toy: Any, values: list[float], temperature: float | None, floor: float, cap: float
) -> None:
    found = _fit(toy, values, temperature, AttentionConfig(floor=floor, cap=cap), width=0.2)
    assert sum(w.weight for w in found.weights) == pytest.approx(1.0, abs=1e-9)
    assert 0 <= found.entropy <= math.log(len(values)) + 1e-9
    for weight in found.weights:
        assert 0 < weight.low <= weight.weight <= weight.high <= 1
        assert found.floor - 1e-9 <= weight.weight <= found.cap + 1e-9


@settings(max_examples=40)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True), temperature=st.floats(0.05, 5))
def test_the_order_of_scores_is_the_order_of_weights(toy: Any, values: list[float], temperature: float) -> None:
    weights = [w.weight for w in _fit(toy, values, temperature, AttentionConfig()).weights]
    ranked = sorted(range(len(values)), key=lambda i: values[i])
    assert all(weights[a] <= weights[b] + 1e-12 for a, b in itertools.pairwise(ranked))
