"""Paired bootstrap intervals: all models on the same resamples, each resample a vector of row counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from jaxtyping import Shaped

from abi.metrics import LOWER_IS_BETTER, Counts, Draws, Prediction, statistics
from abi.outcomes import Gain
from abi.problem import Task
from abi.types import Estimate

CHUNK_VALUES: Final = 8_000_000


def resamples(rows: int, number: int, seed: int) -> Iterator[Counts]:
    """Row counts of bootstrap resamples, in chunks that fit the memory."""
    random = np.random.default_rng(seed)
    step = max(1, min(number, CHUNK_VALUES // max(rows, 1)))
    for start in range(0, number, step):
        drawn = random.integers(0, rows, size=(min(step, number - start), rows))
        yield np.stack([np.bincount(d, minlength=rows) for d in drawn]).astype(np.float64)


def bootstrap(
    task: Task,
    target: Shaped[np.ndarray, " rows"],
    predictions: Mapping[str, Prediction],
    number: int,
    seed: int,
) -> dict[str, dict[str, Draws]]:
    """Draws of each metric for each model, paired: draw r is the same resample for all."""
    functions = {name: statistics(task, target, p) for name, p in predictions.items()}
    parts: dict[str, dict[str, list[Draws]]] = {n: {m: [] for m in f} for n, f in functions.items()}
    for counts in resamples(len(target), number, seed):
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
