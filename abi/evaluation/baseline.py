"""The baseline, as a user would otherwise take it: scikit-learn's gradient boosting, a linear model where there is text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from abi.evaluation.linear import fit_linear

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.problem import Task

MAX_CATEGORIES = 254


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the baseline predicts for the held-out rows, and what it cost. `parameters` counts tree nodes or coefficients."""

    prediction: Float[np.ndarray, "rows ..."]
    description: str
    parameters: int
    train_time_s: float


def fit_baseline(
    task: Task, classes: int, train: Sequence[Columns], test: Columns, seed: int, texts: Collection[int] = ()
) -> Baseline:
    """Histogram gradient boosting with early stopping on a part of its training rows; categories native.

    Where there is free text it is a linear model on TF-IDF instead (`abi.evaluation.linear`).

    Args:
        task: decides classifier or regressor.
        classes: number of classes of the schema; classes that training never saw get probability 0.
        train: parts of the rows to learn from (the model's training and validation rows).
        test: rows to predict.
        seed: of the early-stopping split.
        texts: which of the features that are not numeric are free text.
    """
    if texts:
        prediction, description, size, seconds = fit_linear(task, classes, train, test, texts, seed)
        return Baseline(prediction=prediction, description=description, parameters=size, train_time_s=seconds)
    from sklearn.ensemble import (  # noqa: PLC0415 - scikit-learn takes a second to import
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    start = time.perf_counter()
    *parts, test_x = _matrices([*train, test], seen=len(train))
    train_x, train_y = np.concatenate(parts), np.concatenate([part.target for part in train if part.target is not None])
    # two values need no categorical splits, which take several times as long
    many = np.array([np.nanmax(column, initial=0.0) > 1 for column in train_x.T], dtype=bool)
    categorical = (np.arange(train_x.shape[1]) >= test.numeric.shape[1]) & many
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    smallest = None if task == "regression" else np.unique(train_y, return_counts=True)[1].min()
    early = len(train_y) >= 200 and (smallest is None or smallest >= 10)  # noqa: PLR2004 - a split needs both
    # scikit-learn fails on a column without values in the rows that it bins, a random part of these
    least = 10 + len(train_y) // 10_000 if early else 1
    empty = np.isfinite(train_x).sum(axis=0) < least
    train_x[:, empty], test_x[:, empty] = 0.0, 0.0
    model = kind(
        max_iter=300,
        early_stopping=early,
        validation_fraction=0.15,
        categorical_features=categorical,
        random_state=seed,
    )
    model.fit(train_x, train_y)
    seconds = time.perf_counter() - start
    if task == "regression":
        prediction = model.predict(test_x)
    else:
        prediction = np.zeros((len(test_x), classes))
        prediction[:, model.classes_.astype(int)] = model.predict_proba(test_x)
    nodes = sum(len(tree.nodes) for stage in model._predictors for tree in stage)
    return Baseline(
        prediction=prediction,
        description=f"scikit-learn HistGradientBoosting, {model.n_iter_} iterations",
        parameters=int(nodes),
        train_time_s=seconds,
    )


def _matrices(parts: Sequence[Columns], seen: int) -> list[Float[np.ndarray, "rows features"]]:
    """Numeric columns, then categories as codes by frequency in the first `seen` parts (rare and new ones missing)."""
    blocks = [[part.numeric] for part in parts]
    for feature in range(len(parts[0].categorical)):
        columns = [part.categorical[feature] for part in parts]
        counts: Counter[str] = Counter()
        for column in columns[:seen]:
            found = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
            counts.update({v: int(n) for v, n in zip(column.values, found, strict=True) if n})
        rank = {value: float(place) for place, (value, _) in enumerate(counts.most_common(MAX_CATEGORIES))}
        for block, column in zip(blocks, columns, strict=True):
            ranks = np.array([*(rank.get(v, np.nan) for v in column.values), np.nan])
            block.append(ranks[column.codes][:, None])
    return [np.column_stack(block) for block in blocks]
