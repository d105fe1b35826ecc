"""Prequential figures: each row is predicted before its label is known, and each counts once (Dawid 1984).

Over all rows, and over a sliding window of the latest ones (Gama, Sebastião and Rodrigues 2013), beside controls on the
same rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Shaped

from abi.adapted import Contender
from abi.adapting.labels import majority
from abi.adapting.stream import Stream

POINTS: Final = 200
"""Most points of a curve."""
DIGITS: Final = 9


def losses(stream: Stream, says: Shaped[np.ndarray, " rows"]) -> Float64[np.ndarray, " rows"]:
    """Per row 1 for a wrong class or the squared error; NaN where there is no label."""
    if stream.numeric:
        return np.asarray((says - stream.codes) ** 2, np.float64)
    return np.asarray(np.where(stream.codes < 0, np.nan, (says != stream.codes).astype(np.float64)))


def again(stream: Stream) -> Shaped[np.ndarray, " rows"]:
    """The last label once more; -1 or 0 before the first."""
    return np.asarray(np.nan_to_num(stream.last) if stream.numeric else stream.last)


def usual(stream: Stream) -> Shaped[np.ndarray, " rows"]:
    """What ignores the columns: the class that most labels so far have, or their mean; -1 or 0 before the first."""
    labels = stream.codes[stream.arrivals.rows]
    if stream.numeric:
        means = np.cumsum(labels) / np.arange(1, len(labels) + 1)
        return np.asarray(np.nan_to_num(stream.arrivals.per_row(means)))
    found = stream.arrivals.per_row(majority(labels, max(1, len(stream.classes))).astype(np.float64))
    return np.where(np.isnan(found), -1, np.nan_to_num(found)).astype(np.int64)


def points(begin: int, rows: int, window: int) -> Int64[np.ndarray, " points"]:
    """The rows after which a curve has a point: at most `POINTS`, the first once a tenth of a window is there, the last at the end."""
    first = min(rows, begin + max(1, window // 10))
    return np.unique(np.linspace(first, rows, min(POINTS, rows - first + 1)).round().astype(np.int64))


def contender(
    name: str, lost: Float64[np.ndarray, " rows"], begin: int, window: int, at: Int64[np.ndarray, " points"],
    *, numeric: bool,
) -> Contender:  # fmt: skip
    """Its figures on the rows from `begin` on that have a label, and the last `window` of these.

    Before its first one the curve is level. There has to be one.
    """
    own = lost[begin:]
    there: Bool[np.ndarray, " rows"] = ~np.isnan(own)
    assert there.any()
    mean = np.full(len(own), np.nan)
    mean[there] = pd.Series(own[there]).rolling(window, min_periods=1).mean()
    along = pd.Series(mean).ffill().bfill().to_numpy(np.float64)[at - begin - 1]
    overall = float(own[there].mean())

    def figure(value: float) -> float:
        return float(f"{np.sqrt(value) if numeric else 1 - value:.{DIGITS}g}")

    return Contender(
        name=name,
        overall=figure(overall),
        window=figure(float(along[-1])),
        curve=tuple(float(np.float32(figure(v))) for v in along),
    )
