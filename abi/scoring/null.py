"""What a shuffled target would reach, from the counts alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64
from scipy import stats
from scipy.special import gammaincc, gammaincinv

from abi.scoring.relevance import entropy, expected_information, information
from abi.scoring.types import Tables

EXPECTED = 5.0
"""Where every expected count is at least this (Cochran's rule), 2nI follows chi-square and nothing is drawn."""
QUANTILE = 0.95
_BATCH_CELLS = 2**20


def null(table: Tables, shuffles: int, seed: tuple[int, ...]) -> tuple[float, float]:
    """(95% point of the relevance under a shuffled target, p-value of the relevance that is there).

    Tables with both margins as counted are what all permutations of the target give, so the null needs no second
    pass. The mean E of the mutual information I over them is exact (`expected_information`); its variance is that of
    chi-square scaled to E, 2 E^2 / ((B - 1)(C - 1)), where expected counts allow, otherwise that of `shuffles` random
    tables, times (s - 1) / (s - 3), the variance of Student's t, since a variance from s draws is itself uncertain. The
    tail is that of the gamma distribution with this mean and variance; with the chi-square's it is the likelihood-ratio
    test with Bartlett's correction.

    Args:
        table: the counts of all rows, as one view.
        shuffles: random tables drawn where expected counts are small.
        seed: of the draws.

    References:
        Patefield, "An efficient method of generating random R x C tables with given row and column totals", 1981.
    """
    counts = table[0]
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    bins, classes = counts.sum(axis=1), counts.sum(axis=0)
    if len(bins) < 2 or len(classes) < 2:  # noqa: PLR2004 - one bin or one class tells nothing
        return 0.0, 1.0
    rows = float(bins.sum())
    mean = float(expected_information(counts[None])[0])
    if bins.min() * classes.min() / rows >= EXPECTED:
        variance = mean**2 * 2 / ((len(bins) - 1) * (len(classes) - 1))
    else:
        drawn = _drawn(bins, classes, shuffles, seed)
        variance = float(np.var(drawn, ddof=1)) * (shuffles - 1) / (shuffles - 3)
    room = float(entropy(classes[None])[0]) - mean
    if variance <= (1e-9 * mean) ** 2 or room <= 0:
        return 0.0, 1.0
    shape, scale = mean**2 / variance, variance / mean
    point = (float(gammaincinv(shape, QUANTILE)) * scale - mean) / room
    return float(np.clip(point, 0.0, 1.0)), float(gammaincc(shape, information(counts[None])[0] / scale))


def discoveries(p_values: Float64[np.ndarray, " features"], rate: float) -> Bool[np.ndarray, " features"]:
    """Which features carry signal, at most a share `rate` of them wrongly (Benjamini and Hochberg, 1995)."""
    ranked = np.sort(p_values)
    passing = np.flatnonzero(ranked <= rate * np.arange(1, len(ranked) + 1) / len(ranked))
    limit = ranked[passing[-1]] if len(passing) else -1.0
    return p_values <= limit


def _drawn(
    bins: Float64[np.ndarray, " bins"], classes: Float64[np.ndarray, " classes"], shuffles: int, seed: tuple[int, ...]
) -> Float64[np.ndarray, " shuffles"]:
    random = np.random.default_rng(seed)
    margins = bins.astype(np.int64), classes.astype(np.int64)
    batch = max(1, _BATCH_CELLS // (len(bins) * len(classes)))
    found = []
    for start in range(0, shuffles, batch):
        size = min(batch, shuffles - start)
        tables = stats.random_table.rvs(*margins, size=size, random_state=random)
        found.append(information(tables.reshape(size, len(bins), len(classes)).astype(np.float64)))
    return np.concatenate(found)
