"""Discrimination, complexity and redundancy."""

from __future__ import annotations

import numpy as np
import pytest

from abi.scoring.complexity import cardinality, curvature
from abi.scoring.counts import group_of, views
from abi.scoring.discrimination import discrimination
from abi.scoring.edges import numeric_bins
from abi.scoring.redundancy import redundancy

GROUPS = 4


def table_of(codes, labels, bins, classes):
    table = np.zeros((bins, GROUPS, classes), dtype=np.int32)
    np.add.at(table, (codes, group_of(np.arange(len(codes)), GROUPS), labels), 1)
    return table


def test_held_out_r2_by_hand():
    # two groups, each with ten rows of class 0 in bin 0 and ten of class 1 in bin 1: a bin's mean is
    # (10 e + 10 * 0.5) / 20 = (0.75, 0.25), its error 2 * 0.25^2 = 0.125 a row, that of the overall mean 0.5
    table = np.zeros((2, 2, 2), dtype=np.int32)
    table[0, :, 0] = table[1, :, 1] = 10
    np.testing.assert_allclose(discrimination(table, np.eye(2)), 0.75)


def test_many_categories_without_signal_gain_nothing():
    rng = np.random.default_rng(0)
    table = table_of(rng.integers(0, 1000, 4000), rng.integers(0, 2, 4000), 1000, 2)
    assert (discrimination(table, np.eye(2)) <= 0).all()


def test_held_out_r2_of_a_known_share():
    # y = x + noise of equal variance, x in {-1, 1}: half of the variance is explained
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2, 50_000)
    y = 2.0 * codes - 1 + rng.normal(size=50_000)
    target = numeric_bins(y, 64)
    labels = target.codes(y)
    means = np.bincount(labels, y) / np.bincount(labels)
    found = discrimination(table_of(codes, labels, 2, len(means)), means[:, None])
    np.testing.assert_allclose(found, 0.5, atol=0.02)
    # scale and origin of the target do not matter
    np.testing.assert_allclose(
        discrimination(table_of(codes, labels, 2, len(means)), 3 * means[:, None] - 7), found, rtol=1e-9
    )


def test_a_line_is_simple_and_a_parabola_is_not():
    levels = np.arange(-5.0, 6.0)
    line, parabola = np.zeros((11, 1, 11)), np.zeros((11, 1, 26))
    line[np.arange(11), 0, np.arange(11)] = 1000
    parabola[np.arange(11), 0, (levels**2).astype(int)] = 1000
    straight = curvature(line.transpose(1, 0, 2), levels, np.arange(11.0)[:, None])
    bent = curvature(parabola.transpose(1, 0, 2), levels, np.arange(26.0)[:, None])
    assert straight[0] == pytest.approx(0.0, abs=2e-3)
    assert bent[0] == pytest.approx(1.0, abs=2e-3)


def test_noise_is_not_complex():
    rng = np.random.default_rng(2)
    x = rng.normal(size=3000)
    bins = numeric_bins(x, 32)
    shares = [
        curvature(views(table_of(bins.codes(x), rng.integers(0, 2, 3000), bins.size, 2)), bins.levels, np.eye(2))[0]
        for _ in range(40)
    ]
    assert np.mean(shares) < 0.15


def test_a_missing_bin_is_no_place_on_the_line():
    levels = np.array([0.0, 1.0, np.nan])
    table = np.array([[[50.0, 0.0], [0.0, 50.0], [30.0, 70.0]]])
    without = np.array([[[50.0, 0.0], [0.0, 50.0]]])
    assert curvature(table, levels, np.eye(2)) == pytest.approx(curvature(without, levels[:2], np.eye(2)))


def test_effective_cardinality_by_hand():
    # log 16 / log 256
    assert cardinality(np.full((1, 16, 2), 5.0))[0] == pytest.approx(0.5)
    assert cardinality(np.array([[[9.0, 1.0]]]))[0] == 0.0


def test_redundancy_of_copies_functions_and_strangers():
    rng = np.random.default_rng(3)
    best = rng.integers(0, 8, 6000)
    coarse, other = best // 4, rng.integers(0, 8, 6000)
    sample = np.stack([best, 7 - best, coarse, other]).astype(np.int16)
    found = redundancy(sample, np.array([0, 3, 1, 2]))
    assert found[0] == 0.0
    assert found[3] < 0.02
    np.testing.assert_allclose(found[[1, 2]], 1.0, atol=0.02)
    # seen from the other end, a half of the values tells only a part of them: (1 - 2^-2) / (1 - 8^-2)
    assert redundancy(sample, np.array([2, 0]))[0] == pytest.approx((1 - 1 / 4) / (1 - 1 / 64), abs=0.02)


def test_redundancy_of_gaussians_is_near_their_squared_correlation():
    rng = np.random.default_rng(4)
    x = rng.normal(size=8000)
    y = 0.8 * x + 0.6 * rng.normal(size=8000)
    sample = np.stack([numeric_bins(v, 32).codes(v) for v in (x, y)]).astype(np.int16)
    # eight levels lose a little of 0.64
    assert 0.5 < redundancy(sample, np.array([0, 1]))[1] < 0.68


def test_redundancy_looks_at_the_best_features_only():
    codes = np.tile(np.arange(8, dtype=np.int16), 100)
    found = redundancy(np.tile(codes, (300, 1)), np.arange(300))
    assert found[255] == pytest.approx(1.0, abs=0.02)
    np.testing.assert_array_equal(found[256:], 0.0)
    np.testing.assert_array_equal(redundancy(np.zeros((3, 0), dtype=np.int16), np.arange(3)), 0.0)
