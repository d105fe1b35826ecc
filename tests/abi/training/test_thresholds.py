"""Thresholds of labels, on chances worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from abi.metrics import at_half, score
from abi.training import thresholds
from abi.training.thresholds import choose_thresholds, common_threshold, micro_f1


def test_the_common_threshold_is_the_middle_of_the_best() -> None:
    target = np.array([[True], [True], [False], [False]])
    chance = np.array([[0.9], [0.4], [0.2], [0.1]])
    assert common_threshold(target, chance) == pytest.approx(0.31, abs=0.011)  # all of .21 to .40 are as good
    assert micro_f1(target, chance >= 0.3) == 1.0
    assert micro_f1(target, chance >= 0.5) == pytest.approx(2 / 3)  # one of two found, nothing else taken


def test_a_label_with_many_rows_gets_its_own_threshold() -> None:
    random = np.random.default_rng(0)
    target = random.random((4000, 2)) < [0.5, 0.1]
    chance = np.clip(np.where(target, [0.8, 0.30], [0.45, 0.05]) + random.normal(size=target.shape) * 0.02, 0.01, 0.99)
    found = choose_thresholds(target, chance)
    assert found[0] > 0.5
    assert found[1] < 0.3
    assert micro_f1(target, chance >= found) > 0.99
    common = common_threshold(target, chance)
    assert micro_f1(target, chance >= common) < 0.98


def test_rare_labels_are_drawn_to_the_common_threshold() -> None:
    target = np.zeros((40, 2), dtype=bool)
    target[:20, 0] = target[:2, 1] = True
    chance = np.where(target, 0.7, 0.3)
    chance[:, 1] = np.where(target[:, 1], 0.2, 0.1)
    found = thresholds._fit(target, chance, 20.0)
    own = [common_threshold(target[:, [i]], chance[:, [i]]) for i in (0, 1)]
    common = common_threshold(target, chance)
    assert found[1] == pytest.approx(expit((2 * logit(own[1]) + 20 * logit(common)) / 22))
    assert thresholds._fit(target, chance, np.inf) == pytest.approx([common, common])


def test_chances_are_moved_so_that_one_half_decides() -> None:
    chance = np.array([[0.0, 0.1], [0.2, 0.3], [0.6, 1.0]])
    moved = at_half(chance, np.array([0.2, 0.3]))
    assert moved == pytest.approx(np.array([[0.0, 1 / 6], [0.5, 0.5], [0.75, 1.0]]))
    assert ((moved >= 0.5) == (chance >= np.array([0.2, 0.3]))).all()
    tight = np.nextafter(0.3, 0)
    assert at_half(np.array([[tight]]), np.array([0.3]))[0, 0] < 0.5


def test_without_any_label_nothing_is_divided_by_zero() -> None:
    found = choose_thresholds(np.zeros((3, 2), dtype=bool), np.full((3, 2), 0.2))
    assert ((found > 0) & (found < 1)).all()
    assert score("multilabel", np.zeros((3, 2), dtype=bool), at_half(np.full((3, 2), 0.2), found))
