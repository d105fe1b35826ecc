"""The rungs that a feature can climb."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.inputs.categorical import EXTRA_ROWS
from abi.inputs.kind import EVEN_WIDTH, MAX_ROWS, WIDTHS
from abi.planning.ladder import ladder, step
from abi.problem import Feature


def _feature(kind: Any, distinct: int) -> Feature:
    return Feature(name="x", column="x", kind=kind, distinct=distinct, missing_share=0.0)


features = st.builds(_feature, st.sampled_from(["numeric", "categorical", "boolean"]), st.integers(0, 10_000))


@settings(max_examples=100)
@given(features, st.integers(2, 256), st.integers(0, 600))
def test_every_rung_is_wider_and_costs_more(feature: Feature, bins: int, per_width: int) -> None:
    rungs = ladder(feature, bins)
    assert rungs
    assert rungs[0].width == WIDTHS[0]
    for low, high in pairwise(rungs):
        assert high.width > low.width
        assert high.bins >= low.bins
        assert high.parameters(per_width) > low.parameters(per_width)


@settings(max_examples=100)
@given(st.integers(0, 300), st.integers(2, 256), st.sampled_from(WIDTHS))
def test_a_numeric_feature_has_no_more_bins_than_gaps_between_its_values(distinct: int, bins: int, width: int) -> None:
    rung = step(_feature("numeric", distinct), width, bins)
    assert 1 <= rung.bins <= max(1, distinct - 1)
    assert (rung.rows, rung.width) == (0, width)


@pytest.mark.parametrize("bins", [16, 48, 64])
def test_at_the_even_width_a_rich_numeric_feature_has_the_bins_that_were_asked_for(bins: int) -> None:
    assert step(_feature("numeric", 10_000), EVEN_WIDTH, bins).bins == bins


def test_a_category_has_a_row_per_value_up_to_a_limit_and_the_extra_ones() -> None:
    assert step(_feature("categorical", 5), 2, 64).rows == 5 + EXTRA_ROWS
    assert step(_feature("categorical", 10**6), 2, 64).rows == MAX_ROWS + EXTRA_ROWS


def test_parameters_by_hand() -> None:
    # numeric, 2 distinct values: 1 bin, so 2 knots + slope, base, missing = 5 rows of width 3; 3 columns above of 10
    assert step(_feature("numeric", 2), 3, 64).parameters(10) == 3 * 5 + 3 * 10
    # boolean: two values, unseen, missing
    assert step(_feature("boolean", 2), 3, 64).parameters(10) == 3 * 4 + 3 * 10
