"""Paired bootstrap intervals: all models on the same resamples, each resample a vector of row counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from abi.frequency import ClassGroups
from abi.metrics import LOWER_IS_BETTER, Counts, Draws, Prediction, Target, statistics
from abi.outcomes import Gain
from abi.problem import Task
from abi.types import Estimate

CHUNK_VALUES: Final = 8_000_000


def block_rows(rows: int) -> int:
    """Length of the blocks that rows in order of time are drawn in: rows^(1/3), the rate that keeps the variance's error least.

    References:
        Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 1989.
    """
    return max(1, round(math.cbrt(rows)))


def resamples(rows: int, number: int, seed: int, block: int = 1) -> Iterator[Counts]:
    """Row counts of bootstrap resamples, in chunks that fit the memory.

    With `block` above 1 neighbouring rows are drawn together (the circular block bootstrap), so that rows that are like
    those beside them do not count as so many of their own.
    """
    random = np.random.default_rng(seed)
    step = max(1, min(number, CHUNK_VALUES // max(rows, 1)))
    for start in range(0, number, step):
        size = min(step, number - start)
        if block > 1:
            starts = random.integers(0, rows, size=(size, -(-rows // block)))
            drawn = ((starts[:, :, None] + np.arange(block)) % rows).reshape(size, -1)[:, :rows]
        else:
            drawn = random.integers(0, rows, size=(size, rows))
        yield np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(np.float64)


def bootstrap(
    task: Task,
    target: Target,
    predictions: Mapping[str, Prediction],
    number: int,
    seed: int,
    block: int = 1,
    groups: ClassGroups | None = None,
) -> dict[str, dict[str, Draws]]:
    """Draws of each metric for each model, paired: draw r is the same resample for all. `block` as in `resamples`."""
    functions = {name: statistics(task, target, p, groups) for name, p in predictions.items()}
    parts: dict[str, dict[str, list[Draws]]] = {n: {m: [] for m in f} for n, f in functions.items()}
    for counts in resamples(len(target), number, seed, block):
        for name, metrics in functions.items():
            for metric, function in metrics.items():
                parts[name][metric].append(function(counts))
    return {n: {m: np.concatenate(d) for m, d in f.items()} for n, f in parts.items()}


def estimate(value: float, draws: Draws) -> Estimate:
    """The value with the 2.5% and 97.5% points of its draws."""
    known = draws[np.isfinite(draws)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (value, value)
    return Estimate(value=value, low=float(min(low, value)), high=float(max(high, value)))


def gain(metric: str, model: float, other: float, model_draws: Draws, other_draws: Draws) -> Gain:
    """Paired gain of the model over the other, with the sign turned so that more is better."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    difference = sign * (model - other)
    return Gain(
        metric=metric,
        difference=estimate(difference, sign * (model_draws - other_draws)),
        relative=difference / abs(other) if other else 0.0,
    )
