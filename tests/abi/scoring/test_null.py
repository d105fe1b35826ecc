from __future__ import annotations

import numpy as np
import pytest

from abi.scoring.null import discoveries, null
from abi.scoring.relevance import information, relevance


def table_of(codes, labels, bins, classes):
    return np.bincount(codes * classes + labels, minlength=bins * classes).reshape(1, bins, classes).astype(float)


def test_step_up_by_hand():
    # limits 0.0125, 0.025, 0.0375, 0.05: the second fails its own but the third passes
    np.testing.assert_array_equal(discoveries(np.array([0.03, 0.9, 0.01, 0.026]), 0.05), [True, False, True, True])
    np.testing.assert_array_equal(discoveries(np.array([0.04, 0.9]), 0.05), [False, False])


@pytest.mark.parametrize(
    ("rows", "bins", "positives", "tilt"),
    [(4000, 16, 0.4, 0.06), (150, 30, 0.4, 0.3), (2000, 1200, 0.3, 0.0), (20_000, 12, 0.002, 0.0005)],
    ids=["chi-square", "few rows", "many categories", "rare class"],
)
def test_p_value_and_point_are_those_of_shuffling(rows, bins, positives, tilt):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, bins, rows)
    labels = (rng.random(rows) < positives + tilt * (codes % 2)).astype(int)
    table = table_of(codes, labels, bins, 2)
    shuffled = np.concatenate([table_of(codes, rng.permutation(labels), bins, 2) for _ in range(2000)])
    point, p_value = null(table, 200, (0,))
    share = (information(shuffled) >= information(table)[0]).mean()
    # 2,000 shuffles know the share to 0.01, 200 tables the spread to a twentieth
    assert p_value == pytest.approx(share, abs=0.05)
    reached = np.quantile(relevance(shuffled), 0.95)
    assert point == pytest.approx(reached, rel=0.15)


def noise_and_weak(rng, rows, noise, weak, effect):
    """Tables of features that carry nothing and of some that shift the target's odds a little."""
    score = np.zeros(rows)
    codes = []
    for position in range(noise + weak):
        column = rng.integers(0, 16, rows)
        if position < weak:
            score += effect * np.where(column < 8, -1, 1)
        codes.append(column)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-score))).astype(int)
    return [table_of(column, labels, 16, 2) for column in codes]


def test_noise_is_rarely_taken_for_signal():
    rng = np.random.default_rng(6)
    found = 0
    for repeat in range(80):
        p_values = np.array([null(t, 32, (repeat, i))[1] for i, t in enumerate(noise_and_weak(rng, 400, 10, 0, 0.0))])
        found += bool(discoveries(p_values, 0.05).any())
    # 80 * 0.05 = 4; three standard deviations of 1.95 above it
    assert found <= 10


def test_weak_signals_are_found_and_few_others():
    rng = np.random.default_rng(7)
    hits, wrong, total = 0, 0, 0
    for repeat in range(20):
        tables = noise_and_weak(rng, 6000, 20, 5, 0.15)
        carries = discoveries(np.array([null(t, 32, (repeat, i))[1] for i, t in enumerate(tables)]), 0.05)
        hits, wrong, total = hits + carries[:5].sum(), wrong + carries[5:].sum(), total + carries.sum()
    assert hits / 100 > 0.85
    assert wrong / total < 0.1


def test_nothing_to_shuffle():
    assert null(np.array([[[3.0, 4.0], [0.0, 0.0]]]), 32, (0,)) == (0.0, 1.0)
    assert null(np.array([[[3.0, 0.0], [2.0, 0.0]]]), 32, (0,)) == (0.0, 1.0)
    labels = np.arange(60) % 2
    assert null(np.eye(2)[labels][None], 32, (0,)) == (0.0, 1.0)


def test_draws_are_repeatable():
    table = table_of(np.arange(90) % 30, np.arange(90) % 4 // 2, 30, 2)
    assert null(table, 16, (1, 2)) == null(table, 16, (1, 2))
    assert null(table, 16, (1, 2)) != null(table, 16, (1, 3))
