from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.cluster import expected_mutual_information

from abi.scoring.relevance import entropy, expected_information, information, relevance

TABLES = arrays(np.int64, st.tuples(st.integers(2, 6), st.integers(2, 4)), elements=st.integers(0, 40)).filter(
    lambda table: table.sum() > 1
)


def one(table):
    return np.asarray(table, dtype=float)[None]


def test_information_by_hand():
    # log 2 - H(1/4) = 0.693147 - 0.562335
    assert information(one([[3, 1], [1, 3]]))[0] == pytest.approx(0.130812, abs=1e-6)
    assert information(one([[2, 4], [1, 2]]))[0] == pytest.approx(0.0, abs=1e-12)
    assert entropy(one([1, 1, 1, 1]))[0] == pytest.approx(np.log(4))


def test_the_mean_over_all_shuffles_is_exact():
    bins, labels = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    tables = np.zeros((720, 3, 2))
    for table, order in zip(tables, permutations(labels.tolist()), strict=True):
        np.add.at(table, (bins, np.array(order)), 1)
    assert expected_information(tables[:1])[0] == pytest.approx(information(tables).mean(), rel=1e-9)


@given(TABLES)
def test_the_mean_is_that_of_another_implementation(table):
    kept = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    theirs = expected_mutual_information(kept, int(kept.sum())) if min(kept.shape) > 1 else 0.0
    assert expected_information(one(table))[0] == pytest.approx(theirs, rel=5e-3, abs=1e-9)


def test_with_many_rows_the_mean_is_miller_and_madows():
    table = np.full((32, 4), 1_000_000.0)
    # 31 * 3 / (2 n)
    assert expected_information(one(table))[0] == pytest.approx(93 / (2 * 128e6), rel=1e-3)


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_bins_and_an_empty_bin_do_not_matter(table, random):
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = np.vstack([table[order], np.zeros((1, table.shape[1]))])
    np.testing.assert_allclose(relevance(one(table)), relevance(one(shuffled)), atol=1e-9)


def test_what_tells_all_and_what_tells_nothing():
    assert relevance(one(np.diag([50, 30, 20])))[0] == pytest.approx(1.0)
    assert relevance(one(np.outer([4, 6], [50, 50])))[0] == 0.0
    # each row has a value of its own: plug-in information is all of H(Y), and so is chance's
    labels = np.arange(100) % 2
    assert relevance(one(np.eye(2)[labels]))[0] == pytest.approx(0.0, abs=1e-9)
    assert relevance(one([[40, 0], [60, 0]]))[0] == 0.0
    assert relevance(one(np.zeros((3, 2))))[0] == 0.0


def test_views_are_worked_out_apart():
    tables = np.array([[[30.0, 5], [2, 9]], [[3.0, 5], [2, 9]], [[0.0, 0], [0, 0]]])
    alone = [relevance(table[None])[0] for table in tables]
    np.testing.assert_allclose(relevance(tables), alone, rtol=1e-12)
