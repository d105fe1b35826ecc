"""Metrics as functions of row counts, so that the plain value and any bootstrap resample are the same computation.

Mean-like metrics are one matrix product of counts and per-row values; ROC AUC is a weighted sum over rows sorted once.
Macro averages are over the classes that the resample or its predictions hold. A label of a set is taken where its
chance is one half or more (`abi.families.family.judged` moves a model's own thresholds there).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_array

from abi.errors import UsageError, listed
from abi.frequency import GROUPS, ClassGroups
from abi.problem import Task

Counts = Float[np.ndarray, "resamples rows"]
Draws = Float[np.ndarray, " resamples"]
Prediction = Float[np.ndarray, "rows ..."]
Target = Shaped[np.ndarray, "rows ..."]
Statistic = Callable[[Counts], Draws]

NO_SPREAD: Final = 1e-12
LEAST_CHANCE: Final = 1e-15
HALF: Final = 0.5
LOWER_IS_BETTER: Final = frozenset({"log_loss", "rmse", "mae"})
PRIMARY: Final[dict[str, str]] = {
    "binary": "roc_auc",
    "multiclass": "accuracy",
    "multilabel": "f1_micro",
    "regression": "rmse",
}
METRICS: Final[dict[str, tuple[str, ...]]] = {
    "binary": ("roc_auc", "accuracy", "balanced_accuracy", "f1_macro", "log_loss"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"),
    "multilabel": ("f1_micro", "f1_macro", "subset_accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
BY_FREQUENCY: Final = tuple(f"{group}_accuracy" for group in GROUPS)
"""Mean recall of the frequent, the middle and the rare classes, where classes differ in their training rows."""


def primary_metric(task: Task, asked: str = "auto") -> str:
    """The metric that decides: the asked one, or the task's usual one."""
    known = (*METRICS[task], *(BY_FREQUENCY if task in {"binary", "multiclass"} else ()))
    return PRIMARY[task] if asked == "auto" or asked not in known else asked


def expect_metric(task: Task, asked: str) -> None:
    """Raise a UsageError where a task does not have the metric that is asked for."""
    known = (*METRICS[task], *(BY_FREQUENCY if task in {"binary", "multiclass"} else ()))
    if asked not in {"auto", *known}:
        msg = f"Expected a metric of a {task} target for evaluation.metric, got {asked!r}: choose {listed(('auto', *METRICS[task]))}."
        raise UsageError(msg)


def row_loss(task: Task, target: Target, prediction: Prediction) -> Float[np.ndarray, " rows"]:
    """What training minimises, per row: log loss (of label sets its mean over labels), or squared error."""
    if task == "regression":
        return np.asarray((prediction - target) ** 2)
    if task == "multilabel":
        chance = np.where(target, prediction, 1 - prediction)
        return np.asarray(-np.log(np.clip(chance, LEAST_CHANCE, 1.0)).mean(axis=1))
    chance = prediction[np.arange(len(target)), target.astype(np.int64)]
    return np.asarray(-np.log(np.clip(chance, LEAST_CHANCE, 1.0)))


def at_half(chance: Float[np.ndarray, "rows labels"], thresholds: Float[np.ndarray, " labels"]) -> Prediction:
    """Chances stretched on either side of their thresholds, so that one half decides."""
    below, above = chance / (2 * thresholds), HALF + (chance - thresholds) / (2 * (1 - thresholds))
    moved = np.where(chance < thresholds, np.minimum(below, np.nextafter(HALF, 0)), np.maximum(above, HALF))
    return np.asarray(moved)


def statistics(
    task: Task, target: Target, prediction: Prediction, groups: ClassGroups | None = None
) -> dict[str, Statistic]:
    """Each metric as a function of row counts; NaN where it is not defined (ROC AUC of one class, R2 of a constant).

    Args:
        task: decides which metrics there are.
        target: class codes, values, or which labels a row has, shape (rows, labels).
        prediction: probabilities, shape (rows, classes), or values, shape (rows,).
        groups: classes by their frequency; with them there are also the metrics of `BY_FREQUENCY`, and those of a rejection
            where a class means none of the others.
    """
    if task == "regression":
        return _of_values(target, prediction)
    if task == "multilabel":
        return _of_sets(target.astype(bool), prediction >= HALF)
    codes, chosen = target.astype(np.int64), prediction.argmax(axis=1)
    hit = (chosen == codes).astype(np.float64)
    loss = row_loss(task, target, prediction)
    classes = prediction.shape[1]
    present, right, taken = _by_class(codes, classes), _by_class(codes, classes, hit), _by_class(chosen, classes)

    def recall(counts: Counts, of: tuple[int, ...] | None = None) -> Draws:
        rows, hits = present(counts), right(counts)
        if of is not None:
            rows, hits = rows[:, list(of)], hits[:, list(of)]
        return _mean_ratio(hits, rows)

    def f1(counts: Counts) -> Draws:
        return _mean_ratio(2 * right(counts), present(counts) + taken(counts))

    metrics: dict[str, Statistic] = {
        "accuracy": lambda c: _mean(c, hit),
        "balanced_accuracy": recall,
        "f1_macro": f1,
        "log_loss": lambda c: _mean(c, loss),
    }
    if task == "binary":
        metrics = {"roc_auc": _roc_auc(codes, prediction[:, 1]), **metrics}
    if groups is not None and groups.outside is not None:
        metrics |= _of_rejection(codes == groups.outside, chosen == groups.outside, hit, prediction[:, groups.outside])
    found = {} if groups is None else {group: groups.of(group) for group in GROUPS}
    return metrics | {f"{group}_accuracy": functools.partial(recall, of=of) for group, of in found.items() if of}


def _of_values(target: Float[np.ndarray, " rows"], prediction: Float[np.ndarray, " rows"]) -> dict[str, Statistic]:
    error = prediction - target
    square, absolute, centred = error**2, np.abs(error), target - target.mean()

    def r2(counts: Counts) -> Draws:
        total = counts.sum(axis=1)
        raw = counts @ centred**2
        spread = raw - (counts @ centred) ** 2 / total
        varies = spread > NO_SPREAD * raw  # R2 is not defined where the target does not vary
        return np.where(varies, 1 - (counts @ square) / np.where(varies, spread, 1.0), np.nan)

    return {"rmse": lambda c: np.sqrt(_mean(c, square)), "mae": lambda c: _mean(c, absolute), "r2": r2}


def _of_sets(target: Bool[np.ndarray, "rows labels"], taken: Bool[np.ndarray, "rows labels"]) -> dict[str, Statistic]:
    """F1 = 2 tp / (labels + taken), over all pairs of a row and a label or per label; sets that are right as a whole."""
    right = csr_array((target & taken).astype(np.float64))
    either = csr_array(target.astype(np.float64) + taken)
    row_right, row_either = right.sum(axis=1), either.sum(axis=1)
    same = (target == taken).all(axis=1).astype(np.float64)

    def micro(counts: Counts) -> Draws:
        whole = counts @ row_either
        return np.where(whole > 0, 2 * (counts @ row_right) / np.where(whole > 0, whole, 1.0), np.nan)

    return {
        "f1_micro": micro,
        "f1_macro": lambda c: _mean_ratio(2 * (right.T @ c.T).T, (either.T @ c.T).T),
        "subset_accuracy": lambda c: _mean(c, same),
    }


def _of_rejection(
    outside: Bool[np.ndarray, " rows"],
    rejected: Bool[np.ndarray, " rows"],
    hit: Float[np.ndarray, " rows"],
    chance: Float[np.ndarray, " rows"],
) -> dict[str, Statistic]:
    """Accuracy of the rows in scope; recall, precision and ROC AUC of telling that a row is out of scope."""
    caught = (outside & rejected).astype(np.float64)

    def share(part: Float[np.ndarray, " rows"], whole: Bool[np.ndarray, " rows"]) -> Statistic:
        return lambda c: _mean_ratio((c @ part)[:, None], (c @ whole.astype(np.float64))[:, None])

    return {
        "in_scope_accuracy": share(hit * ~outside, ~outside),
        "out_of_scope_recall": share(caught, outside),
        "out_of_scope_precision": share(caught, rejected),
        "out_of_scope_auroc": _roc_auc(outside.astype(np.int64), chance),
    }


def _mean(counts: Counts, values: Float[np.ndarray, " rows"]) -> Draws:
    return np.asarray((counts @ values) / counts.sum(axis=1))


def _mean_ratio(part: Float[np.ndarray, "resamples n"], whole: Float[np.ndarray, "resamples n"]) -> Draws:
    """Mean of part / whole over those that have any; NaN where none has."""
    there = (whole > 0).sum(axis=1)
    total = (part / np.maximum(whole, 1e-300)).sum(axis=1)
    return np.where(there > 0, total / np.maximum(there, 1), np.nan)


def _by_class(
    codes: Int[np.ndarray, " rows"], classes: int, values: Float[np.ndarray, " rows"] | None = None
) -> Callable[[Counts], Float[np.ndarray, "resamples classes"]]:
    """Row counts -> the sum of values (of ones) over each class."""

    @functools.cache
    def which() -> csr_array:
        rows, own = np.arange(len(codes)), np.ones(len(codes)) if values is None else values
        return csr_array((own, (codes, rows)), shape=(classes, len(codes)))

    return lambda counts: np.asarray((which() @ counts.T).T)


def _roc_auc(codes: Int[np.ndarray, " rows"], positive: Float[np.ndarray, " rows"]) -> Statistic:
    """P(score of a positive > score of a negative) + half of the ties, with row counts as weights."""
    order = np.argsort(positive)  # ties are added up, whichever comes first
    ranked = positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    is_positive = (codes[order] == 1).astype(np.float64)

    def auc(counts: Counts) -> Draws:
        sorted_counts = counts[:, order]
        ups = np.add.reduceat(sorted_counts * is_positive, starts, axis=1)
        downs = np.add.reduceat(sorted_counts * (1 - is_positive), starts, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        return np.where(pairs > 0, (ups * below).sum(axis=1) / np.maximum(pairs, 1), np.nan)

    return auc


def score(
    task: Task, target: Target, prediction: Prediction, groups: ClassGroups | None = None, only: str = ""
) -> dict[str, float]:
    """The metrics themselves, or `only` one of them."""
    ones = np.ones((1, len(target)))
    found = statistics(task, target, prediction, groups).items()
    return {name: float(f(ones)[0]) for name, f in found if only in ("", name)}
