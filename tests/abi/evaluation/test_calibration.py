"""Reliability curves by hand."""

from __future__ import annotations

import numpy as np
import pytest

from abi.evaluation.calibration import calibration


def _binary(positive: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - positive, positive])


def test_binary_by_hand() -> None:
    # 20 rows: the ten lower ones at 0.2 of which two are positive, the upper ones at 0.9 of which five are
    positive = np.array([0.2] * 10 + [0.9] * 10)
    target = np.array([1, 0, 0, 0, 0] * 2 + [1, 0] * 5)
    found = calibration("binary", target, _binary(positive))
    assert sum(b.rows for b in found.bins) == 20
    # every bin has two rows: lower gaps |0.2 - observed|, upper |0.9 - 0.5|
    lower = [abs(0.2 - np.mean(target[i : i + 2])) for i in range(0, 10, 2)]
    assert found.error == pytest.approx((sum(lower) + 5 * 0.4) / 10)


def test_true_chances_have_a_small_error_and_overconfident_ones_a_large() -> None:
    random = np.random.default_rng(0)
    chance = random.random(20_000)
    target = (random.random(20_000) < chance).astype(np.int64)
    assert calibration("binary", target, _binary(chance)).error < 0.02
    assert calibration("binary", target, _binary((chance > 0.5).astype(float))).error == pytest.approx(0.25, abs=0.02)


def test_multiclass_holds_the_chosen_class_against_being_right() -> None:
    chance = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])
    found = calibration("multiclass", np.array([0, 2]), chance)
    assert [(b.predicted, b.observed) for b in found.bins] == [(0.6, 1.0), (0.8, 0.0)]
    assert found.error == pytest.approx((0.4 + 0.8) / 2)


def test_regression_is_in_the_unit_of_the_target() -> None:
    target = np.arange(100.0)
    found = calibration("regression", target, target + 3)
    assert found.error == pytest.approx(3.0)
    assert [b.rows for b in found.bins] == [10] * 10
    assert found.bins[0].predicted - found.bins[0].observed == pytest.approx(3.0)


@pytest.mark.parametrize("rows", [1, 3, 9, 10, 11])
def test_bins_are_equal_in_rows_and_none_is_empty(rows: int) -> None:
    found = calibration("regression", np.arange(float(rows)), np.arange(float(rows)))
    counts = [b.rows for b in found.bins]
    assert sum(counts) == rows
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 1
    assert found.error == 0.0
