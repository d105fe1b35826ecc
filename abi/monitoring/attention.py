"""Whether the new rows would ask for another attention than the training rows did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial.distance import jensenshannon

from abi.config import ScoringConfig
from abi.monitored import AttentionDrift, Reference
from abi.scoring.score import score
from abi.training.data_attention import data_weights

if TYPE_CHECKING:
    from abi.data.reader import Reader
    from abi.operations import MonitorConfig
    from abi.types import Scores

DRAWS: Final = 20
DEVIATIONS: Final = 3.0
"""The band ends this many standard deviations above the mean of what chance does: one batch in a thousand, were it normal."""
MOST_ROWS: Final = 16_384
"""Rows of a draw; what more rows would do is worked out."""
MOST_SHARE: Final = 0.5


def js_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Jensen-Shannon distance, base 2: 0 for the same weights, 1 for weights on different features.

    sqrt(H((a + b) / 2) - (H(a) + H(b)) / 2) with H in bits (Endres and Schindelin 2003).
    """
    found = float(jensenshannon(np.array(first), np.array(second), base=2))
    return found if np.isfinite(found) else 0.0  # a rounding error below 0 has no root


def attention_drift(
    reference: Reference, new: Reader, training: Callable[[], Reader], config: MonitorConfig
) -> AttentionDrift:
    """Score the new rows as the training rows were, and compare the attention that both ask for.

    Args:
        reference: weights of the training rows, and how they were made.
        new: the new rows, all in role "train", with their target.
        training: gives the rows that the model was trained on; asked only where an alarm may start or go on, to see what
            chance does.
        config: the limit.

    Raises:
        DataError: the target holds a class that the model does not know.
    """
    scoring = ScoringConfig.model_validate(reference.scoring)
    scores = score(new, scoring, tail=bool(reference.tail))
    weights = _weights(reference, scores)
    distance = js_distance(reference.weights, weights)
    band = 0.0
    if distance > config.attention * config.hysteresis:  # chance matters only where an alarm would start or go on
        band = chance_band(reference, training(), scores.rows, scoring)
    return AttentionDrift(
        rows=scores.rows,
        distance=distance,
        band=band,
        before=reference.weights,
        now=weights,
        drifted=distance > max(config.attention, band),
    )


def chance_band(reference: Reference, training: Reader, rows: int, scoring: ScoringConfig) -> float:
    """What the distance stays below where so many rows come from the same source: mean and three deviations of 20 draws.

    Draws are of training rows, so a draw of n among m shares rows with them and is closer to their weights than new rows
    are. Weights differ by a variance of 1/n - 1/m in place of 1/n + 1/m; the distance grows as its root.
    """
    sampled = training.sampled()
    split = replace(training.problem.split, order="", starts=())  # draws are by chance, whatever the split was
    available = round(training.train.rows * (1 - split.test) * (1 - split.validation))
    there = len(training.train.sample([]))
    drawn = max(1, min(rows, MOST_ROWS, int(MOST_SHARE * min(available, there))))
    distances = []
    for draw in range(DRAWS):
        part = replace(split, seed=split.seed + 1 + draw, validation=0.0, test=1 - drawn / there)
        scores = score(
            replace(sampled, problem=replace(training.problem, split=part)), scoring, tail=bool(reference.tail)
        )
        distances.append(js_distance(reference.weights, _weights(reference, scores)))
    grown = np.sqrt((1 / rows + 1 / available) / (1 / drawn - 1 / max(available, drawn + 1)))
    return float(grown * (np.mean(distances) + DEVIATIONS * np.std(distances, ddof=1)))


def _weights(reference: Reference, scores: Scores) -> tuple[float, ...]:
    return data_weights(scores, reference.temperature, reference.floor, reference.cap, reference.blend, reference.tail)
