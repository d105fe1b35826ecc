"""Is there anything to learn? The model against a constant that knows the training rows' target alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from abi.evaluation.bootstrap import gain
from abi.metrics import Draws, Prediction
from abi.outcomes import Signal
from abi.problem import Task

if TYPE_CHECKING:
    from abi.data.columns import Columns

BESIDE: Final[dict[str, str]] = {"accuracy": "log_loss"}
"""A metric that a model with signal may leave where chance has it (a rare class is never the likeliest), and which one tells."""


def constant(task: Task, classes: int, taught: Sequence[Columns], rows: int) -> Prediction:
    """The mean of the taught rows' target, or the shares of its classes or labels, for every row."""
    target = np.concatenate([part.target for part in taught if part.target is not None])
    if task == "regression":
        return np.full(rows, target.mean())
    if task == "multilabel":
        return np.tile(target.mean(axis=0), (rows, 1))
    shares = np.bincount(target.astype(np.int64), minlength=classes) / len(target)
    return np.tile(shares, (rows, 1))


def signal(
    primary: str, values: Mapping[str, Mapping[str, float]], draws: Mapping[str, Mapping[str, Draws]]
) -> Signal | None:
    """The model's gain over chance in the primary metric, or in the one beside it where that alone shows it.

    Args:
        primary: the metric that decides.
        values: name -> metric -> value, of "model" and "chance".
        draws: the same for the paired resamples.
    """
    found = None
    for metric in (primary, BESIDE.get(primary, primary)):
        if metric not in values["chance"]:
            continue
        ours, theirs = values["model"][metric], values["chance"][metric]
        one = Signal(chance=theirs, gain=gain(metric, ours, theirs, draws["model"][metric], draws["chance"][metric]))
        if one.found:
            return one
        found = found or one
    return found
