"""Is there anything to learn?"""

from __future__ import annotations

import numpy as np
import pytest

from abi.data.columns import Columns
from abi.evaluation.bootstrap import bootstrap
from abi.evaluation.signal import constant, signal
from abi.metrics import Prediction, score
from abi.outcomes import Signal
from abi.problem import Task

RANDOM = np.random.default_rng(0)


def rows(target: list[float], kind: type = np.int64) -> Columns:
    return Columns(np.empty((len(target), 0)), (), np.array(target, kind), np.arange(len(target)))


def found(task: Task, primary: str, target: np.ndarray, ours: Prediction, chance: Prediction) -> Signal | None:
    both = {"model": ours, "chance": chance}
    values = {name: score(task, target, one) for name, one in both.items()}
    return signal(primary, values, bootstrap(task, target, both, 200, seed=0))


def test_chance_knows_the_taught_target_alone() -> None:
    taught = [rows([0, 0, 1]), rows([0])]
    np.testing.assert_array_equal(constant("binary", 2, taught, 2), [[0.75, 0.25]] * 2)
    np.testing.assert_array_equal(constant("multiclass", 3, taught, 1), [[0.75, 0.25, 0.0]])
    assert constant("regression", 0, [rows([1.0, 2.5], np.float64)], 2).tolist() == [1.75, 1.75]


@pytest.mark.parametrize(("shift", "expected"), [(0.0, False), (1.0, True)])
def test_a_ranking_is_signal_where_its_interval_leaves_a_half_out(shift: float, expected: bool) -> None:
    target = np.arange(400) % 2
    positive = 1 / (1 + np.exp(-RANDOM.normal(size=400) - shift * target))
    result = found("binary", "roc_auc", target, np.column_stack([1 - positive, positive]), np.full((400, 2), 0.5))
    assert result is not None
    assert (result.chance, result.found) == (0.5, expected)


def test_a_rare_class_that_is_never_likeliest_is_signal_all_the_same() -> None:
    target = (np.arange(500) % 10 == 0).astype(np.int64)
    chance = np.tile([0.9, 0.1], (500, 1))
    tells = np.where(target[:, None] == 1, [[0.6, 0.4]], [[0.95, 0.05]])
    result = found("multiclass", "accuracy", target, tells, chance)
    assert result is not None
    assert (result.gain.metric, result.found) == ("log_loss", True)
    nothing = found("multiclass", "accuracy", target, chance, chance)
    assert nothing is not None
    assert (nothing.gain.metric, nothing.found) == ("accuracy", False)


def test_a_mean_is_what_a_number_is_held_against() -> None:
    target = RANDOM.normal(size=300)
    result = found("regression", "rmse", target, 0.5 * target, np.zeros(300))
    assert result is not None
    assert result.found
    assert result.chance == pytest.approx(np.sqrt((target**2).mean()))
