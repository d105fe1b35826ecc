"""Time to predict one row."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.families.family import Model

if TYPE_CHECKING:
    from abi.data.columns import Columns

CALLS: Final = 20


def predict_seconds(model: Model, columns: Columns) -> float:
    """Median seconds to predict one row that is already a row of columns."""
    one = columns.take(np.arange(1))
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.predict_columns(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
