"""One-sided conformal bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from abi.conformal import coverage, quantile


def test_the_quantile_is_the_one_that_covers_the_next() -> None:
    ratios = [0.1 * i for i in range(1, 10)]
    assert quantile(ratios, 0.9) == pytest.approx(0.9)  # ceil(10 * .9) = 9th of 9
    assert quantile(ratios[:8], 0.9) == math.inf  # ceil(9 * .9) = 9th of 8
    assert quantile(ratios, 0.5) == pytest.approx(0.5)


def test_the_bound_covers_as_often_as_it_says() -> None:
    """Exchangeable ratios: over many draws, the next lies under the bound in at least 90% of them."""
    random = np.random.default_rng(0)
    draws = random.lognormal(0, 0.3, (4000, 20))
    covered = np.mean([row[-1] <= quantile(row[:-1].tolist(), 0.9) for row in draws])
    assert 0.89 < covered < 0.93


def test_coverage_counts_each_bound_that_could_be_drawn() -> None:
    """Nine at 1.0, then 1.5 (over its bound) and 1.0 (under it); the short column says nothing."""
    assert coverage([[1.0] * 9 + [1.5, 1.0], [1.0] * 9]) == 0.5
    assert coverage([[1.0] * 9]) is None
