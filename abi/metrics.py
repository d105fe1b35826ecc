"""Metrics as functions of row counts, so that the plain value and any bootstrap resample are the same computation.

Mean-like metrics are one matrix product of counts and per-row values; ROC AUC is a weighted sum over rows sorted once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped

from abi.problem import Task

Counts = Float[np.ndarray, "resamples rows"]
Draws = Float[np.ndarray, " resamples"]
Prediction = Float[np.ndarray, "rows ..."]
Statistic = Callable[[Counts], Draws]

NO_SPREAD: Final = 1e-12
LOWER_IS_BETTER: Final = frozenset({"log_loss", "rmse", "mae"})
PRIMARY: Final[dict[str, str]] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}
METRICS: Final[dict[str, tuple[str, ...]]] = {
    "binary": ("roc_auc", "accuracy", "balanced_accuracy", "log_loss"),
    "multiclass": ("accuracy", "balanced_accuracy", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}


def primary_metric(task: Task, asked: str = "auto") -> str:
    """The metric that decides: the asked one, or the task's usual one."""
    return PRIMARY[task] if asked == "auto" or asked not in METRICS[task] else asked


def row_loss(task: Task, target: Shaped[np.ndarray, " rows"], prediction: Prediction) -> Float[np.ndarray, " rows"]:
    """What training minimises, per row: log loss, or squared error in the target's unit."""
    if task == "regression":
        return np.asarray((prediction - target) ** 2)
    chance = prediction[np.arange(len(target)), target.astype(np.int64)]
    return np.asarray(-np.log(np.clip(chance, 1e-15, 1.0)))


def statistics(task: Task, target: Shaped[np.ndarray, " rows"], prediction: Prediction) -> dict[str, Statistic]:
    """Each metric as a function of row counts; NaN where it is not defined (ROC AUC of one class, R2 of a constant).

    Args:
        task: decides which metrics there are.
        target: class codes, or values.
        prediction: probabilities, shape (rows, classes), or values, shape (rows,).
    """
    if task == "regression":
        error = prediction - target
        square, absolute, centred = error**2, np.abs(error), target - target.mean()

        def r2(counts: Counts) -> Draws:
            total = counts.sum(axis=1)
            raw = counts @ centred**2
            spread = raw - (counts @ centred) ** 2 / total
            varies = spread > NO_SPREAD * raw  # R2 is not defined where the target does not vary
            return np.where(varies, 1 - (counts @ square) / np.where(varies, spread, 1.0), np.nan)

        return {"rmse": lambda c: np.sqrt(_mean(c, square)), "mae": lambda c: _mean(c, absolute), "r2": r2}
    codes = target.astype(np.int64)
    hit = (prediction.argmax(axis=1) == codes).astype(np.float64)
    loss = row_loss(task, target, prediction)
    classes = np.eye(prediction.shape[1])[codes]

    def balanced(counts: Counts) -> Draws:
        present = counts @ classes
        recall = (counts @ (classes * hit[:, None])) / np.maximum(present, 1e-300)
        return np.asarray(recall.sum(axis=1) / np.maximum((present > 0).sum(axis=1), 1))

    metrics: dict[str, Statistic] = {
        "accuracy": lambda c: _mean(c, hit),
        "balanced_accuracy": balanced,
        "log_loss": lambda c: _mean(c, loss),
    }
    if task == "binary":
        metrics = {"roc_auc": _roc_auc(codes, prediction[:, 1]), **metrics}
    return metrics


def _mean(counts: Counts, values: Float[np.ndarray, " rows"]) -> Draws:
    return np.asarray((counts @ values) / counts.sum(axis=1))


def _roc_auc(codes: Int[np.ndarray, " rows"], positive: Float[np.ndarray, " rows"]) -> Statistic:
    """P(score of a positive > score of a negative) + half of the ties, with row counts as weights."""
    order = np.argsort(positive, kind="stable")
    _, starts = np.unique(positive[order], return_index=True)
    is_positive = (codes[order] == 1).astype(np.float64)

    def auc(counts: Counts) -> Draws:
        sorted_counts = counts[:, order]
        ups = np.add.reduceat(sorted_counts * is_positive, starts, axis=1)
        downs = np.add.reduceat(sorted_counts * (1 - is_positive), starts, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        return np.where(pairs > 0, (ups * below).sum(axis=1) / np.maximum(pairs, 1), np.nan)

    return auc


def score(task: Task, target: Shaped[np.ndarray, " rows"], prediction: Prediction) -> dict[str, float]:
    """The metrics themselves."""
    ones = np.ones((1, len(target)))
    return {name: float(f(ones)[0]) for name, f in statistics(task, target, prediction).items()}
