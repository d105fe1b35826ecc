"""How columns become the matrix that trees are grown on, learned from training rows alone.

Numbers stay as they are. Categories with few values become their rank by frequency, which the trees split as a set;
two-valued ones as a number. Features with many values (ids) may instead become statistics of the target: the smoothed
mean of the target over the value's training rows, and the logarithm of their number. Training rows get these statistics
from the other folds (`abi.inputs.target_means`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int

from abi.data.columns import MISSING_CODE, Codes
from abi.inputs.target_means import held_out_means, target_means
from abi.problem import Schema
from abi.types import TreesCapacity
from abi.values import Value

if TYPE_CHECKING:
    from abi.data.columns import Columns

FOLDS: Final = 5
SMOOTHING: Final = 10.0
"""A value's mean counts as much as the overall one at this many rows."""
LEAST_COUNT: Final = 2
"""Values of ids that are rarer than this say nothing of their own."""
TWO: Final = 2


@dataclass(frozen=True, kw_only=True)
class CategoryEncoding(Value):
    """One categorical feature: its values by frequency; per value the statistics, or none where values go in as codes."""

    values: tuple[str, ...]
    statistics: tuple[tuple[float, ...], ...] = ()
    otherwise: tuple[float, ...] = ()
    """The statistics of a value that is not listed."""

    @property
    def numbers(self) -> int:
        """Learned numbers: every entry of the table of statistics."""
        return sum(len(row) for row in self.statistics)


@dataclass(frozen=True, kw_only=True)
class TreeEncoding(Value):
    """All that turns columns into the matrix: encodings in schema order; mean and deviation of the target."""

    categories: tuple[CategoryEncoding, ...]
    target_mean: float = 0.0
    target_deviation: float = 1.0


@dataclass(frozen=True)
class Layout:
    """Which feature each column of the matrix belongs to (its place in the schema), and which hold category codes."""

    feature_of: tuple[int, ...]
    category_columns: tuple[int, ...]


def learn_encoding(
    schema: Schema, capacity: TreesCapacity, train: Columns, seed: int
) -> tuple[TreeEncoding, Float[np.ndarray, "rows columns"]]:
    """The encoding, and the training rows' own matrix, where statistics come from the other folds."""
    assert train.target is not None
    treatments = [c.treatment for c, f in zip(capacity.features, schema.features, strict=True) if f.kind != "numeric"]
    targets = _targets(schema, train)
    folds = np.random.default_rng(seed).permutation(len(train)) % FOLDS
    encodings, blocks = [], [train.numeric]
    for codes, treatment in zip(train.categorical, treatments, strict=True):
        order = _by_frequency(codes)
        values = tuple(codes.values[i] for i in order)
        if treatment != "statistics":
            encodings.append(CategoryEncoding(values=values))
            blocks.append(_ranks(codes, values)[:, None])
            continue
        ranks = _places(codes, values)
        table, overall = target_statistics(ranks, targets, len(values))
        kept = int((np.bincount(ranks[ranks >= 0], minlength=len(values)) >= LEAST_COUNT).sum())
        encodings.append(
            CategoryEncoding(
                values=values[:kept],
                statistics=tuple(map(tuple, _rounded(table[:kept]).tolist())),
                otherwise=tuple(_rounded(overall).tolist()),
            )
        )
        blocks.append(_cross_fitted(ranks, targets, folds, len(values)))
    mean, deviation = 0.0, 1.0
    if schema.task == "regression":
        mean, deviation = float(train.target.mean()), float(train.target.std()) or 1.0
    encoding = TreeEncoding(categories=tuple(encodings), target_mean=mean, target_deviation=deviation)
    return encoding, np.column_stack(blocks)


def matrix(encoding: TreeEncoding, columns: Columns) -> Float[np.ndarray, "rows columns"]:
    """Rows as the trees see them; NaN is missing or a category that training never saw."""
    blocks = [columns.numeric]
    for codes, learned in zip(columns.categorical, encoding.categories, strict=True):
        if not learned.otherwise:
            blocks.append(_ranks(codes, learned.values)[:, None])
            continue
        table = np.array([*learned.statistics, learned.otherwise]).reshape(-1, len(learned.otherwise))
        blocks.append(table[_places(codes, learned.values)])
    return np.column_stack(blocks)


def layout(schema: Schema, encoding: TreeEncoding) -> Layout:
    """Numeric features first, then the categorical ones, each in schema order."""
    feature_of = [i for i, f in enumerate(schema.features) if f.kind == "numeric"]
    category_columns = []
    places = [i for i, f in enumerate(schema.features) if f.kind != "numeric"]
    for place, learned in zip(places, encoding.categories, strict=True):
        if not learned.otherwise and len(learned.values) > TWO:
            category_columns.append(len(feature_of))
        feature_of += [place] * max(1, len(learned.otherwise))
    return Layout(tuple(feature_of), tuple(category_columns))


def target_statistics(
    ranks: Int[np.ndarray, " rows"], targets: Float[np.ndarray, "rows outputs"], count: int
) -> tuple[Float[np.ndarray, "values statistics"], Float[np.ndarray, " statistics"]]:
    """Per value: (sum of targets + m * overall mean) / (rows + m) for each output, with m = 10, and log(1 + rows).

    Args:
        ranks: value of each row, -1 for none.
        targets: 0 or 1 per class, or values.
        count: number of values.

    Returns:
        The table, and what a value without rows gets: the overall mean and log(1).
    """
    overall = targets.mean(axis=0)
    means, rows = target_means(ranks, targets, count, overall, SMOOTHING)
    return np.column_stack([means, np.log1p(rows)]), np.append(overall, 0.0)


def _cross_fitted(
    ranks: Int[np.ndarray, " rows"], targets: Float[np.ndarray, "rows outputs"], folds: np.ndarray, count: int
) -> Float[np.ndarray, "rows statistics"]:
    others = np.array([folds != fold for fold in range(FOLDS)])
    priors = np.array([targets[held if held.any() else ~held].mean(axis=0) for held in others])
    means, rows = held_out_means(ranks, targets, folds, count, priors, SMOOTHING)
    # the number of rows is of four folds; scaled up, so that it means the same when the model is asked
    scale = len(ranks) / np.maximum(1, others.sum(axis=1))
    return np.column_stack([means, np.log1p(rows * scale[folds])])


def _targets(schema: Schema, train: Columns) -> Float[np.ndarray, "rows outputs"]:
    """Columns whose means are the statistics: values, the second class, or every class but the first."""
    assert train.target is not None
    if schema.task == "regression":
        return train.target[:, None].astype(np.float64)
    return np.eye(len(schema.classes))[train.target.astype(np.int64)][:, 1:]


def _by_frequency(codes: Codes) -> Sequence[int]:
    """Places of the values that occur, the most frequent first; ties by text."""
    counts = np.bincount(codes.codes[codes.codes >= 0], minlength=len(codes.values))
    present = [int(i) for i in np.flatnonzero(counts)]
    return sorted(present, key=lambda i: (-counts[i], codes.values[i]))


def _places(codes: Codes, values: Sequence[str]) -> Int[np.ndarray, " rows"]:
    """Rank of each row's value, -1 where it is missing or not listed."""
    rank = {value: place for place, value in enumerate(values)}
    look_up = np.array([*(rank.get(value, MISSING_CODE) for value in codes.values), MISSING_CODE], np.int64)
    return np.asarray(look_up[codes.codes])


def _ranks(codes: Codes, values: Sequence[str]) -> Float[np.ndarray, " rows"]:
    places = _places(codes, values).astype(np.float64)
    places[places < 0] = np.nan
    return places


def _rounded(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Nine digits: enough, and the same text on every machine."""
    return np.vectorize(lambda v: float(f"{v:.9g}"), otypes=[float])(values) if values.size else values
