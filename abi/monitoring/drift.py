"""How far new rows lie from a reference: stability index, two-sample tests, distance; and what of it counts as drift.

References:
    Siddiqi, "Credit Risk Scorecards", 2006 (population stability index, ten bins, 0.25 as its limit).
    Yurdakul, "Statistical Properties of Population Stability Index", 2018 (its expectation where nothing moved).
    Holm, "A simple sequentially rejective multiple test procedure", 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy import stats

from abi.monitored import AttentionDrift, Distribution, FeatureDrift
from abi.monitoring.tally import Tally

if TYPE_CHECKING:
    from abi.operations import MonitorConfig

Counts = Int64[np.ndarray, " cells"]
Some = Int64[np.ndarray, " _"]
HALF_ROW: Final = 0.5
"""What an empty cell counts as, so that the logarithm is finite: less than the least that can be seen."""
EXPECTED: Final = 5.0
"""Least expected rows of a cell that a chi-square test takes (Cochran 1954)."""


def stability_index(before: Counts, now: Counts) -> float:
    """PSI = sum_i (q_i - p_i) ln(q_i / p_i), with p the shares before and q those now. Cells that are empty in both are left out."""
    return float(stability_parts(before, now).sum())


def stability_parts(before: Counts, now: Counts) -> Float64[np.ndarray, " cells"]:
    """What each cell adds to the index."""
    p = np.maximum(before, HALF_ROW) / max(1, before.sum())
    q = np.maximum(now, HALF_ROW) / max(1, now.sum())
    return np.where((before > 0) | (now > 0), (q - p) * np.log(q / p), 0.0)


def chance_index(before: Counts, now: Counts) -> float:
    """What the index is on average where nothing moved: (B - 1) (1/m + 1/n) for B cells, m rows before and n now."""
    cells = int(((before > 0) | (now > 0)).sum())
    return (cells - 1) * (1 / max(1, int(before.sum())) + 1 / max(1, int(now.sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the i-th least of k is multiplied by k - i + 1, and none falls below one before it."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.array(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return [float(p) for p in corrected]


def judge(
    references: Sequence[Distribution],
    tallies: Sequence[Tally],
    weights: Sequence[float],
    config: MonitorConfig,
) -> tuple[FeatureDrift, ...]:
    """Hold each feature against its reference; drifted where index and corrected p-value both say so.

    Args:
        references: of the features, and of whatever else is judged with them.
        tallies: the new rows in their cells.
        weights: attention of each.
        config: the limits.
    """
    found = [compare(*one) for one in zip(references, tallies, weights, strict=True)]
    judged = [i for i, one in enumerate(found) if one.judged]
    for i, p in zip(judged, holm([found[i].p_value for i in judged]), strict=True):
        found[i] = replace(found[i], p_value=p, drifted=bool(found[i].psi > config.psi and p < config.p_value))
    return tuple(found)


def compare(before: Distribution, now: Tally, weight: float) -> FeatureDrift:
    """One feature, with its p-value as it is."""
    first, second = _pooled(before, now)
    statistic, p_values, distance = _TESTS[before.kind](before, now)
    p_values.append(homogeneity(_apart(np.array(before.counts), -1), _apart(now.counts, -1)))
    raw = stability_index(first, second) - chance_index(first, second)
    if before.kind == "text":
        raw = max(raw, _most_moved_term(before, now))
    return FeatureDrift(
        feature=before.feature,
        weight=weight,
        psi=max(0.0, float(raw)),
        statistic=float(statistic),
        p_value=float(min(1.0, len(p_values) * min(p_values))),
        distance=distance,
        missing_before=before.counts[-1] / max(1, before.rows),
        missing_now=int(now.counts[-1]) / max(1, now.rows),
        unseen=int(now.counts[-2]) / max(1, now.rows) if before.kind != "text" and before.complete else 0.0,
        drifted=False,
        judged=not before.calendar,
    )


def kolmogorov_smirnov(before: Counts, now: Counts) -> tuple[float, float]:
    """(D, p): the largest distance of the two distribution functions at the ends of cells.

    Looked at in these places alone it is no larger than over all values, so p is, if anything, too large.
    """
    m, n = int(before.sum()), int(now.sum())
    if not m or not n:
        return 0.0, 1.0
    gaps = np.abs(np.cumsum(before) / m - np.cumsum(now) / n)[:-1]
    largest = float(gaps.max(initial=0.0))
    return largest, float(stats.kstwo.sf(largest, max(1, round(m * n / (m + n)))))


def homogeneity(before: Counts, now: Counts) -> float:
    """p-value of both having the same shares: chi-square, or Fisher's exact test of two cells with few rows; 1 for one cell."""
    held = before + now > 0
    table = np.stack([before[held], now[held]])
    if table.shape[1] < 2 or not table.sum(axis=1).all():  # noqa: PLR2004 - nothing to compare
        return 1.0
    if table.shape[1] == 2 and stats.contingency.expected_freq(table).min() < EXPECTED:  # noqa: PLR2004
        return float(stats.fisher_exact(table).pvalue)
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def data_level(features: Sequence[FeatureDrift], config: MonitorConfig) -> float:
    """How far past the limit the features lie: the largest index over its limit that more than `config.share` of attention reaches."""
    moved = sorted((f for f in features if f.judged and f.p_value < config.p_value), key=lambda f: -f.psi)
    total = 0.0
    for feature in moved:
        total += feature.weight
        if total > config.share:
            return feature.psi / config.psi
    return 0.0


def prediction_level(drift: FeatureDrift | None, config: MonitorConfig) -> float:
    """The same of the predictions."""
    return 0.0 if drift is None or drift.p_value >= config.p_value else drift.psi / config.psi


def attention_level(drift: AttentionDrift | None, config: MonitorConfig) -> float:
    """The same of attention, which counts only above what chance reaches."""
    return 0.0 if drift is None or drift.distance <= drift.band else drift.distance / config.attention


def _numeric(before: Distribution, now: Tally) -> tuple[float, list[float], float | None]:
    assert before.fine is not None
    rows = np.array(before.fine.rows).astype(np.int64)
    statistic, p = kolmogorov_smirnov(rows, now.fine)
    outside = homogeneity(_apart(np.array(before.counts[:-1]), -1), _apart(now.counts[:-1], -1))
    return statistic, [p, outside], wasserstein(before, now)


def wasserstein(before: Distribution, now: Tally) -> float | None:
    """Distance of the cells' means in standard deviations of the reference; None where that is 0 or nothing is there."""
    assert before.fine is not None
    rows, means = np.array(before.fine.rows), before.fine.exact_means
    if not rows.any() or not now.fine.any():
        return None
    centre = np.average(means, weights=rows)
    deviation = float(np.sqrt(np.average((means - centre) ** 2, weights=rows)))
    if not 0 < deviation < np.inf:
        return None
    there = now.fine > 0
    fresh = now.sums[there] / now.fine[there]
    return float(stats.wasserstein_distance(means / deviation, fresh / deviation, rows, now.fine[there]))


def _category(before: Distribution, now: Tally) -> tuple[float, list[float], float | None]:
    """Frequent values by chi-square, what is rare or new by itself."""
    first, second = _pooled(before, now)
    frequent = homogeneity(first[:-2], second[:-2])
    rest = homogeneity(_apart(first[:-1], -1), _apart(second[:-1], -1))
    return _largest_change(first, second), [frequent, rest], None


def _text(before: Distribution, now: Tally) -> tuple[float, list[float], float | None]:
    """Lengths as one test, each term as one more."""
    first, second = _pooled(before, now)
    tests = [homogeneity(first[:-1], second[:-1])]
    changes = [_largest_change(first, second)]
    for old, new in _term_tables(before, now):
        tests.append(homogeneity(old, new))
        changes.append(_largest_change(old, new))
    return max(changes), tests, None


_TESTS: Final = {"numeric": _numeric, "category": _category, "text": _text}


def _most_moved_term(before: Distribution, now: Tally) -> float:
    """The largest index of a term's being there or not, less chance."""
    return max((stability_index(o, n) - chance_index(o, n) for o, n in _term_tables(before, now)), default=0.0)


def _term_tables(before: Distribution, now: Tally) -> list[tuple[Some, Some]]:
    """(with it, without it) before and now, for each term and for having none."""
    m, n = before.rows - before.counts[-1], now.rows - int(now.counts[-1])
    return [
        (np.array([old, m - old]), np.array([int(new), n - int(new)]))
        for old, new in zip(before.terms, now.terms, strict=True)
    ]


def _pooled(before: Distribution, now: Tally) -> tuple[Some, Some]:
    """The cells that are compared: of categories those with enough expected rows, others together, missing."""
    first, second = np.array(before.counts), now.counts
    if before.kind == "numeric":
        return first, second
    expected = first * now.rows / max(1, before.rows)
    if before.kind == "text":
        return _neighbours(first, second, expected)
    kept = np.flatnonzero(expected[:-2] >= EXPECTED)
    return tuple(  # type: ignore[return-value]  # two
        np.array([*cells[kept], cells[:-1].sum() - cells[kept].sum(), cells[-1]]) for cells in (first, second)
    )


def _neighbours(first: Counts, second: Counts, expected: Float64[np.ndarray, " cells"]) -> tuple[Some, Some]:
    """Cells in order, joined until each has enough expected rows; the missing ones stay apart."""
    group, total = [0], 0.0
    for rows in expected[:-2]:
        total += rows
        group.append(group[-1] + int(total >= EXPECTED))
        total = 0.0 if total >= EXPECTED else total
    if expected[-2] + total < EXPECTED and group[-1]:
        group = [min(g, group[-1] - 1) for g in group]
    return tuple(  # type: ignore[return-value]  # two
        np.append(np.bincount(group, cells[:-1]).astype(np.int64), cells[-1]) for cells in (first, second)
    )


def _apart(cells: Counts, place: int) -> Some:
    """One cell against all others."""
    return np.array([cells[place], cells.sum() - cells[place]])


def _largest_change(before: Counts, now: Counts) -> float:
    return float(np.abs(before / max(1, before.sum()) - now / max(1, now.sum())).max())
