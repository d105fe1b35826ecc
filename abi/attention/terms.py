"""Attention over the terms of a text."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from abi.types import Attention


def tail_terms(attention: Attention, feature: str) -> frozenset[str]:
    """The terms that are selected for some class of the tail, where attention has a share for them."""
    known = attention.scores.terms_of(feature)
    if not attention.frugal or not attention.tail or not known.tail:
        return frozenset()
    return frozenset(term for term, weight in zip(known.terms, known.tail, strict=True) if weight > 0)


def term_weights(attention: Attention, feature: str) -> Float64[np.ndarray, " terms"]:
    """Weights on the simplex, in the order of the scores' terms.

    a = softmax(ln s) = s / sum s where attention is frugal: a term's share is its share of what all terms tell (a
    temperature of 1 on the logarithm of the score). Even otherwise. Terms without a score weigh nothing. Attention's share for
    the tail lies on the terms that are selected for its classes, as for features (`abi.attention.tail`).
    """
    known = attention.scores.terms_of(feature)
    scores = np.array(known.scores, dtype=np.float64)
    weights = scores if attention.frugal and scores.any() else np.ones(len(scores))
    weights = np.asarray(weights / max(weights.sum(), 1e-300))
    if not attention.frugal or not attention.tail or not known.tail:
        return weights
    return np.asarray((1 - attention.tail) * weights + attention.tail * np.array(known.tail, dtype=np.float64))
