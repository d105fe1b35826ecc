"""Complexity: how much capacity a feature can use, in [0, 1]."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from abi.scoring.relevance import entropy
from abi.scoring.types import Coordinates, ManyTables, ManyViews

CATEGORIES_FULL = 256
"""A categorical feature with so many equally frequent values can use all the capacity there is."""


def curvature(tables: ManyTables, levels: Float64[np.ndarray, "*features bins"], coordinates: Coordinates) -> ManyViews:
    """How much of what a numeric feature explains a straight line misses: (R2_bins - R2_line) / R2_bins.

    Both are of the rows where the feature is not missing, adjusted for degrees of freedom, with the line in the median
    of each bin. What noise alone explains, (B - 1) / (n - 1), is added to the denominator, so that a feature without
    signal has complexity near 0 and not 0/0.
    """
    there = ~np.isnan(levels)
    # a bin for missing values has no rows and no place here
    counts = np.where(there[..., None, :, None], tables, 0.0)
    x = np.where(there, levels, 0.0)
    x = x / np.maximum(np.abs(x).max(axis=-1, keepdims=True, initial=0.0), np.finfo(float).tiny)
    rows, sums = counts.sum(axis=-1), counts @ coordinates
    n = np.maximum(rows.sum(axis=-1), 1.0)
    freedom = np.count_nonzero(rows, axis=-1) - 1.0
    mean_x, mean_y = (rows @ x[..., None])[..., 0] / n, sums.sum(axis=-2) / n[..., None]
    total = counts.sum(axis=-2) @ (coordinates**2).sum(axis=1) - n * (mean_y**2).sum(axis=-1)
    centred = x[..., None, :] - mean_x[..., None]
    shifted = sums - rows[..., None] * mean_y[..., None, :]
    along = (centred[..., None] * shifted).sum(axis=-2)
    spread_x = (rows * centred**2).sum(axis=-1)
    between = ((shifted**2).sum(axis=-1) / np.maximum(rows, 1.0)).sum(axis=-1)
    line = (along**2).sum(axis=-1) / np.where(spread_x > 0, spread_x, 1.0)
    total = np.where(total > 0, total, 1.0)
    by_bins = _adjusted(between / total, n, freedom)
    by_line = _adjusted(line / total, n, np.minimum(freedom, 1.0))
    missed = (by_bins - by_line) / (np.maximum(by_bins, 0.0) + np.maximum(freedom, 1.0) / np.maximum(n - 1, 1.0))
    share: ManyViews = np.clip(missed, 0.0, 1.0)
    return share


def cardinality(tables: ManyTables) -> ManyViews:
    """Logarithm of the effective number of values, exp(entropy), over that of `CATEGORIES_FULL`."""
    bins = tables.sum(axis=-1)
    nats = entropy(bins.reshape(-1, bins.shape[-1])).reshape(bins.shape[:-1])
    share: ManyViews = np.clip(nats / np.log(CATEGORIES_FULL), 0.0, 1.0)
    return share


def _adjusted(share: ManyViews, rows: ManyViews, freedom: ManyViews) -> ManyViews:
    """Theil's adjusted R2: 1 - (1 - R2)(n - 1) / (n - 1 - k)."""
    result: ManyViews = 1 - (1 - share) * (rows - 1) / np.maximum(rows - 1 - freedom, 1.0)
    return result
