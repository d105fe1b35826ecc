"""What every training gives, whatever the family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Shaped

from abi.families.family import Model
from abi.metrics import Prediction, primary_metric, score
from abi.outcomes import Trained
from abi.problem import Task

if TYPE_CHECKING:
    from abi.config import Config

M_co = TypeVar("M_co", bound=Model, covariant=True)


@dataclass(frozen=True)
class Fitted(Generic[M_co]):
    """A trained model, the value that describes it, and its loss on each validation row."""

    model: M_co
    trained: Trained
    row_losses: Float[np.ndarray, " rows"]


def metric_of(task: Task, target: Shaped[np.ndarray, " rows"], prediction: Prediction, config: Config) -> float | None:
    """The primary metric; None where it is not defined, as ROC AUC is where one class is absent."""
    value = score(task, target, prediction)[primary_metric(task, config.evaluation.metric)]
    return rounded(value) if math.isfinite(value) else None


def rounded(value: float) -> float:
    """Nine digits: enough, and the same text on every machine."""
    return float(f"{value:.9g}")
