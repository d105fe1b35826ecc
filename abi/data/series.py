"""Channels over time: lags, differences and windows of earlier rows, never of later ones or of another group's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float64, Int64

from abi.data import text as spelled
from abi.data.order import ROWS, times_of
from abi.problem import Derivation, Series

Values = Float64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Sequence:
    """Rows as series: `order` puts them one group after the other, each in time; `place` is the row's in its group."""

    order: Int64[np.ndarray, " rows"]
    place: Int64[np.ndarray, " rows"]

    def before(self, values: np.ndarray, lag: int, absent: object) -> np.ndarray:
        """The value of `lag` rows before, in the order that the rows came in; `absent` where there is no such row."""
        moved = np.full(len(values), absent, values.dtype)
        moved[lag:] = values[self.order][: len(values) - lag]
        moved[self.place < lag] = absent
        return self.back(moved)

    def back(self, values: np.ndarray) -> np.ndarray:
        """From the order of the series to that in which the rows came."""
        found = np.empty_like(values)
        found[self.order] = values
        return found


def sequence(columns: Mapping[str, pa.Array], derivation: Derivation, rows: int) -> Sequence:
    """Sort rows by group and time; equal times keep their order. Where the column of times is lacking, rows come in order.

    Nothing is known of what was before a row without a time: it is a series of its own.
    """
    group = np.zeros(rows, np.int64)
    if derivation.series is not None and derivation.series.group:
        group = _group(columns[derivation.series.group]).copy()
    keys = [group]
    if derivation.order != ROWS and derivation.order in columns:
        times = times_of(columns[derivation.order])
        untimed = np.flatnonzero(np.isnan(times))
        group[untimed] = group.max(initial=0) + 1 + np.arange(len(untimed))
        keys.insert(0, times)
    order = np.lexsort(keys).astype(np.int64)
    first = np.flatnonzero(np.diff(group[order], prepend=-2))
    place = np.arange(rows) - np.repeat(first, np.diff(np.append(first, rows)))
    return Sequence(order, place.astype(np.int64))


def series_columns(series: Series, columns: Mapping[str, pa.Array], target: str, rows: Sequence) -> dict[str, pa.Array]:
    """Name -> derived values, in the order that the rows came in.

    Args:
        series: what is asked for.
        columns: values of the channels, and of the target where its lags are asked for and it is known.
        target: name of the target.
        rows: the order.
    """
    found: dict[str, pa.Array] = {}
    for channel in series.channels:
        values = _numbers(columns[channel])
        for lag in series.lags:
            found[f"{channel}@lag{lag}"] = _array(rows.before(values, lag, np.nan))
        if series.differences:
            found[f"{channel}@diff"] = _array(values - rows.before(values, 1, np.nan))
        for window in series.windows:
            for statistic in series.statistics:
                found[f"{channel}@{statistic}{window}"] = _array(_window(values, window, statistic, rows))
    for lag in series.target_lags:
        name = f"{target}@lag{lag}"
        if target not in columns:
            found[name] = pa.nulls(len(rows.order), pa.float64())
            continue
        known = columns[target]
        place = rows.before(np.arange(len(known), dtype=np.int64), lag, -1)
        found[name] = known.take(pa.array(np.where(place < 0, 0, place), mask=place < 0))
    return found


def _window(values: Values, window: int, statistic: str, rows: Sequence) -> Values:
    """A statistic of the last `window` rows, the row itself among them; missing where there are not so many.

    Missing values in a window are left out; the deviation is that of the rows that are there (divided by their number).
    """
    rolling = pd.Series(values[rows.order]).rolling(window, min_periods=1)
    found = (rolling.std(ddof=0) if statistic == "std" else getattr(rolling, statistic)()).to_numpy(np.float64).copy()
    found[rows.place < window - 1] = np.nan
    return rows.back(found)


def _numbers(column: pa.Array) -> Values:
    values = spelled.numbers(column).fill_null(np.nan).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.asarray(np.where(np.isfinite(values), values, np.nan))


def _group(column: pa.Array) -> Int64[np.ndarray, " rows"]:
    """Codes of equal values; rows without one are a group together."""
    return np.asarray(spelled.labels(column).indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _array(values: Values) -> pa.Array:
    return pa.array(values, from_pandas=True)
