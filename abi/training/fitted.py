"""What every training gives, whatever the family."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from jaxtyping import Float

from abi.families.family import Model
from abi.frequency import ClassGroups, class_rows, groups_of
from abi.metrics import BY_FREQUENCY, Prediction, Target, primary_metric, score
from abi.outcomes import Trained
from abi.problem import Schema, Task

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.columns import Columns

M_co = TypeVar("M_co", bound=Model, covariant=True)


@dataclass(frozen=True)
class Fitted(Generic[M_co]):
    """A trained model, the value that describes it, and its loss on each validation row."""

    model: M_co
    trained: Trained
    row_losses: Float[np.ndarray, " rows"]


def metric_of(
    task: Task, target: Target, prediction: Prediction, config: Config, groups: ClassGroups | None = None
) -> float | None:
    """The primary metric; None where it is not defined, as ROC AUC is where one class is absent."""
    primary = primary_metric(task, config.evaluation.metric)
    by_frequency = groups if primary in BY_FREQUENCY else None
    value = score(task, target, prediction, by_frequency, only=primary).get(primary, math.nan)
    return rounded(value) if math.isfinite(value) else None


def groups_in(columns: Columns, schema: Schema) -> ClassGroups | None:
    """The classes by their rows; None where these do not differ, or there are no classes."""
    if schema.task not in {"binary", "multiclass"}:
        return None
    assert columns.target is not None
    outside = None if schema.out_of_scope is None else schema.classes.index(schema.out_of_scope)
    return groups_of(class_rows(columns.target, len(schema.classes)).tolist(), outside)


def rounded(value: float) -> float:
    """Nine digits: enough, and the same text on every machine."""
    return float(f"{value:.9g}")
