from __future__ import annotations

import numpy as np
import pytest

from abi.inputs.target_means import held_out_means, target_means

VALUES = np.array([0, 0, 0, 1, -1])
TARGETS = np.array([[1.0], [0.0], [1.0], [1.0], [0.0]])
FOLDS = np.array([0, 0, 1, 1, 1])


def test_means_are_drawn_to_the_prior_by_so_many_rows():
    means, times = target_means(VALUES, TARGETS, 3, np.array([0.6]), 2.0)
    # (1 + 0 + 1 + 2 * 0.6) / (3 + 2), (1 + 1.2) / 3, and a value without rows
    assert means[:, 0] == pytest.approx([0.64, 2.2 / 3, 0.6])
    assert times.tolist() == [3, 1, 0]


def test_held_out_means_are_of_the_other_folds_rows():
    means, times = held_out_means(VALUES, TARGETS, FOLDS, 3, np.array([[0.5], [0.25]]), 1.0)
    # fold 0 sees one row of value 0 with target 1; fold 1 sees two, of mean 1/2; value 1 and none fall to the prior
    assert means[:, 0] == pytest.approx([(1 + 0.5) / 2, (1 + 0.5) / 2, (1 + 0.25) / 3, 0.25, 0.25])
    assert times.tolist() == [1, 1, 2, 0, 0]


def test_a_value_seen_once_gets_exactly_the_prior_whatever_its_target():
    random = np.random.default_rng(0)
    values = np.r_[np.arange(500), np.zeros(500, int)]
    targets = random.normal(size=(1000, 2)) * [1.0, 1e9]
    priors = np.tile([0.1, 0.3], (4, 1))
    means, times = held_out_means(values, targets, np.arange(1000) % 4, 500, priors, 10.0)
    once = (values > 0) & (times == 0)
    assert once.sum() == 499
    assert np.unique(means[once], axis=0).shape == (1, 2)


def test_no_row_sees_its_own_target():
    random = np.random.default_rng(1)
    values, targets, folds = random.integers(0, 9, 60), random.random((60, 1)), np.arange(60) % 3
    priors = np.full((3, 1), 0.5)
    before, _ = held_out_means(values, targets, folds, 9, priors, 1.0)
    changed = targets.copy()
    changed[7] += 1.0
    after, _ = held_out_means(values, changed, folds, 9, priors, 1.0)
    moved = np.abs(after - before)[:, 0] > 1e-9
    assert moved.any()
    assert set(np.flatnonzero(moved)) == set(np.flatnonzero((values == values[7]) & (folds != folds[7])))


def test_the_other_folds_alone_give_the_same_as_leaving_the_fold_out():
    random = np.random.default_rng(2)
    values, targets, folds = random.integers(-1, 9, 200), random.normal(size=(200, 3)), random.integers(0, 5, 200)
    priors = random.normal(size=(5, 3))
    means, _ = held_out_means(values, targets, folds, 9, priors, 10.0)
    for fold, prior in enumerate(priors):
        inside = (folds == fold) & (values >= 0)
        alone, _ = target_means(values[folds != fold], targets[folds != fold], 9, prior, 10.0)
        assert means[inside] == pytest.approx(alone[values[inside]])
