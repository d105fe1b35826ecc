"""What the curves say: budget at equal quality, gains at equal budget, and how sure both are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wilcoxon

Curve = Mapping[int, Sequence[float]]
"""Parameters -> quality per seed, higher is better."""
RESAMPLES = 2000
MATCHED = 0.02
"""Share by which sizes that count as one may differ."""
FEW_SEEDS = 5


def threshold(uniform: Curve) -> float:
    """Q: the best mean quality on the uniform curve less the seeds' standard deviation there."""
    best = max(uniform, key=lambda size: np.mean(uniform[size]))
    values = np.array(uniform[best])
    return float(values.mean() - (values.std(ddof=1) if len(values) > 1 else 0.0))


def least(curve: Curve, quality: float) -> int | None:
    """The fewest parameters whose mean quality reaches `quality`; None where none does."""
    reached = [size for size, values in curve.items() if np.mean(values) >= quality]
    return min(reached, default=None)


def times_fewer(curve: Curve, other: Curve, quality: float, least_other: int | None = None) -> tuple[float | None, str]:
    """(the least of `other` over the least of `curve` at that quality, what is to be said of it).

    Where `other` never reaches it, its largest size stands in, and the ratio is "at least"; where `curve` does not, its own
    largest one, and the ratio is "at most". Where it reaches it at the
    smallest size that was measured of it, it might do so with less: sizes of `curve` below that are then not counted, so that
    two equal curves come to 1 however far down each was measured. `least_other` is the smallest size that `other` can have at
    all; where that was measured, no less would do.
    """
    mine, theirs = least(curve, quality), least(other, quality)
    if mine is None and theirs is None:
        return None, "not reached"
    if mine is None:
        assert theirs is not None
        return theirs / max(curve), "not reached: at most"
    if theirs is None:
        return max(other) / mine, "at least"
    if theirs == min(other) and least_other is not None and theirs <= least_other * (1 + MATCHED):
        return theirs / mine, "smallest there is"
    if theirs == min(other):
        return theirs / max(mine, theirs), "smallest measured"
    return theirs / mine, ""


def geometric_mean(ratios: Sequence[float]) -> float:
    """The exponential of the mean logarithm; NaN of none."""
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else float("nan")


def relative_gain(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired relative gains (ours - theirs) / |theirs| with its 95% bootstrap interval over seeds.

    With fewer than `FEW_SEEDS` the bootstrap knows too little: it is the range of the seeds then.
    """
    gains = (np.array(ours) - np.array(theirs)) / np.abs(theirs)
    if len(gains) < FEW_SEEDS:
        return float(gains.mean()), float(gains.min()), float(gains.max())
    random = np.random.default_rng(0)
    means = gains[random.integers(0, len(gains), (RESAMPLES, len(gains)))].mean(axis=1)
    return float(gains.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def interval_over_tables(gains: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float, float]:
    """Mean over tables of the mean gain over their sets, with a 95% bootstrap over tables, and seeds within the sets.

    Sets that were made of one table say much the same, so they are not drawn one by one.
    """
    random = np.random.default_rng(0)

    def drawn(table: Sequence[Sequence[float]]) -> float:
        return float(np.mean([np.mean(np.array(g)[random.integers(0, len(g), len(g))]) for g in table]))

    means = [np.mean([drawn(gains[i]) for i in random.integers(0, len(gains), len(gains))]) for _ in range(RESAMPLES)]
    mean = float(np.mean([table_mean(table) for table in gains]))
    return mean, float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def table_mean(gains: Sequence[Sequence[float]]) -> float:
    """Mean over the sets of a table of their mean gain."""
    return float(np.mean([np.mean(g) for g in gains]))


def signed_ranks(gains: Sequence[float]) -> float:
    """One-sided p-value of Wilcoxon's signed-rank test over tables that gains are above zero; 1 where all are 0."""
    values = np.array(gains)
    return float(wilcoxon(values, alternative="greater").pvalue) if np.any(values != 0) else 1.0


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (1979)."""
    ranked = sorted(p_values, key=lambda name: p_values[name])
    adjusted, running = {}, 0.0
    for place, name in enumerate(ranked):
        running = max(running, min(1.0, (len(ranked) - place) * p_values[name]))
        adjusted[name] = running
    return adjusted
