"""Time to predict one row."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.data.columns import without_vectors
from abi.families.artifact import Model as Network
from abi.families.family import Model
from abi.training.fitted import Fitted

if TYPE_CHECKING:
    from abi.data.columns import Columns, Vectors

CALLS: Final = 20
FLOAT_BYTES: Final = 4


def with_encoders(fitted: Fitted[Network], vectors: Vectors | None, columns: Columns) -> Fitted[Network]:
    """With what its pretrained encoders take: their weights in memory, and a text's or picture's way through them per prediction."""
    used = [f.encoder for f in fitted.model.schema.features if f.encoder is not None]
    if not used:
        return fitted
    model, measured = replace(fitted.model, vectors=vectors), fitted.trained.measured
    cost = replace(
        measured,
        memory_bytes=measured.memory_bytes + FLOAT_BYTES * sum(e.parameters for e in used),
        latency_s=predict_seconds(model, columns),
    )
    return replace(fitted, model=model, trained=replace(fitted.trained, measured=cost))


def predict_seconds(model: Model, columns: Columns) -> float:
    """Median seconds to predict one row that is already a row of columns."""
    one = columns.take(np.arange(1))
    if isinstance(model, Network) and model.vectors is not None:
        one = without_vectors(one, model.schema)
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        model.predict_columns(one)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
