"""What a shuffled target would reach, from the counts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64
from scipy import stats
from scipy.special import gammaincc, gammaincinv

from abi.scoring.relevance import entropy, expected_information, information
from abi.scoring.types import Tables, Views

EXPECTED = 5.0
"""Where every expected count is at least this (Cochran's rule), 2nI follows chi-square and nothing is drawn."""
QUANTILE = 0.95
_BATCH_CELLS = 2**20


def null(table: Tables, shuffles: int, seed: tuple[int, ...]) -> tuple[float, float]:
    """(95% point of the relevance under a shuffled target, p-value of the relevance that is there) of one table."""
    points, p_values = nulls(table[:1], information(table[:1]), expected_information(table[:1]), shuffles, [seed])
    return float(points[0]), float(p_values[0])


def nulls(
    tables: Tables, told: Views, chance: Views, shuffles: int, seeds: Sequence[tuple[int, ...]]
) -> tuple[Views, Views]:
    """(95% points of the relevance under a shuffled target, p-values of the relevances that are there).

    Tables with both margins as counted are what all permutations of the target give, so the null needs no second
    pass. The mean E of the mutual information I over them is exact (`expected_information`); its variance is that of
    chi-square scaled to E, 2 E^2 / ((B - 1)(C - 1)), where expected counts allow, otherwise that of `shuffles` random
    tables, times (s - 1) / (s - 3), the variance of Student's t, since a variance from s draws is itself uncertain. The
    tail is that of the gamma distribution with this mean and variance; with the chi-square's it is the likelihood-ratio
    test with Bartlett's correction.

    Args:
        tables: the counts of all rows, one view per feature.
        told: mutual information of each, in nats.
        chance: its expected value over all shuffles.
        shuffles: random tables drawn where expected counts are small.
        seeds: of the draws, one per feature.

    References:
        Patefield, "An efficient method of generating random R x C tables with given row and column totals", 1981.
    """
    bins, classes = tables.sum(axis=2), tables.sum(axis=1)
    rows = np.maximum(bins.sum(axis=1), 1.0)
    freedom = (np.count_nonzero(bins, axis=1) - 1.0) * (np.count_nonzero(classes, axis=1) - 1.0)
    # one bin or one class tells nothing
    some = freedom > 0
    variance = 2 * chance**2 / np.where(some, freedom, 1.0)
    least = np.where(bins > 0, bins, np.inf).min(axis=1) * np.where(classes > 0, classes, np.inf).min(axis=1)
    for i in np.flatnonzero(some & (least / rows < EXPECTED)).tolist():
        drawn = _drawn(bins[i][bins[i] > 0], classes[i][classes[i] > 0], shuffles, seeds[i])
        variance[i] = np.var(drawn, ddof=1) * (shuffles - 1) / (shuffles - 3)
    room = entropy(classes) - chance
    some &= (variance > (1e-9 * chance) ** 2) & (room > 0)
    points, p_values = np.zeros(len(tables)), np.ones(len(tables))
    mean, variance, room = chance[some], variance[some], room[some]
    shape, scale = mean**2 / variance, variance / mean
    points[some] = np.clip((gammaincinv(shape, QUANTILE) * scale - mean) / room, 0.0, 1.0)
    p_values[some] = gammaincc(shape, told[some] / scale)
    return points, p_values


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
