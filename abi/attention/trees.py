"""Attention as the trees of a plan have it, whose own weights and trials stand beside the network's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from abi.attention.simplex import entropy
from abi.types import Attention


def trees_view(attention: Attention) -> Attention:
    """Attention as the trees had it: of what a network's split may be besides (frugal, pruned, lean) they have nothing."""
    own = attention.trees
    if own is None:
        return attention
    return replace(
        attention,
        temperature=own.temperature,
        weights=own.weights,
        trials=own.trials,
        blend=own.blend,
        entropy=round(entropy(np.array([w.weight for w in own.weights])), 9),
        frugal=False,
        pruned=False,
        lean=False,
        trees=None,
    )
