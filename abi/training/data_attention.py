"""The attention that data alone ask for, before a model moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from abi.attention.simplex import balance, softmax
from abi.attention.tail import tail_weights, with_tail
from abi.config import ScoringConfig
from abi.training.score_blend import blended_scores

if TYPE_CHECKING:
    from abi.config import Config
    from abi.types import Attention, ScoreBlend, Scores


def judged_temperature(attention: Attention, config: Config) -> float:
    """The temperature that attention is held against: its own, or the flattest one where the even split was kept."""
    return attention.temperature or max(config.attention.temperatures, default=1.0)


def data_weights(
    scores: Scores, temperature: float, floor: float, cap: float, blend: ScoreBlend | None, tail: float | None = None
) -> tuple[float, ...]:
    """Weights softmax(score / t), with the tail's share, balanced, as `abi.attention.fit` makes it before a model moves it."""
    values = np.array([f.score for f in scores.features])
    if blend is not None:
        asked = ScoringConfig(
            relevance=blend.relevance, discrimination=blend.discrimination, complexity=blend.complexity
        )
        values = blended_scores(scores, asked)
    selected = tail_weights(scores) if tail else None
    weights = balance(with_tail(softmax(values, temperature), selected, tail or 0.0), floor, cap)
    return tuple(round(float(w), 12) for w in weights)
