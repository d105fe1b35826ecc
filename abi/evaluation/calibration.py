"""Do predicted chances come true, and predicted values on average?"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Shaped

from abi.metrics import Prediction
from abi.outcomes import Calibration, CalibrationBin
from abi.problem import Task

BINS: Final = 10


def calibration(task: Task, target: Shaped[np.ndarray, "rows ..."], prediction: Prediction) -> Calibration:
    """Reliability in ten bins with equal numbers of rows.

    The error is the mean of |predicted - observed| weighted by rows (expected calibration error, Naeini et al. 2015).
    Binary: chance of the positive class. Multiclass: chance of the chosen class against being right. Multilabel: chances of
    all labels. Regression: predicted against mean observed value, the error in the target's unit.
    """
    if task == "regression":
        predicted, observed = prediction, target.astype(np.float64)
    elif task == "multilabel":
        predicted, observed = prediction.ravel(), target.ravel().astype(np.float64)
    elif task == "binary":
        predicted, observed = prediction[:, 1], (target == 1).astype(np.float64)
    else:
        chosen = prediction.argmax(axis=1)
        predicted, observed = prediction.max(axis=1), (chosen == target).astype(np.float64)
    order = np.argsort(predicted, kind="stable")
    bins = tuple(
        CalibrationBin(predicted=float(predicted[part].mean()), observed=float(observed[part].mean()), rows=len(part))
        for part in np.array_split(order, min(BINS, len(order)))
    )
    error = sum(b.rows * abs(b.predicted - b.observed) for b in bins) / len(order)
    return Calibration(bins=bins, error=float(error))
