"""How columns become the matrix that trees are grown on, learned from training rows alone.

Numbers stay as they are. Categories with few values become their rank by frequency, which the trees split as a set;
two-valued ones as a number. Features with many values (ids) may instead become statistics of the target: the smoothed
mean of the target over the value's training rows, and the logarithm of their number; so may pairs of such features
(`abi.inputs.pairs`), whose columns come last. Training rows get these statistics from the other folds
(`abi.inputs.target_means`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Int, Int64

from abi.data.columns import MISSING_CODE, Codes
from abi.data.twins import places_of
from abi.inputs.pairs import frequent, joint_codes, places_in
from abi.inputs.target_means import held_out_means, target_means
from abi.problem import Schema
from abi.trees_capacity import TreePair, TreesCapacity
from abi.values import Floats, Late, Value, Wholes

if TYPE_CHECKING:
    from abi.data.columns import Columns

FOLDS: Final = 5
SMOOTHING: Final = 10.0
"""A value's mean counts as much as the overall one at this many rows."""
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

    @functools.cached_property
    def rank(self) -> Mapping[str, int]:
        """Place of each value."""
        return {value: place for place, value in enumerate(self.values)}

    @functools.cached_property
    def table(self) -> Float[np.ndarray, "values statistics"]:
        """The statistics, and in the last row those of any other value."""
        return np.array([*self.statistics, self.otherwise]).reshape(-1, len(self.otherwise))


@dataclass(frozen=True, kw_only=True)
class PairEncoding(Value):
    """Statistics of two features' pairs of values.

    `places` are those of the features among the categorical ones; `keys` the joint codes of their ranks, ascending; the
    `statistics` have one column of entries each, in single precision, less `otherwise`, which any other pair has.
    """

    places: tuple[int, int]
    keys: Wholes
    statistics: tuple[Floats, ...]
    otherwise: tuple[float, ...]

    @property
    def numbers(self) -> int:
        """Learned numbers: every entry of the table of statistics."""
        return len(self.keys) * len(self.statistics)

    @functools.cached_property
    def codes(self) -> Int64[np.ndarray, " values"]:
        """`keys` as an array."""
        return np.array(self.keys, np.int64)

    @functools.cached_property
    def table(self) -> Float[np.ndarray, "values statistics"]:
        """The statistics, and in the last row those of any other pair."""
        differences = np.array(self.statistics, np.float64).T.reshape(-1, len(self.otherwise))
        return np.vstack([differences + self.otherwise, self.otherwise])


@dataclass(frozen=True, kw_only=True)
class TreeEncoding(Value):
    """All that turns columns into the matrix: encodings in schema order; mean and deviation of the target."""

    categories: tuple[CategoryEncoding, ...]
    target_mean: float = 0.0
    target_deviation: float = 1.0
    pairs: Late[tuple[PairEncoding, ...]] = ()

    @property
    def numbers(self) -> int:
        """Learned numbers in the tables of statistics."""
        return sum(one.numbers for one in self.categories) + sum(one.numbers for one in self.pairs)


@dataclass(frozen=True)
class Layout:
    """Which feature each column of the matrix belongs to (its place in the schema), and which hold category codes.

    Columns of pairs follow; `pair_of` says which pair each belongs to, `members` which two features a pair has.
    """

    feature_of: tuple[int, ...]
    category_columns: tuple[int, ...]
    pair_of: tuple[int, ...] = ()
    members: tuple[tuple[int, int], ...] = ()


def learn_encoding(
    schema: Schema, capacity: TreesCapacity, train: Columns, seed: int
) -> tuple[TreeEncoding, Float[np.ndarray, "rows columns"]]:
    """The encoding, and the training rows' own matrix, where statistics come from the other folds."""
    assert train.target is not None
    treatments = [c.treatment for c, f in zip(capacity.features, schema.features, strict=True) if f.kind != "numeric"]
    told = "statistics" in treatments or bool(capacity.pairs)
    targets = _targets(schema, train) if told else np.empty((len(train), 0))
    folds = np.random.default_rng(seed).permutation(len(train)) % FOLDS
    encodings, blocks, ranked = [], [train.numeric], []
    for codes, treatment in zip(train.categorical, treatments, strict=True):
        order = _by_frequency(codes)
        values = tuple(codes.values[i] for i in order)
        if treatment != "statistics":
            encodings.append(CategoryEncoding(values=values))
            ranked.append(_places(codes, encodings[-1]))
            blocks.append(_with_gaps(ranked[-1]))
            continue
        table, overall, block = _statistics(
            _places(codes, CategoryEncoding(values=values)), targets, folds, len(values)
        )
        encodings.append(
            CategoryEncoding(
                values=values,
                statistics=tuple(map(tuple, _rounded(table).tolist())),
                otherwise=tuple(_rounded(overall).tolist()),
            )
        )
        ranked.append(_places(codes, encodings[-1]))
        blocks.append(block)
    pairs = []
    for pair in capacity.pairs:
        learned, block = _learn_pair(pair, schema, encodings, ranked, targets, folds)
        pairs.append(learned)
        blocks.append(block)
    mean, deviation = 0.0, 1.0
    if schema.task == "regression":
        mean, deviation = float(train.target.mean()), float(train.target.std()) or 1.0
    encoding = TreeEncoding(
        categories=tuple(encodings), target_mean=mean, target_deviation=deviation, pairs=tuple(pairs)
    )
    return encoding, np.column_stack(blocks)


def _learn_pair(
    pair: TreePair,
    schema: Schema,
    encodings: Sequence[CategoryEncoding],
    ranked: Sequence[Int[np.ndarray, " rows"]],
    targets: Float[np.ndarray, "rows outputs"],
    folds: Int[np.ndarray, " rows"],
) -> tuple[PairEncoding, Float[np.ndarray, "rows statistics"]]:
    """Its encoding, and the training rows' cross-fitted columns."""
    names = [f.name for f in schema.features if f.kind != "numeric"]
    first, second = (names.index(name) for name in pair.features)
    joint = joint_codes(ranked[first], ranked[second], len(encodings[second].values))
    keys = frequent(joint, pair.values)
    table, overall, block = _statistics(places_in(keys, joint), targets, folds, len(keys))
    learned = PairEncoding(
        places=(first, second),
        keys=tuple(keys.tolist()),
        statistics=tuple(tuple(column) for column in (table - _rounded(overall)).astype(np.float32).T.tolist()),
        otherwise=tuple(_rounded(overall).tolist()),
    )
    return learned, block


def _statistics(
    ranks: Int[np.ndarray, " rows"],
    targets: Float[np.ndarray, "rows outputs"],
    folds: Int[np.ndarray, " rows"],
    count: int,
) -> tuple[
    Float[np.ndarray, "values statistics"], Float[np.ndarray, " statistics"], Float[np.ndarray, "rows statistics"]
]:
    """Of all rows, per value and for none; and of each row, from the other folds."""
    table, overall = target_statistics(ranks, targets, count)
    return table, overall, _cross_fitted(ranks, targets, folds, count)


def matrix(encoding: TreeEncoding, columns: Columns) -> Float[np.ndarray, "rows columns"]:
    """Rows as the trees see them; NaN is missing or a category that training never saw."""
    blocks, ranked = [columns.numeric], []
    for codes, learned in zip(columns.categorical, encoding.categories, strict=True):
        ranked.append(_places(codes, learned))
        blocks.append(learned.table[ranked[-1]] if learned.otherwise else _with_gaps(ranked[-1]))
    for pair in encoding.pairs:
        first, second = pair.places
        joint = joint_codes(ranked[first], ranked[second], len(encoding.categories[second].values))
        blocks.append(pair.table[places_in(pair.codes, joint)])
    return np.column_stack(blocks)


def layout(schema: Schema, encoding: TreeEncoding) -> Layout:
    """Numeric features first, then the categorical ones, each in schema order, then the pairs."""
    feature_of = [i for i, f in enumerate(schema.features) if f.kind == "numeric"]
    category_columns = []
    places = [i for i, f in enumerate(schema.features) if f.kind != "numeric"]
    for place, learned in zip(places, encoding.categories, strict=True):
        if not learned.otherwise and len(learned.values) > TWO:
            category_columns.append(len(feature_of))
        feature_of += [place] * max(1, len(learned.otherwise))
    return Layout(
        tuple(feature_of),
        tuple(category_columns),
        tuple(i for i, pair in enumerate(encoding.pairs) for _ in pair.otherwise),
        tuple((places[pair.places[0]], places[pair.places[1]]) for pair in encoding.pairs),
    )


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
    codes = train.target.astype(np.int64)
    return np.asarray(codes[:, None] == np.arange(1, len(schema.classes)), np.float64)


def _by_frequency(codes: Codes) -> Sequence[int]:
    """Places of the values that occur, the most frequent first; ties by text."""
    counts = np.bincount(codes.codes[codes.codes >= 0], minlength=len(codes.values))
    present = [int(i) for i in np.flatnonzero(counts)]
    return sorted(present, key=lambda i: (-counts[i], codes.values[i]))


def _places(codes: Codes, learned: CategoryEncoding) -> Int[np.ndarray, " rows"]:
    """Rank of each row's value, -1 where it is missing or not listed."""
    look_up = np.array([*places_of(codes.values, learned.rank, MISSING_CODE), MISSING_CODE], np.int64)
    return np.asarray(look_up[codes.codes])


def _with_gaps(places: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows 1"]:
    """Places as numbers, NaN for none."""
    return np.where(places < 0, np.nan, places.astype(np.float64))[:, None]


def _rounded(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Nine digits: enough, and the same text on every machine."""
    return np.vectorize(lambda v: float(f"{v:.9g}"), otypes=[float])(values) if values.size else values
