from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.config import ScoringConfig
from abi.scoring.counts import add, count, empty, group_of, merge, shards, views
from abi.scoring.edges import find_bins
from abi.scoring.score import from_counts, score

CONFIG = ScoringConfig(bins=4, target_bins=4, groups=4)


@pytest.fixture(scope="module", params=["binary", "regression"])
def reader(request, reader_of):
    rng = np.random.default_rng(7)
    x = rng.normal(size=120)
    x[::11] = np.nan
    names = [None if i % 13 == 0 else f"v{i % 5}" for i in range(120)]
    target = rng.normal(size=120) if request.param == "regression" else rng.integers(0, 2, 120)
    return reader_of({"x": x, "c": names}, target, request.param)


def equal(first, second):
    assert first.rows == second.rows
    for a, b in zip(first.tables, second.tables, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.sample.hashes, second.sample.hashes)
    np.testing.assert_array_equal(first.sample.codes, second.sample.codes)


def test_each_row_counts_once_in_its_own_cell(reader_of):
    reader = reader_of({"x": np.array([1.0, 1.0, 2.0, np.nan])}, [0, 1, 1, 0])
    bins = find_bins(reader, CONFIG)
    counts = count(reader, bins, CONFIG)
    np.testing.assert_array_equal(counts.tables[0].sum(axis=1), [[1, 1], [0, 1], [1, 0]])
    groups = group_of(np.arange(4), 4)
    for row, (bin_, label) in enumerate([(0, 0), (0, 1), (1, 1), (2, 0)]):
        assert counts.tables[0][bin_, groups[row], label] >= 1


@settings(deadline=None)
@given(data=st.data())
def test_shards_in_any_order_and_grouping_give_the_single_pass(reader, data):
    bins = find_bins(reader, CONFIG)
    whole = count(reader, bins, CONFIG)
    shard = data.draw(st.lists(st.integers(0, 3), min_size=120, max_size=120))
    shards = [
        add(
            empty(bins, CONFIG.groups),
            reader.columns.take(np.flatnonzero(np.array(shard) == k)),
            reader.problem.schema,
            bins,
        )
        for k in range(4)
    ]
    a, b, c, d = (shards[i] for i in data.draw(st.permutations(range(4))))
    equal(merge(merge(merge(a, b), c), d), whole)
    equal(merge(a, merge(b, merge(c, d))), whole)
    equal(merge(whole, empty(bins, CONFIG.groups)), whole)


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_scores_of_merged_shards_are_those_of_the_single_pass(reader, data):
    bins = find_bins(reader, CONFIG)
    cuts = sorted(data.draw(st.lists(st.integers(0, 120), max_size=5)))
    parts = [range(a, b) for a, b in itertools.pairwise([0, *cuts, 120])]
    shuffled = data.draw(st.permutations(parts))
    merged = functools.reduce(merge, [count(reader, bins, CONFIG, part) for part in shuffled])
    found = from_counts(merged, bins, reader.problem, CONFIG)
    assert found.canonical() == score(reader, CONFIG).canonical()


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards_are_all_rows_once(rows, parts):
    cut = shards(rows, parts)
    assert [row for part in cut for row in part] == list(range(rows))
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunk_size_does_not_matter(reader, rows):
    bins = find_bins(reader, CONFIG)
    equal(count(reader, bins, CONFIG.model_copy(update={"chunk_rows": rows})), count(reader, bins, CONFIG))


def test_rows_without_a_target_are_left_out(reader_of):
    reader = reader_of({"x": np.arange(5.0)}, [1.0, np.nan, 2.0, np.nan, 3.0], "regression")
    counts = count(reader, find_bins(reader, ScoringConfig(bins=8)), CONFIG)
    assert counts.rows == 3
    np.testing.assert_array_equal(counts.tables[0].sum(axis=(1, 2))[:5], [1, 0, 1, 0, 1])


def test_values_outside_the_sample_are_counted_as_other(reader_of):
    reader = reader_of({"c": ["a", "a", "b", None, "z"]}, [0, 1, 0, 1, 1])
    seen = reader_of({"c": ["a", "b", "a"]}, [0, 1, 1])
    bins = find_bins(seen, CONFIG)
    counts = count(reader, bins, CONFIG)
    # a, b, other, missing
    np.testing.assert_array_equal(counts.tables[0].sum(axis=(1, 2)), [2, 1, 1, 1])


def test_groups_are_even_and_do_not_depend_on_order():
    groups = group_of(np.arange(100_000), 10)
    # binomial: 10,000 +- 4.5 sd of 95
    assert np.abs(np.bincount(groups) - 10_000).max() < 430
    np.testing.assert_array_equal(group_of(np.array([70_000, 5]), 10), groups[[70_000, 5]])


def test_views_leave_one_group_out():
    table = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], dtype=np.int32)
    np.testing.assert_array_equal(views(table), [[[4, 6], [12, 14]], [[3, 4], [7, 8]], [[1, 2], [5, 6]]])
