"""Relevance: the share of the target's entropy that a feature's bin tells, beyond what chance would seem to tell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.special import gammaln, xlogy

from abi.scoring.types import Tables, Views

SMOOTH = 20.0
"""From this expected count on, the mean of a logarithm is expanded around it; below, it is summed exactly."""
_TERMS = 72
_TINY = 1e-6
"""Nats; below it the difference of two entropies is rounding."""


def relevance(tables: Tables) -> Views:
    """Mutual information adjusted for chance, (I - E) / (H(Y) - E), in [0, 1].

    E is the mean of I over all shuffles of the target (both margins fixed). Where all expected counts are large it is
    the Miller-Madow correction (B - 1)(C - 1) / 2n; where bins have few rows it is larger, up to H(Y) for a feature
    without repeated values, which is thus worth nothing.

    References:
        Vinh, Epps, Bailey, "Information theoretic measures for clusterings comparison", JMLR 2010 (adjusted for
        chance; our H(Y) is the maximum in their eq. for the AMI). Miller, "Note on the bias of information
        estimates", 1955.
    """
    told = beyond_chance(information(tables), expected_information(tables), entropy(tables.sum(axis=1)))
    share: Views = np.clip(told, 0.0, 1.0)
    return share


def beyond_chance(told: Views, chance: Views, whole: Views) -> Views:
    """(I - E) / (H - E), held within [-1, 1]: below 0 where a shuffled target tells more."""
    room = whole - chance
    share: Views = np.where(room > _TINY, np.clip((told - chance) / np.maximum(room, _TINY), -1.0, 1.0), 0.0)
    return share


def entropy(counts: Float64[np.ndarray, "views cells"]) -> Views:
    """Plug-in entropy in nats of each view's counts; 0 where there are no rows."""
    rows = np.maximum(counts.sum(axis=-1), 1.0)
    nats: Views = np.log(rows) - xlogy(counts, counts).sum(axis=-1) / rows
    return nats


def information(tables: Tables) -> Views:
    """Plug-in mutual information in nats: H(bin) + H(class) - H(bin, class)."""
    joint = tables.reshape(len(tables), -1)
    nats: Views = np.maximum(0.0, entropy(tables.sum(axis=2)) + entropy(tables.sum(axis=1)) - entropy(joint))
    return nats


def expected_information(tables: Tables) -> Views:
    """Mean mutual information in nats over all tables with the same margins.

    I = (sum n log n - sum a log a - sum b log b + N log N) / N over cells n, bins a and classes b, and only the first
    sum differs between shuffles. Bins of equal size have equal means, so each size is worked out once.
    """
    bins, classes = tables.sum(axis=2), tables.sum(axis=1)
    rows = classes.sum(axis=1)
    span = rows.max() + 1
    view = np.repeat(np.arange(len(tables)), bins.shape[1])
    sizes, times = np.unique(view * span + bins.reshape(-1), return_counts=True)
    view, sizes = (sizes // span).astype(np.int64), sizes % span
    means = expected_xlogx(sizes, classes[view], rows[view])
    joint = np.bincount(view, times * means.sum(axis=1), minlength=len(tables))
    margins = xlogy(bins, bins).sum(axis=1) + xlogy(classes, classes).sum(axis=1)
    mean: Views = np.maximum(0.0, (joint - margins + xlogy(rows, rows)) / np.maximum(rows, 1.0))
    return mean


def expected_xlogx(
    bins: Float64[np.ndarray, " sizes"],
    classes: Float64[np.ndarray, "sizes classes"],
    rows: Float64[np.ndarray, " sizes"],
) -> Float64[np.ndarray, "sizes classes"]:
    """E[n log n] of a cell whose bin has a rows and whose class has b, of N: n is hypergeometric.

    E[n log n] = (ab/N) E[log(1 + m)], with m hypergeometric of (a - 1, b - 1, N - 1). For a mean of m above `SMOOTH`
    the logarithm is expanded around it to the sixth order; below, the terms are summed.
    """
    a, b, n = np.broadcast_arrays(bins[:, None], classes, rows[:, None])
    total = np.maximum(n - 1, 1.0)
    draws, marked = np.maximum(a - 1, 0.0), np.maximum(b - 1, 0.0)
    mean = draws * marked / total
    spread = mean * (1 - draws / total) * (total - marked) / np.maximum(total - 1, 1.0)
    skew = spread * (total - 2 * draws) * (total - 2 * marked) / (total * np.maximum(total - 2, 1.0))
    at = 1 + mean
    logs = np.log(at) - spread / (2 * at**2) + skew / (3 * at**3) - (3 * spread**2 + spread) / (4 * at**4)
    logs += 2 * spread * skew / at**5 - 2.5 * spread**3 / at**6
    few = mean < SMOOTH
    if few.any():
        logs[few] = _summed(draws[few], marked[few], total[few])
    result: Float64[np.ndarray, "sizes classes"] = a * b / np.maximum(n, 1.0) * logs
    return result


def _summed(
    draws: Float64[np.ndarray, " cells"], marked: Float64[np.ndarray, " cells"], total: Float64[np.ndarray, " cells"]
) -> Float64[np.ndarray, " cells"]:
    """E[log(1 + m)] of hypergeometric m, by the recurrence of its probabilities from the lowest possible m on."""
    m = np.maximum(0.0, draws + marked - total)
    log_start = _log_choose(marked, m) + _log_choose(total - marked, draws - m) - _log_choose(total, draws)
    probability = np.exp(log_start)
    mean: Float64[np.ndarray, " cells"] = probability * np.log1p(m)
    for _ in range(_TERMS):
        probability *= (marked - m) * (draws - m) / ((m + 1) * (total - marked - draws + m + 1))
        m += 1
        mean += probability * np.log1p(m)
    return mean


def _log_choose(n: Float64[np.ndarray, " cells"], k: Float64[np.ndarray, " cells"]) -> Float64[np.ndarray, " cells"]:
    logs: Float64[np.ndarray, " cells"] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logs
