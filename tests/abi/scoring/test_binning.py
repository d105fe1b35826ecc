from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from abi.scoring.binning import blocks_of
from abi.scoring.edges import numeric_bins

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def columns_of(seed, rows=3000):
    """Columns that suit a grid, and some that do not."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=rows)
    gone = np.where(rng.random(rows) < 0.4, np.nan, normal)
    return [
        normal,
        1.7e9 + 1e-3 * normal,
        1e-300 * normal,
        np.exp(4 * normal),
        np.round(8 * normal),
        np.where(normal > 0, 0.0, normal),
        rng.integers(0, 3, rows).astype(float),
        gone,
        1e308 * np.clip(normal, -1, 1),
        5e-324 * rng.integers(0, 100, rows),
        np.full(rows, np.nan),
    ]


def found_in_blocks(columns, values, most, step=3):
    """The codes of `values` in every column, by blocks and one column at a time."""
    bins = [numeric_bins(column, 32) for column in columns]
    found = np.full((len(columns), len(values)), -1)
    for block in blocks_of(bins, step, most):
        matrix = np.tile(values, (len(block.places), 1))
        codes = block.codes(matrix)
        found[list(block.features)] = codes
        first = np.arange(len(codes))[:, None] * block.stride
        np.testing.assert_array_equal(block.cells(matrix), first + codes * step)
    return found, np.stack([one.codes(values) for one in bins])


@pytest.mark.parametrize("most", [1, 3, 100])
@settings(deadline=None, max_examples=50)
@given(arrays(np.float64, 30, elements=FLOATS))
def test_any_value_has_the_bin_that_a_search_finds(most, values):
    blocks, searched = found_in_blocks(columns_of(0), values, most)
    np.testing.assert_array_equal(blocks, searched)


@pytest.mark.parametrize("seed", range(3))
def test_edges_and_their_neighbours_have_the_bin_that_a_search_finds(seed):
    columns = columns_of(seed)
    edges = np.concatenate([numeric_bins(column, 32).edges for column in columns])
    values = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), columns[0], columns[3]])
    blocks, searched = found_in_blocks(columns, values, 4)
    np.testing.assert_array_equal(blocks, searched)


def test_smooth_columns_are_on_a_grid_and_few_values_are_not():
    columns = columns_of(0)
    on_grid = {
        i for block in blocks_of([numeric_bins(c, 32) for c in columns], 1, 1) if block.grid for i in block.features
    }
    assert {0, 2, 7} <= on_grid
    assert not on_grid & {4, 6, 8, 9, 10}


def test_other_features_are_passed_over():
    x = np.arange(100.0)
    one = numeric_bins(x, 32)
    (block,) = blocks_of([None, one, None, one], 1, 8)
    assert (block.features, block.places) == ((1, 3), (0, 1))
    assert blocks_of([None], 1, 8) == []
