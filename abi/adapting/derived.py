"""What a stream tells beside its columns: past labels that have arrived, and how far numbers moved from their past.

Each becomes a column of the table, so it is scored, attended and planned like any other feature. A value of row t is made
from rows before t, t's own columns and labels that have arrived: what comes later changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float64, Shaped

from abi.adapting.labels import Arrivals, run_length
from abi.streaming import AdaptConfig

MOST_CLASSES: Final = 8
"""Shares are made of so many classes at most: those that stand first in the schema."""


@dataclass(frozen=True)
class Target:
    """The label of every row as text (classification; None where there is none) or as a number (NaN)."""

    name: str
    values: Shaped[np.ndarray, " rows"]
    arrivals: Arrivals
    numeric: bool


def derived(
    target: Target, numbers: dict[str, Float64[np.ndarray, " rows"]], classes: Sequence[str], config: AdaptConfig
) -> dict[str, pa.Array]:
    """Name -> column, all rows of the stream.

    Args:
        target: the labels, and when they arrive.
        numbers: columns whose changes are made; NaN is missing.
        classes: known when the stream begins; shares are made of them.
        config: lags, recent, halves.
    """
    found = dict(of_labels(target, classes, config))
    for name, values in numbers.items():
        for half in config.halves:
            found[change_name(name, half)] = pa.array(change(values, half), from_pandas=True)
    return found


def change_name(feature: str, half: float) -> str:
    """The column of a number's change."""
    return f"{feature}: change {show_half(half)}"


def show_half(half: float) -> str:
    """How a column names what it is a change from."""
    return "1" if half == 0 else f"~{half:g}"


def change(values: Float64[np.ndarray, " rows"], half: float) -> Float64[np.ndarray, " rows"]:
    """Each value less the exponentially weighted mean of those before it; with half 0 less the one before."""
    series = pd.Series(values)
    before = series.ffill() if half == 0 else series.ewm(halflife=half).mean()
    return np.asarray((series - before.shift()).to_numpy(np.float64))


def of_labels(target: Target, classes: Sequence[str], config: AdaptConfig) -> Iterator[tuple[str, pa.Array]]:
    """(name, column) of what past labels tell, for each row that `target.arrivals` counts."""
    arrivals, name = target.arrivals, target.name
    labels = target.values[arrivals.rows]
    for lag in range(1, config.lags + 1):
        place = arrivals.place(lag)
        there = place >= 0
        past = target.values[np.maximum(place, 0)]
        kind = pa.float64() if target.numeric else pa.string()
        yield f"{name}: lag {lag}", pa.array(past, kind, mask=~there)
    if target.numeric:
        past = arrivals.per_row(np.asarray(labels, np.float64))
        for recent in config.recent:
            mean = pd.Series(labels).rolling(recent, min_periods=1).mean().to_numpy(np.float64)
            yield f"{name}: mean of {recent}", pa.array(arrivals.per_row(mean), from_pandas=True)
        for half in config.halves:
            yield (
                change_name(name, half),
                pa.array(arrivals.per_row(change(np.asarray(labels, np.float64), half)), from_pandas=True),
            )
        return
    yield f"{name}: run", pa.array(arrivals.per_row(run_length(labels)), from_pandas=True)
    told = classes[1:2] if len(classes) == 2 else classes[:MOST_CLASSES]  # noqa: PLR2004 - of two, one says both
    for label in told:
        hit = pd.Series((labels == label).astype(np.float64))
        for recent in config.recent:
            share = hit.rolling(recent, min_periods=1).mean().to_numpy(np.float64)
            yield f"{name}: share of {label} in {recent}", pa.array(arrivals.per_row(share), from_pandas=True)
