"""Scores -> attention, and how attention moves between rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import expit

from abi.attention.simplex import Vector, balance, distance, entropy, softmax
from abi.attention.tail import tail_weights, with_tail
from abi.types import Attention, ClassBalance, ScoreBlend, Scores, Trial, Usage, Weight

if TYPE_CHECKING:
    from abi.config import AttentionConfig

ON_BOUND = 1e-9
SIDES: tuple[Literal["low", "high"], ...] = ("low", "high")
LEAST_FLOOR = 1e-6
"""Training takes the logarithm of a weight, so none may be zero, whatever `attention.floor` says."""


def fit(
    scores: Scores,
    temperature: float | None,
    config: AttentionConfig,
    trials: tuple[Trial, ...] = (),
    *,
    frugal: bool = False,
    pruned: bool = False,
    lean: bool = False,
) -> Attention:
    """Softmax of the scores, balanced. `temperature` None is the even split.

    A frugal attention also lets the plan give nothing to features that carry no signal, let rare values of a category
    share rows, and grade the terms of a text. A pruned one, which is frugal as well, lets it start training with a larger
    network where the envelope asks for a small one, a lean one few ensemble members. Where something is selected for tail classes, `config.tail` of the
    softmax's mass goes there; the even split has none of it.

    The interval of a weight is what it would be if its own score stood at the ends of its interval.
    """
    values = np.array([f.score for f in scores.features])
    floor = _floor(config, len(values))
    selected = None if temperature is None or not config.tail else tail_weights(scores)
    weights = balance(with_tail(softmax(values, temperature), selected, config.tail), floor, config.cap)
    ends = [with_tail(_at_end(values, np.array(end), temperature), selected, config.tail) for end in _ends(scores)]
    ends = [np.clip(end, floor, max(config.cap, 1.0 / len(values))) for end in ends]
    graded = (frugal or pruned) and any(t.tail for t in scores.terms)
    return _attention(
        scores,
        weights,
        ends[0],
        ends[1],
        config,
        temperature=temperature,
        trials=trials,
        frugal=frugal or pruned,
        pruned=pruned,
        lean=lean,
        tail=config.tail if config.tail and (selected is not None or graded) else None,
    )


def move(previous: Attention, scores: Scores, shares: Vector, config: AttentionConfig) -> Attention:
    """Move the weights towards what a trained model showed.

    A weight goes towards the nearest value that the model's interval allows, and stays where it is inside of it: what
    the rows cannot tell from no change is none. The step is geometric: a' ~ a^(1 - m) * s^m, with m = `config.movement`, so
    that a weight that the model found ten times too small grows by 10^m and none leaves the simplex; then balanced as in
    `fit`. The intervals of both are blended in the same way.

    Args:
        previous: where the weights are.
        scores: the rescored features, kept as the reason of the move.
        shares: the model's own importance per feature, on the simplex.
        config: movement, floor and cap.
    """
    before = np.array([w.weight for w in previous.weights])
    ends = [np.array([getattr(f, side) / f.score if f.score > 0 else 1.0 for f in scores.features]) for side in SIDES]
    asked = np.clip(before, shares * np.minimum(ends[0], 1.0), shares * np.maximum(ends[1], 1.0))
    blend = before ** (1 - config.movement) * np.maximum(asked, 1e-12) ** config.movement
    weights = balance(blend / blend.sum(), _floor(config, len(before)), config.cap)
    low = np.maximum(weights * _relative(previous, scores, config.movement, "low"), _floor(config, len(before)))
    high = np.minimum(weights * _relative(previous, scores, config.movement, "high"), max(config.cap, 1 / len(before)))
    return _attention(
        scores,
        weights,
        low,
        high,
        config,
        temperature=previous.temperature,
        trials=previous.trials,
        frugal=previous.frugal,
        pruned=previous.pruned,
        lean=previous.lean,
        blend=previous.blend,
        usage=previous.usage,
        held=previous.balance,
        tail=previous.tail,
        number=previous.round + 1,
        moved=distance(before, weights),
    )


def _relative(previous: Attention, scores: Scores, movement: float, side: Literal["low", "high"]) -> Vector:
    """End of a moved weight over the weight: the ends of what was blended, blended alike."""
    before = np.array([getattr(w, side) / w.weight for w in previous.weights])
    model = np.array([getattr(f, side) / f.score if f.score > 0 else 1.0 for f in scores.features])
    return np.asarray(before ** (1 - movement) * model**movement)


def _floor(config: AttentionConfig, count: int) -> float:
    return max(config.floor, LEAST_FLOOR) / count


def _ends(scores: Scores) -> tuple[list[float], list[float]]:
    return [f.low for f in scores.features], [f.high for f in scores.features]


def _at_end(values: Vector, end: Vector, temperature: float | None) -> Vector:
    """Each feature's weight if its own score alone were at `end`."""
    if temperature is None:
        return np.full(len(values), 1.0 / len(values))
    exponent = np.exp((values - values.max()) / temperature)
    with np.errstate(divide="ignore"):  # the others may weigh nothing
        others = np.log(np.maximum(exponent.sum() - exponent, 0.0))
    own = (end - values.max()) / temperature
    return np.asarray(expit(own - others))


def _attention(
    scores: Scores,
    weights: Vector,
    low: Vector,
    high: Vector,
    config: AttentionConfig,
    *,
    temperature: float | None,
    trials: tuple[Trial, ...],
    frugal: bool,
    pruned: bool,
    lean: bool,
    blend: ScoreBlend | None = None,
    usage: Usage | None = None,
    held: ClassBalance | None = None,
    tail: float | None = None,
    number: int = 0,
    moved: float = 0.0,
) -> Attention:
    count = len(weights)
    floor, cap = _floor(config, count), max(config.cap, 1.0 / count)

    def bound(weight: float) -> str | None:
        if temperature is None and number == 0:
            return None
        return "floor" if weight <= floor + ON_BOUND else "cap" if weight >= cap - ON_BOUND else None

    return Attention(
        scores=scores,
        temperature=temperature,
        floor=floor,
        cap=cap,
        entropy=round(entropy(weights), 9),
        weights=tuple(
            Weight(
                feature=f.feature,
                weight=round(float(w), 12),
                low=round(float(min(lo, w)), 12),
                high=round(float(max(hi, w)), 12),
                bound=bound(float(w)),  # type: ignore[arg-type]  # the literals above
            )
            for f, w, lo, hi in zip(scores.features, weights, low, high, strict=True)
        ),
        trials=trials,
        frugal=frugal,
        pruned=pruned,
        lean=lean,
        blend=blend,
        usage=usage,
        balance=held,
        tail=tail,
        round=number,
        moved=round(moved, 9),
    )
