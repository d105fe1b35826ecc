"""Thresholds of labels: the chances from which on a label is taken, chosen on validation rows by micro F1."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit

GRID: Final = np.linspace(0.05, 0.95, 91)
STRENGTHS: Final = (math.inf, 100.0, 20.0)
"""Rows with a label that the common threshold counts for beside the label's own; with infinitely many all share one."""
FOLDS: Final = 2
LEAST_GAIN: Final = 1e-3
"""Micro F1 that thresholds of labels' own must gain in rows that they were not chosen on."""

Chances = Float[np.ndarray, "rows labels"]
Labels = Bool[np.ndarray, "rows labels"]
Thresholds = Float[np.ndarray, " labels"]


def choose_thresholds(target: Labels, chance: Chances) -> Thresholds:
    """One threshold for all labels, or one each, drawn towards the common one by how rare the label is.

    How strongly they are drawn is decided by two halves of the rows that judge each other's thresholds; of what gains
    nothing there, the more common one is kept.
    """
    folds = np.arange(len(target)) % FOLDS
    chosen, most = math.inf, -math.inf
    if len(target) >= 2 * FOLDS:
        for strength in STRENGTHS:
            taken = np.zeros_like(target)
            for fold in range(FOLDS):
                mine = folds == fold
                taken[mine] = chance[mine] >= _fit(target[~mine], chance[~mine], strength)
            found = micro_f1(target, taken)
            if found > most + LEAST_GAIN:
                chosen, most = strength, found
    return _fit(target, chance, chosen)


def common_threshold(target: Labels, chance: Chances) -> float:
    """The threshold on a grid with the most micro F1; of equal ones the middle."""
    found = np.array([micro_f1(target, chance >= t) for t in GRID])
    best = np.flatnonzero(found == found.max())
    return float(GRID[best[len(best) // 2]])


def micro_f1(target: Labels, taken: Labels) -> float:
    """2 tp / (labels + taken); 0 where there is neither."""
    return 2 * int((target & taken).sum()) / max(1, int(target.sum()) + int(taken.sum()))


def _fit(target: Labels, chance: Chances, strength: float) -> Thresholds:
    common = common_threshold(target, chance)
    if math.isinf(strength):
        return np.full(target.shape[1], common)
    own = np.array([common_threshold(target[:, i : i + 1], chance[:, i : i + 1]) for i in range(target.shape[1])])
    rows = target.sum(axis=0)
    return np.asarray(expit((rows * logit(own) + strength * logit(common)) / (rows + strength)))
