"""Resamples, intervals, paired gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from abi.evaluation import bootstrap as module
from abi.evaluation.bootstrap import block_rows, bootstrap, estimate, gain, resamples


def test_every_resample_has_as_many_rows_as_there_are() -> None:
    (counts,) = resamples(7, 50, seed=0)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == 0).any()


def test_chunks_hold_the_resamples_that_one_piece_would(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = resamples(10, 30, seed=1)
    monkeypatch.setattr(module, "CHUNK_VALUES", 70)
    parts = list(resamples(10, 30, seed=1))
    assert [len(p) for p in parts] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_interval_of_a_mean_is_that_of_the_central_limit() -> None:
    random = np.random.default_rng(0)
    target = np.zeros(400)
    prediction = random.normal(3, 1, 400)
    draws = bootstrap("regression", target, {"m": prediction}, 2000, seed=0)["m"]["mae"]
    found = estimate(float(np.abs(prediction).mean()), draws)
    half = 1.96 * np.abs(prediction).std() / 20
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_blocks_of_neighbours_are_drawn_together() -> None:
    (counts,) = resamples(9, 40, seed=0, block=3)
    assert (counts.sum(axis=1) == 9).all()
    # every drawn block covers three neighbours (the last and the first row are two): a row alone cannot come up
    lone = (counts > 0) & (np.roll(counts, 1, axis=1) == 0) & (np.roll(counts, -1, axis=1) == 0)
    assert not lone.any()
    assert block_rows(1000) == 10


def test_the_interval_of_a_slow_series_is_wider_in_blocks() -> None:
    error = np.repeat(np.random.default_rng(0).normal(3, 1, 40), 25)
    pieces = {
        block: bootstrap("regression", np.zeros(1000), {"m": error}, 1000, seed=0, block=block)["m"]["mae"].std()
        for block in (1, 100)
    }
    # 40 independent values, each 25 times: by single rows the error of the mean comes out 5 times too small
    assert pieces[100] > 3 * pieces[1]


def test_draws_are_paired() -> None:
    target = np.arange(30.0)
    near = target + np.random.default_rng(0).normal(size=30)
    draws = bootstrap("regression", target, {"a": near, "b": near, "c": target + 2 * (near - target)}, 100, seed=0)
    np.testing.assert_array_equal(draws["a"]["rmse"], draws["b"]["rmse"])
    np.testing.assert_allclose(draws["c"]["rmse"], 2 * draws["a"]["rmse"])


def test_undefined_draws_are_left_out() -> None:
    found = estimate(0.5, np.array([np.nan, 0.25, 0.75, np.nan]))
    assert 0.25 <= found.low < found.value < found.high <= 0.75
    assert estimate(0.5, np.array([np.nan])) == estimate(0.5, np.array([0.5]))


def test_the_value_lies_in_its_interval() -> None:
    found = estimate(2.0, np.array([0.0, 1.0]))
    assert (found.value, found.high) == (2.0, 2.0)


def test_resamples_with_one_class_or_a_constant_target_do_not_spoil_the_interval() -> None:
    target, chance = np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    draws = bootstrap("binary", target, {"m": chance}, 200, seed=0)["m"]["roc_auc"]
    assert np.isnan(draws).any()
    assert 0 <= estimate(2 / 3, draws).low <= estimate(2 / 3, draws).high <= 1
    values = bootstrap("regression", np.array([1.0, 2.0]), {"m": np.array([1.0, 2.5])}, 200, seed=0)["m"]["r2"]
    assert np.isnan(values).any()
    assert estimate(0.5, values).low == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("metric", "model", "other", "difference", "relative"),
    [
        ("rmse", 1.5, 2.0, 0.5, 0.25),
        ("roc_auc", 0.9, 0.8, 0.1, 0.125),
        ("log_loss", 0.6, 0.5, -0.1, -0.2),
        ("r2", 0.5, 0.0, 0.5, 0.0),
    ],
)
def test_above_zero_means_better(metric: str, model: float, other: float, difference: float, relative: float) -> None:
    found = gain(metric, model, other, np.array([model]), np.array([other]))
    assert found.difference.value == pytest.approx(difference)
    assert found.difference.low == pytest.approx(difference)
    assert found.relative == pytest.approx(relative)


def test_the_same_seed_gives_the_same_draws(toy: Any) -> None:
    first, second = (np.concatenate(list(resamples(9, 20, seed=5))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, np.concatenate(list(resamples(9, 20, seed=6))))
