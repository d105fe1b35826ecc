"""How attention moves between rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abi.attention.fit import fit, move
from abi.config import AttentionConfig
from abi.types import Attention, ScoreBlend, Scores

FREE = AttentionConfig(floor=0.0, cap=1.0, movement=0.5)


def _start(
    toy: Any, values: list[float], config: AttentionConfig, temperature: float | None = None, width: float = 0.0
) -> tuple[Attention, Scores]:
    scores = toy.scores(toy.problem({f"x{i}": "numeric" for i in range(len(values))}), values, width=width)
    return fit(scores, temperature, config), scores


def test_half_a_step_is_the_geometric_mean(toy: Any) -> None:
    # sqrt(1/2 * 9/10) : sqrt(1/2 * 1/10) = 3 : 1
    start, scores = _start(toy, [0.5, 0.5], FREE)
    moved = move(start, scores, np.array([0.9, 0.1]), FREE)
    assert [w.weight for w in moved.weights] == pytest.approx([0.75, 0.25], abs=1e-9)
    assert (moved.round, moved.moved) == (1, 0.25)


def test_a_whole_step_takes_over_what_the_model_showed(toy: Any) -> None:
    config = AttentionConfig(floor=0.0, cap=1.0, movement=1.0)
    start, scores = _start(toy, [0.5, 0.5, 0.5], config)
    moved = move(start, scores, np.array([0.6, 0.3, 0.1]), config)
    assert [w.weight for w in moved.weights] == pytest.approx([0.6, 0.3, 0.1], abs=1e-9)


def test_what_the_rows_cannot_tell_from_no_change_is_none(toy: Any) -> None:
    # scores 0.5 +- 0.05 are intervals of +-10%: shares of 0.54 and 0.46 may as well be 0.5
    start, scores = _start(toy, [0.5, 0.5], FREE, width=0.05)
    assert move(start, scores, np.array([0.54, 0.46]), FREE).moved == pytest.approx(0.0, abs=1e-9)
    # 0.6 and 0.4 reach down to 0.54 and up to 0.44: half a step from 0.5 is their root
    moved = move(start, scores, np.array([0.6, 0.4]), FREE)
    ends = np.sqrt([0.54, 0.44])
    assert [w.weight for w in moved.weights] == pytest.approx(list(ends / ends.sum()), abs=1e-9)


def test_where_the_model_agrees_nothing_moves(toy: Any) -> None:
    start, scores = _start(toy, [0.2, 0.9, 0.4], AttentionConfig(), temperature=0.5)
    moved = move(start, scores, np.array([w.weight for w in start.weights]), AttentionConfig())
    assert moved.moved == pytest.approx(0.0, abs=1e-9)
    assert [w.weight for w in moved.weights] == pytest.approx([w.weight for w in start.weights], abs=1e-9)


def test_a_feature_that_the_model_ignores_keeps_the_floor(toy: Any) -> None:
    config = AttentionConfig(floor=0.3, cap=0.9, movement=1.0)
    start, scores = _start(toy, [0.5, 0.5, 0.5], config)
    moved = move(start, scores, np.array([0.5, 0.5, 0.0]), config)
    assert [w.weight for w in moved.weights] == pytest.approx([0.45, 0.45, 0.1], abs=1e-9)
    assert moved.weights[2].bound == "floor"


def test_the_temperature_trials_and_reasons_are_carried_along(toy: Any) -> None:
    start, scores = _start(toy, [0.5, 0.2], AttentionConfig(), temperature=0.4)
    again = move(move(start, scores, np.array([0.5, 0.5]), FREE), scores, np.array([0.5, 0.5]), FREE)
    assert (again.temperature, again.trials, again.round, again.scores) == (0.4, (), 2, scores)
    blend = ScoreBlend(relevance=0.0, discrimination=1.0, complexity=0.0, divergence=0.1, divergence_default=0.2)
    assert move(replace(start, blend=blend), scores, np.array([0.5, 0.5]), FREE).blend == blend


@settings(max_examples=60)
@given(
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda s: sum(s) > 1e-3),
    movement=st.floats(0.01, 1),
    floor=st.floats(0, 0.9),
    cap=st.floats(0.2, 1),
)
def test_moved_weights_stay_on_the_simplex_between_where_they_were_and_where_the_model_points(
    toy: Any, shares: list[float], movement: float, floor: float, cap: float
) -> None:
    config = AttentionConfig(floor=floor, cap=cap, movement=movement)
    start, scores = _start(toy, [0.5] * len(shares), config)
    target = np.array(shares) / sum(shares)
    moved = move(start, scores, target, config)
    weights = np.array([w.weight for w in moved.weights])
    assert weights.sum() == pytest.approx(1.0, abs=1e-9)
    assert (weights >= moved.floor - 1e-9).all()
    assert (weights <= moved.cap + 1e-9).all()
    assert all(0 < w.low <= w.weight <= w.high <= 1 for w in moved.weights)
    order = np.argsort(target)
    assert (np.diff(weights[order]) >= -1e-9).all()
