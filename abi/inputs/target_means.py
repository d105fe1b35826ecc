"""Smoothed means of the target per value of a category, over all rows and, cross-fitted, over those of the other folds.

The mean of a value seen in n rows is (sum + m * prior) / (n + m), so that m rows weigh as much as the prior. Training rows need it
without their own target in it, or a model would read the answer from values that were seen once.

References:
    Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", 2001 (our `smoothing` is his m).
    Prokhorenkova et al., "CatBoost", 2018, section 3 (why the means must be cross-fitted).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def target_means(
    values: Int[np.ndarray, " rows"],
    targets: Float[np.ndarray, "rows outputs"],
    count: int,
    prior: Float[np.ndarray, " outputs"],
    smoothing: float,
) -> tuple[Float[np.ndarray, "values outputs"], Float[np.ndarray, " values"]]:
    """Smoothed mean of the target and number of rows, per value.

    Args:
        values: of each row, 0 to `count` - 1; -1 for none.
        targets: columns to average.
        count: number of values.
        prior: the mean of a value without rows.
        smoothing: how many rows weigh as much as the prior.
    """
    sums, times = _sums(values, targets, count)
    return _smoothed(sums, times, prior, smoothing), times


def held_out_means(
    values: Int[np.ndarray, " rows"],
    targets: Float[np.ndarray, "rows outputs"],
    folds: Int[np.ndarray, " rows"],
    count: int,
    priors: Float[np.ndarray, "folds outputs"],
    smoothing: float,
) -> tuple[Float[np.ndarray, "rows outputs"], Float[np.ndarray, " rows"]]:
    """Of each row's value, the smoothed mean and the number of rows, both in the other folds alone.

    Args:
        values: of each row, 0 to `count` - 1; rows of -1 get the prior, and 0.
        targets: columns to average.
        folds: of each row.
        count: number of values.
        priors: for the rows of each fold.
        smoothing: how many rows weigh as much as the prior.
    """
    sums, times = _sums(values, targets, count)
    means, seen = np.empty(targets.shape), np.zeros(len(values))
    for fold, prior in enumerate(priors):
        inside = folds == fold
        own_sums, own_times = _sums(values[inside], targets[inside], count)
        rest = times - own_times
        # what is left of a sum of real numbers less itself would tell a row its own target
        rest_sums = np.where(rest[:, None] > 0, sums - own_sums, 0.0)
        of_none = np.vstack([_smoothed(rest_sums, rest, prior, smoothing), prior])  # where -1 leads
        means[inside] = of_none[values[inside]]
        seen[inside] = np.append(rest, 0.0)[values[inside]]
    return means, seen


def _sums(
    values: Int[np.ndarray, " rows"], targets: Float[np.ndarray, "rows outputs"], count: int
) -> tuple[Float[np.ndarray, "values outputs"], Float[np.ndarray, " values"]]:
    known = values >= 0
    columns = [np.bincount(values[known], column[known], minlength=count) for column in targets.T]
    times = np.bincount(values[known], minlength=count)
    return np.column_stack(columns).astype(np.float64), times.astype(np.float64)  # without rows they come as integers


def _smoothed(
    sums: Float[np.ndarray, "values outputs"],
    times: Float[np.ndarray, " values"],
    prior: Float[np.ndarray, " outputs"],
    smoothing: float,
) -> Float[np.ndarray, "values outputs"]:
    return np.asarray((sums + smoothing * prior) / (times[:, None] + smoothing))
