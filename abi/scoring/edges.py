"""Where the bins are: fixed before the pass, from a hash sample of the training rows, so that all counts only add up.

A numeric feature has quantile bins, a categorical one a bin per frequent value; the target has one bin per class or,
in regression, quantile bins. Each feature also has a bin for missing values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int16, Int32, Int64

from abi.cores import cores
from abi.data.columns import AnyTarget
from abi.data.split import splitmix64
from abi.errors import DataError, clip
from abi.scoring.types import Grouped

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.columns import Codes, Columns
    from abi.data.reader import Reader
    from abi.problem import Feature, Schema

CATEGORIES = 10_000
"""Most values of a categorical feature that get a bin of their own; the rest share the bin "other"."""
CLASSES = 64
"""Most classes of the target that are told apart; the rest share one."""
LABELS = 32
"""Most labels that columns are scored by, the most frequent ones; each is a target of two classes."""
CELLS = 2**21
"""Most cells of one feature's counts; it lowers `CATEGORIES` where there are many classes and groups."""
SAMPLE_ROWS = 8_192
SAMPLE_CELLS = 2**23
CHUNK_CELLS = 7 * 2**20
"""56 MiB: whole row groups of 100 columns, since parts of a row group take longer to read."""

THREADS = min(4, cores())

_SEED = 0x5EED


@dataclass(frozen=True)
class NumericBins:
    """Bin i holds edges[i-1] < x <= edges[i]; the last edge is inf, and the bin behind it is for missing values.

    `levels` are the medians of the sample in each bin (NaN for missing): what a fit that is linear in the feature sees.
    """

    edges: Float64[np.ndarray, " edges"]
    levels: Float64[np.ndarray, " bins"]

    @property
    def size(self) -> int:
        """Number of bins, with the one for missing values."""
        return len(self.edges) + 1

    def codes(self, values: Float64[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
        """Bin of each value; infinities fall into the first and last bin, NaN into the one for missing values."""
        # NaN sorts behind inf
        found: Int64[np.ndarray, " rows"] = np.searchsorted(self.edges, values)
        return found


@dataclass(frozen=True)
class CategoryBins:
    """A bin for each value in `index`, then one for all other values, then one for missing values."""

    index: dict[str, int]

    @property
    def size(self) -> int:
        """Number of bins, with those for other and for missing values."""
        return len(self.index) + 2

    def codes(self, column: Codes) -> Int64[np.ndarray, " rows"]:
        """Bin of each value; the loop is over the distinct values of a chunk, not its rows."""
        other = len(self.index)
        bins = np.full(len(column.values) + 1, other + 1, np.int64)
        bins[:-1] = [self.index.get(value, other) for value in column.values]
        # a missing value has code -1: the last entry
        found: Int64[np.ndarray, " rows"] = bins[column.codes]
        return found


@dataclass(frozen=True)
class Target:
    """The target as classes.

    Where a row has any number of labels, `labels` are those that are told apart: a row counts once for each label that it
    has and once for the last class, which is all rows, so that the tables of label l are (all - l, l).

    `lookup` folds class codes where there are more than `CLASSES` (classification); `edges` are those of its bins
    (regression). A row of `coordinates` is what a class stands for: a unit vector in classification, the standardised
    mean of the bin in regression. Targets become integers this way, so sums over rows are exact in any order, and the
    ends of a heavy-tailed target count with the mean of their bin.
    """

    coordinates: Float64[np.ndarray, "classes axes"]
    lookup: Int64[np.ndarray, " labels"] | None = None
    edges: NumericBins | None = None
    labels: Int64[np.ndarray, " told"] | None = None

    @property
    def size(self) -> int:
        """Number of classes that are counted."""
        return len(self.coordinates) if self.labels is None else len(self.labels) + 1

    def cells(self, values: AnyTarget) -> tuple[Int64[np.ndarray, " counted"] | None, Int64[np.ndarray, " counted"]]:
        """(rows, the class that each is counted for); None is all rows once, in their order."""
        if self.labels is not None:
            found, which = np.nonzero(values[:, self.labels])
            rows = np.arange(len(values), dtype=np.int64)
            classes = np.concatenate([np.full(len(rows), len(self.labels)), which])
            return np.concatenate([rows, found]).astype(np.int64), classes.astype(np.int64)
        classes = self.codes(values)
        if not (classes < 0).any():
            return None, classes
        present = np.flatnonzero(classes >= 0).astype(np.int64)
        return present, classes[present]

    def of_rows(self, values: AnyTarget) -> Int16[np.ndarray, "targets rows"]:
        """The class of each row, or for each label that is told apart whether it has it."""
        told = self.codes(values)[None] if self.labels is None else values[:, self.labels].T
        return told.astype(np.int16)

    def tables(self, table: Grouped) -> list[Int32[np.ndarray, ...]]:
        """Counts of classes as they are, or those of each label: rows without it, and with it."""
        if self.labels is None:
            return [table]
        whole = table[..., -1]
        return [np.stack([whole - table[..., i], table[..., i]], axis=-1) for i in range(len(self.labels))]

    def codes(self, values: Int64[np.ndarray, " rows"] | Float64[np.ndarray, " rows"]) -> Int64[np.ndarray, " rows"]:
        """Class of each row, -1 where the target is missing."""
        if self.edges is not None:
            codes = self.edges.codes(values.astype(np.float64, copy=False))
            return np.where(codes == self.size, -1, codes)
        assert self.lookup is not None
        return np.where(values < 0, -1, self.lookup[values])


@dataclass(frozen=True)
class Bins:
    """The bins of all features, in schema order, and of the target."""

    features: tuple[NumericBins | CategoryBins, ...]
    target: Target


def places(schema: Schema) -> tuple[int, ...]:
    """Where each feature stands among the numeric or among the other features of `Columns`."""
    return _places(schema.features)


def _places(features: Sequence[Feature]) -> tuple[int, ...]:
    numeric, other, found = 0, 0, []
    for feature in features:
        if feature.kind == "numeric":
            found.append(numeric)
            numeric += 1
        else:
            found.append(other)
            other += 1
    return tuple(found)


def chunk_rows(schema: Schema, config: ScoringConfig) -> int:
    """Rows read at a time: fewer in wide tables, so that a chunk stays within `CHUNK_CELLS`."""
    return max(1, min(config.chunk_rows, max(1024, CHUNK_CELLS // max(1, len(schema.features)))))


def find_bins(reader: Reader, config: ScoringConfig, classes: int = CLASSES) -> Bins:
    """Choose all bins from the sampled training rows: categories from all of them, edges and text from fewer.

    The most frequent `classes` of a target are told apart; more are counted as one.
    """
    schema = reader.problem.schema
    limit = min(SAMPLE_ROWS, max(2048, SAMPLE_CELLS // max(1, len(schema.features))))
    counted = [feature for feature in schema.features if feature.kind in {"categorical", "boolean", "region"}]
    seen: dict[str, Counter[str]] = {feature.name: Counter() for feature in counted}
    labels: Counter[int] = Counter()
    numbers = np.empty(0, np.int64)
    for columns in reader.of(counted).sampled().chunks("train", config.chunk_rows):
        for feature, column in zip(counted, columns.categorical, strict=True):
            times = np.bincount(column.codes + 1, minlength=len(column.values) + 1)[1:]
            seen[feature.name].update(dict(zip(column.values, times.tolist(), strict=True)))
        assert columns.target is not None
        if schema.task != "regression":
            labels.update(_class_counts(columns.target))
        numbers = _thin(np.concatenate([numbers, columns.row_numbers]), limit)
    others = [feature for feature in schema.features if feature.name not in seen]
    kept = reader.of(others).picked(numbers)
    place_of = {feature.name: place for feature, place in zip(others, _places(others), strict=True)}
    assert kept.target is not None
    if schema.task == "regression":
        target = _numeric_target(kept.target.astype(np.float64), config.target_bins)
    elif schema.task == "multilabel":
        target = _label_target(labels)
        if not len(target.labels if target.labels is not None else ()):
            msg = f"Expected some training row with a label in the target {clip(schema.target)!r}, got none: give rows that have labels, or other shares or another order of the rows."
            raise DataError(msg)
    else:
        target = _class_target(len(schema.classes), labels, classes)
    most = max(1, min(CATEGORIES, CELLS // (config.groups * target.size)))

    def bins_of(feature: Feature) -> NumericBins | CategoryBins:
        if feature.name in seen:
            return category_bins(seen[feature.name], most)
        place = place_of[feature.name]
        if feature.kind == "numeric":
            return numeric_bins(kept.numeric[:, place], config.bins)
        if feature.kind == "embedding":
            return _vector_bins(kept, place)
        return _text_bins(kept, place, target, ordered=feature.kind == "sequence")

    with ThreadPoolExecutor(THREADS) as pool:
        return Bins(tuple(pool.map(bins_of, schema.features)), target)


def _vector_bins(kept: Columns, place: int) -> CategoryBins:
    from abi.scoring.vector_bins import vector_bins  # noqa: PLC0415 - it builds on this module

    return vector_bins(kept.categorical[place])


def _text_bins(kept: Columns, place: int, target: Target, *, ordered: bool) -> CategoryBins:
    from abi.scoring.text_bins import text_bins  # noqa: PLC0415 - it builds on this module

    assert kept.target is not None
    column = kept.categorical[place]
    if target.labels is not None:
        there = np.flatnonzero(column.codes >= 0)
        shown = kept.target[there][:, target.labels]
        return text_bins([column.values[i] for i in column.codes[there]], shown, target, ordered=ordered)
    classes = target.codes(kept.target)
    there = np.flatnonzero((column.codes >= 0) & (classes >= 0))
    return text_bins([column.values[i] for i in column.codes[there]], classes[there], target, ordered=ordered)


def numeric_bins(values: Float64[np.ndarray, " rows"], bins: int) -> NumericBins:
    """Quantile bins of a sample, at most ``bins + 1``.

    Where there are no more distinct values than bins, each has its own. Otherwise a value with two bins' share of the
    rows gets a bin of its own and the quantiles are those of the other rows: a column that is 0 in nine rows of ten
    still has its other values told apart.
    """
    distinct, repeats = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(distinct) == 0:
        return NumericBins(np.array([np.inf]), np.array([0.0, np.nan]))
    if len(distinct) <= bins:
        ends = np.arange(len(distinct))
    else:
        heavy = repeats * bins >= 2 * repeats.sum()
        rest = np.where(heavy, 0, repeats)
        middle = 2 * np.cumsum(rest) - rest
        part = middle * max(1, bins - 2 * int(heavy.sum())) // (2 * max(1, int(rest.sum())))
        segment = 2 * np.cumsum(heavy) - heavy
        changes = (np.diff(part) != 0) | (np.diff(segment) != 0)
        ends = np.append(np.flatnonzero(changes), len(distinct) - 1)
    until = np.cumsum(repeats)
    upper = until[ends]
    lower = np.append(0, upper[:-1])
    levels = distinct[np.searchsorted(until, (lower + upper) // 2, side="right")]
    edges = distinct[ends].astype(np.float64)
    edges[-1] = np.inf
    return NumericBins(edges, np.append(levels, np.nan))


def category_bins(counter: Counter[str], most: int) -> CategoryBins:
    """The `most` frequent values of the sample, most frequent first, ties by value."""
    ranked = sorted(((value, times) for value, times in counter.items() if times), key=lambda kv: (-kv[1], kv[0]))
    return CategoryBins({value: position for position, (value, _) in enumerate(ranked[:most])})


def _class_target(classes: int, labels: Counter[int], most: int = CLASSES) -> Target:
    lookup = np.arange(classes)
    if classes > most:
        ranked = sorted(range(classes), key=lambda label: (-labels[label], label))
        lookup = np.full(classes, most - 1)
        lookup[ranked[: most - 1]] = np.arange(most - 1)
    return Target(np.eye(min(classes, most)), lookup=lookup.astype(np.int64))


def _class_counts(target: AnyTarget) -> dict[int, int]:
    """Rows of each class, or of each label."""
    counts = target.sum(axis=0) if target.ndim > 1 else np.bincount(target[target >= 0].astype(np.int64))
    return dict(enumerate(counts.tolist()))


def _label_target(rows: Counter[int]) -> Target:
    ranked = sorted((label for label in rows if rows[label]), key=lambda label: (-rows[label], label))
    return Target(np.eye(2), labels=np.array(sorted(ranked[:LABELS]), dtype=np.int64))


def _numeric_target(values: Float64[np.ndarray, " rows"], bins: int) -> Target:
    finite = values[np.isfinite(values)]
    edges = numeric_bins(finite, bins)
    size = len(edges.edges)
    if len(finite) == 0:
        return Target(np.zeros((1, 1)), edges=edges)
    scale = max(float(np.abs(finite).max()), np.finfo(float).tiny)
    codes = edges.codes(finite)
    rows = np.bincount(codes, minlength=size)[:size]
    means = np.bincount(codes, finite / scale, minlength=size)[:size] / np.maximum(rows, 1)
    centre = float(np.average(means, weights=rows))
    spread = float(np.sqrt(np.average((means - centre) ** 2, weights=rows)))
    return Target(((means - centre) / (spread or 1.0))[:, None], edges=edges)


def _thin(numbers: Int64[np.ndarray, " rows"], limit: int) -> Int64[np.ndarray, " kept"]:
    """The `limit` rows with the smallest hash, in their order."""
    hashes = splitmix64(numbers, _SEED)
    return numbers if len(numbers) <= limit else numbers[hashes < np.partition(hashes, limit)[limit]]
