"""The baseline, as a user would otherwise take it: scikit-learn's gradient boosting, a linear model where there is text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from abi.evaluation.linear import fit_linear

if TYPE_CHECKING:
    from abi.data.columns import Columns
    from abi.problem import Schema, Task

MAX_CATEGORIES = 254


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the baseline predicts for the held-out rows, and what it cost. `parameters` counts tree nodes or coefficients.

    `predict` asks it for other rows.
    """

    prediction: Float[np.ndarray, "rows ..."]
    predict: Callable[[Columns], Float[np.ndarray, "rows ..."]]
    description: str
    parameters: int
    train_time_s: float


def fit_baseline(
    task: Task, classes: int, train: Sequence[Columns], test: Columns, seed: int, texts: Collection[int] = ()
) -> Baseline:
    """Histogram gradient boosting with early stopping on a part of its training rows; categories native.

    Where there is free text, or rows have any number of labels, it is a linear model instead (`abi.evaluation.linear`).

    Args:
        task: decides classifier or regressor.
        classes: number of classes of the schema; classes that training never saw get probability 0.
        train: parts of the rows to learn from (the model's training and validation rows).
        test: rows to predict.
        seed: of the early-stopping split.
        texts: which of the features that are not numeric are free text.
    """
    if texts or task == "multilabel":
        linear, description, size, seconds = fit_linear(task, classes, train, texts, seed)
        return Baseline(
            prediction=linear(test), predict=linear, description=description, parameters=size, train_time_s=seconds
        )
    from sklearn.ensemble import (  # noqa: PLC0415 - scikit-learn takes a second to import
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    start = time.perf_counter()
    encode = _encoder(train)
    parts = [encode(part) for part in train]
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
    train_x[:, empty] = 0.0
    model = kind(
        max_iter=300,
        early_stopping=early,
        validation_fraction=0.15,
        categorical_features=categorical,
        random_state=seed,
    )
    model.fit(train_x, train_y)
    seconds = time.perf_counter() - start

    def predict(rows: Columns) -> Float[np.ndarray, "rows ..."]:
        x = encode(rows)
        x[:, empty] = 0.0
        if task == "regression":
            return np.asarray(model.predict(x))
        chances = np.zeros((len(x), classes))
        chances[:, model.classes_.astype(int)] = model.predict_proba(x)
        return chances

    nodes = sum(len(tree.nodes) for stage in model._predictors for tree in stage)
    return Baseline(
        prediction=predict(test),
        predict=predict,
        description=f"scikit-learn HistGradientBoosting, {model.n_iter_} iterations",
        parameters=int(nodes),
        train_time_s=seconds,
    )


def of_columns(schema: Schema) -> tuple[list[int], list[int]]:
    """(features that are not numeric which the baseline reads, by their places; which of these are free text).

    It knows no encoder: the column of one counts as text, once. Of pictures it reads the regions; where nothing
    but an encoder sees them and there is no other feature, each picture is a category.
    """
    others = [feature for feature in schema.features if feature.kind != "numeric"]
    columns = {feature.column for feature in others if feature.kind == "text"}
    seen = all(feature.of_sight for feature in schema.features)
    read = [
        i
        for i, f in enumerate(others)
        if f.kind not in ("embedding", "sequence") or (seen if f.of_sight else f.column not in columns)
    ]
    return read, [place for place, i in enumerate(read) if others[i].of_text]


def _encoder(train: Sequence[Columns]) -> Callable[[Columns], Float[np.ndarray, "rows features"]]:
    """Numeric columns, then categories as codes by frequency in the training rows (rare and new ones missing)."""
    ranks = []
    for columns in zip(*(part.categorical for part in train), strict=True):
        counts: Counter[str] = Counter()
        for column in columns:
            found = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
            counts.update({v: int(n) for v, n in zip(column.values, found, strict=True) if n})
        ranks.append({value: float(place) for place, (value, _) in enumerate(counts.most_common(MAX_CATEGORIES))})

    def encode(rows: Columns) -> Float[np.ndarray, "rows features"]:
        blocks = [rows.numeric]
        for rank, column in zip(ranks, rows.categorical, strict=True):
            places = np.array([*(rank.get(v, np.nan) for v in column.values), np.nan])
            blocks.append(places[column.codes][:, None])
        return np.column_stack(blocks)

    return encode
