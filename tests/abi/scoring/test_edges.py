from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from abi.config import ScoringConfig
from abi.data.columns import Codes
from abi.scoring.edges import category_bins, find_bins, numeric_bins

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def test_quantiles_by_hand():
    bins = numeric_bins(np.arange(1.0, 9.0), 4)
    np.testing.assert_array_equal(bins.edges, [2, 4, 6, np.inf])
    np.testing.assert_array_equal(bins.levels, [2, 4, 6, 8, np.nan])
    assert bins.size == 5


def test_few_values_have_a_bin_each_with_outliers_and_missing_apart():
    bins = numeric_bins(np.array([3.0, 1.0, 1.0, 7.0, np.nan, np.inf]), 4)
    codes = bins.codes(np.array([1.0, 3.0, 7.0, 2.0, -np.inf, np.inf, 99.0, np.nan]))
    np.testing.assert_array_equal(codes, [0, 1, 2, 1, 0, 2, 2, 3])


def test_a_frequent_value_leaves_bins_to_the_others():
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    bins = numeric_bins(values, 32)
    shares = np.bincount(bins.codes(values))
    assert shares[0] == 900
    # 30 bins are left for 100 rows
    assert len(shares) == 31
    assert shares[1:].max() <= 4


@given(arrays(np.float64, st.integers(0, 60), elements=FLOATS), st.integers(4, 256))
def test_bins_are_few_ordered_and_cover_everything(values, most):
    bins = numeric_bins(values, most)
    assert len(bins.edges) <= most + 1
    assert np.all(np.diff(bins.edges) > 0)
    codes = bins.codes(values)
    np.testing.assert_array_equal(codes == len(bins.edges), np.isnan(values))
    there = ~np.isnan(values)
    order = np.argsort(values[there], kind="stable")
    assert np.all(np.diff(codes[there][order]) >= 0)


def test_no_values_at_all():
    bins = numeric_bins(np.array([np.nan, np.nan]), 8)
    np.testing.assert_array_equal(bins.codes(np.array([np.nan, 5.0])), [1, 0])


def test_categories_by_frequency_then_other_then_missing():
    bins = category_bins(Counter({"b": 2, "c": 5, "a": 2, "never": 0}), 2)
    assert bins.index == {"c": 0, "a": 1}
    column = Codes(np.array([0, 1, -1, 2, 1], dtype=np.int32), ("a", "c", "new"))
    np.testing.assert_array_equal(bins.codes(column), [1, 0, 3, 2, 0])


def test_bins_are_of_the_sample_and_bounded(reader_of):
    rng = np.random.default_rng(0)
    reader = reader_of({"x": rng.normal(size=40_000), "c": [str(i) for i in range(40_000)]}, rng.integers(0, 2, 40_000))
    bins = find_bins(reader, ScoringConfig(bins=8))
    assert bins.features[1].size == 10_002
    shares = np.bincount(bins.features[0].codes(reader.columns.numeric[:, 0])) / 40_000
    # a quantile of 8,192 sampled rows lies within 4 sqrt(pq/n) = 0.015 of the real one
    assert shares == pytest.approx(np.full(8, 1 / 8), abs=0.02)


def test_classes_beyond_the_most_frequent_share_one(reader_of):
    labels = np.concatenate([np.arange(100), np.arange(90, 100), np.full(5, 3)])
    target = find_bins(reader_of({"x": np.zeros(len(labels))}, labels, "multiclass"), ScoringConfig()).target
    assert target.size == 64
    codes = target.codes(np.array([3, 90, 0, 98, 99, -1, 88]))
    # 3 has six rows, 90..99 two each, then ties by label; the last class is the shared one
    np.testing.assert_array_equal(codes, [0, 1, 11, 9, 10, -1, 63])


def test_numeric_target_is_standardised_with_missing_apart(reader_of):
    values = np.array([0.0, 0.0, 10.0, 10.0, np.nan])
    target = find_bins(reader_of({"x": np.zeros(5)}, values, "regression"), ScoringConfig()).target
    np.testing.assert_allclose(target.coordinates[:, 0], [-1, 1])
    np.testing.assert_array_equal(target.codes(values), [0, 0, 1, 1, -1])
