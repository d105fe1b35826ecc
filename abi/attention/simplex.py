"""Weights on the simplex: softmax with a temperature, entropy, distance, and the balance of floor and cap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " features"]


def softmax(scores: Vector, temperature: float | None) -> Vector:
    """a_i = exp(w_i / t) / sum_j exp(w_j / t); the even split where `temperature` is None (t -> infinity)."""
    if temperature is None:
        return np.full(len(scores), 1.0 / len(scores))
    exponent = np.exp((scores - scores.max()) / temperature)
    return np.asarray(exponent / exponent.sum())


def entropy(weights: Vector) -> float:
    """Shannon entropy in nats; exp of it is the effective number of features."""
    positive = weights[weights > 0]
    return float(-(positive * np.log(positive)).sum()) + 0.0


def distance(first: Vector, second: Vector) -> float:
    """Total variation: the share of attention that moved."""
    return float(np.abs(first - second).sum() / 2)


def balance(weights: Vector, floor: float, cap: float) -> Vector:
    """The weights closest in ratio to `weights` that sum to 1 and lie in [floor, cap].

    The free weights keep their ratios; the bound ones sit on their bound. This is the Kullback-Leibler projection on
    the box-constrained simplex: a_i = clip(c * w_i, floor, cap) with c such that the sum is 1 (found by bisection,
    since the sum grows with c).

    Args:
        weights: on the simplex.
        floor: least weight, at most 1 / features.
        cap: most weight; one below 1 / features cannot be kept and counts as 1 / features.
    """
    count = len(weights)
    cap = max(cap, 1.0 / count)
    assert 0 <= floor <= 1.0 / count + 1e-12, "the floors alone would exceed 1"
    tiny = np.maximum(weights, 1e-300)
    low, high = -700.0, -np.log(tiny.min())  # of log c: all on the floor, all on the cap
    for _ in range(100):
        middle = (low + high) / 2
        if np.clip(np.exp(middle) * tiny, floor, cap).sum() > 1:
            high = middle
        else:
            low = middle
    bounded = np.clip(np.exp(high) * tiny, floor, cap)
    free = (bounded > floor) & (bounded < cap)
    if free.any():
        bounded[free] *= (1.0 - bounded[~free].sum()) / bounded[free].sum()
    return np.asarray(bounded / bounded.sum())
