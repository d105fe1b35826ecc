from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.scoring.sample import Sample, candidates, empty, limit, merge, of_rows


def taken(sample: Sample, rows) -> Sample:
    """The sample after these rows, whose one feature has the row number as its code."""
    rows = np.asarray(rows, dtype=np.int64)
    chosen = candidates(sample, rows)
    codes = rows[chosen].astype(np.int16)[None]
    return merge(sample, of_rows(rows[chosen], codes, codes % 2))


@given(st.permutations(range(12)), st.integers(1, 12))
def test_any_chunks_in_any_order_give_the_same_sample(order, merged):
    whole = taken(empty(1, 1), np.arange(24_000))
    chunks = np.split(np.arange(24_000), 12)
    one = functools.reduce(taken, [chunks[i] for i in order[:merged]], empty(1, 1))
    other = functools.reduce(taken, [chunks[i] for i in order[merged:]], empty(1, 1))
    both = merge(one, other)
    np.testing.assert_array_equal(both.codes, whole.codes)
    np.testing.assert_array_equal(both.targets, whole.targets)
    np.testing.assert_array_equal(both.hashes, whole.hashes)


def test_a_sample_is_spread_over_the_rows():
    rows = np.sort(taken(empty(1, 1), np.arange(30_000)).codes[0])
    assert len(rows) == limit(1) == len(np.unique(rows))
    # 8,192 uniform places: none is further from its rank than 4 * 30,000 / (2 sqrt(8192))
    assert np.abs(rows - np.linspace(0, 30_000, len(rows))).max() < 663


@pytest.mark.parametrize(("features", "rows"), [(0, 8192), (100, 8192), (8192, 1024), (10**6, 512)])
def test_wide_tables_have_smaller_samples(features, rows):
    assert limit(features) == rows
