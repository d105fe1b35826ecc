"""The mergeable statistics: for each feature, how many rows there are per bin, row group and class of the target.

All of them are integers, so counts of shards add up to those of the whole table in any order, exactly. Shards may be
counted by other processes or machines: all that they must share is the bins, and that a row keeps its number.

    bins = find_bins(reader, config)
    parts = [count(reader, bins, config, part) for part in shards(rows, 4)]
    scores = from_counts(merge_all(parts), bins, reader.problem, config)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int16, Int32, Int64

from abi.data.split import splitmix64
from abi.scoring import sample as samples
from abi.scoring.binning import Block, blocks_of
from abi.scoring.edges import THREADS, Bins, CategoryBins, NumericBins, chunk_rows, places
from abi.scoring.sample import Sample
from abi.scoring.types import Grouped, ManyTables

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.columns import Arrays, Columns
    from abi.data.reader import Reader
    from abi.problem import Schema

_SEED = 0x6E0D
_DENSE = 4
"""A table with more cells than this many times the rows of a chunk is added to in place."""
_PIECE = 2**16
"""Values that are binned and counted at a time, so that they stay in the processor's cache."""
_THREADED = 2**18
"""Values of a chunk from which on threads pay."""
_LONG = 2**14
"""Values of one column that are worth a call of their own."""
_CELLS = 2**14
"""Cells of the tables that one piece is counted into, where one table is not larger."""


@dataclass(frozen=True)
class Counts:
    """Rows with a target, one table (bin, group, class) per feature, in schema order, and a sample of the rows."""

    rows: int
    tables: tuple[Int32[np.ndarray, "_ groups classes"], ...]
    sample: Sample


def empty(bins: Bins, groups: int) -> Counts:
    """Counts of no rows: the neutral element of `merge`."""
    tables = tuple(np.zeros((f.size, groups, bins.target.size), np.int32) for f in bins.features)
    return Counts(0, tables, samples.empty(len(tables), 1 if bins.target.labels is None else len(bins.target.labels)))


def merge(first: Counts, second: Counts) -> Counts:
    """Counts of both; associative and commutative."""
    tables = zip(first.tables, second.tables, strict=True)
    sample = samples.merge(first.sample, second.sample)
    return Counts(first.rows + second.rows, tuple(a + b for a, b in tables), sample)


def merge_all(parts: Iterable[Counts]) -> Counts:
    """Counts of one shard or more, in any order."""
    return functools.reduce(merge, parts)


def shards(rows: int, parts: int) -> list[range]:
    """Row numbers cut into `parts` ranges of about equal length."""
    ends = [rows * part // parts for part in range(parts + 1)]
    return [range(first, last) for first, last in itertools.pairwise(ends)]


def group_of(row_numbers: Int64[np.ndarray, " rows"], groups: int) -> Int64[np.ndarray, " rows"]:
    """The row group: a hash of the row number, so that a row is in the same group in whichever shard it is read."""
    return (splitmix64(row_numbers, _SEED) % np.uint64(groups)).astype(np.int64)


def count(reader: Reader, bins: Bins, config: ScoringConfig, part: range | None = None) -> Counts:
    """The one pass over the training rows, or over those with a number in `part`, a chunk at a time."""
    schema = reader.problem.schema
    rows = chunk_rows(schema, config)
    counter = Counter(bins, schema, empty(bins, config.groups), rows)
    for columns in _ahead(reader.arrays("train", rows, part)):
        counter.add(columns)
    return counter.counts


def _ahead(chunks: Iterator[Arrays]) -> Iterator[Arrays]:
    """The same chunks; the next one is read while one is counted."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, chunks, None)
        while (columns := following.result()) is not None:
            following = pool.submit(next, chunks, None)
            yield columns


def add(counts: Counts, columns: Columns, schema: Schema, bins: Bins) -> Counts:
    """Count the rows of a chunk into the tables of `counts`, in place; rows without a target are left out."""
    counter = Counter(bins, schema, counts, len(columns))
    counter.add(columns.arrays())
    return counter.counts


class Counter:
    """Counts chunk after chunk into the same tables, with blocks of columns in threads."""

    def __init__(self, bins: Bins, schema: Schema, counts: Counts, chunk_rows: int) -> None:
        self.bins = bins
        self.counts = counts
        self.groups = counts.tables[0].shape[1] if counts.tables else 1
        numeric = [f if isinstance(f, NumericBins) else None for f in bins.features]
        step = self.groups * bins.target.size
        cells = max((f.size for f in numeric if f is not None), default=1) * step
        # short rows of many columns, or long ones of few
        columns = min(_CELLS // cells, _PIECE // max(1, min(chunk_rows, _LONG)))
        self.blocks = blocks_of(numeric, step, max(1, columns))
        self.others = [
            (position, place, f)
            for position, (place, f) in enumerate(zip(places(schema), bins.features, strict=True))
            if isinstance(f, CategoryBins)
        ]

    def add(self, columns: Arrays) -> None:
        """Count the rows of a chunk; rows without a target are left out."""
        assert columns.target is not None
        rows, classes = self.bins.target.cells(columns.target)
        counted = columns if rows is None else columns.take(rows)
        if self.bins.target.labels is None:
            columns = counted
        inner = group_of(counted.row_numbers, self.groups) * self.bins.target.size + classes
        jobs = [functools.partial(self._block, block, counted.numeric, inner) for block in self.blocks]
        jobs += [functools.partial(self._other, *other, counted, inner) for other in self.others]
        if len(counted) * len(self.bins.features) < _THREADED:
            for job in jobs:
                job()
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda job: job(), jobs))
        chosen = samples.candidates(self.counts.sample, columns.row_numbers)
        assert columns.target is not None
        targets = self.bins.target.of_rows(columns.target[chosen])
        sample = samples.of_rows(columns.row_numbers[chosen], self._codes(columns, chosen), targets)
        merged = samples.merge(self.counts.sample, sample)
        self.counts = Counts(self.counts.rows + len(columns), self.counts.tables, merged)

    def _block(
        self, block: Block, numeric: tuple[Float64[np.ndarray, " rows"], ...], inner: Int64[np.ndarray, " rows"]
    ) -> None:
        width, rows = len(block.places), len(inner)
        total = np.zeros(width * block.stride, np.int64)
        length = max(_PIECE, 2 * len(total)) // width
        for start in range(0, rows, length):
            here = slice(start, min(rows, start + length))
            cells = block.cells(np.stack([numeric[place][here] for place in block.places]))
            cells += inner[here]
            total += np.bincount(cells.reshape(-1), minlength=len(total))
        for position, counted in zip(block.features, total.reshape(width, block.stride), strict=True):
            table = self.counts.tables[position].reshape(-1)
            table += counted[: len(table)]

    def _other(
        self, position: int, place: int, bins: CategoryBins, columns: Arrays, inner: Int64[np.ndarray, " rows"]
    ) -> None:
        cells = bins.codes(columns.categorical[place])
        cells *= self.groups * self.bins.target.size
        cells += inner
        table = self.counts.tables[position].reshape(-1)
        if len(table) > _DENSE * len(cells):
            np.add.at(table, cells, 1)
        else:
            table += np.bincount(cells, minlength=len(table))

    def _codes(self, columns: Arrays, chosen: Int64[np.ndarray, " chosen"]) -> Int16[np.ndarray, "features chosen"]:
        codes = np.empty((len(self.bins.features), len(chosen)), np.int16)
        for block in self.blocks:
            values = np.stack([columns.numeric[place].take(chosen) for place in block.places])
            codes[list(block.features)] = block.codes(values)
        for position, place, bins in self.others:
            codes[position] = bins.codes(columns.categorical[place])[chosen]
        return codes


def views(table: Grouped) -> ManyTables:
    """Tables (bin, class): first that of all rows, then one without each group, for the jackknife."""
    whole = table.sum(axis=-2, dtype=np.int64)[..., None, :, :]
    together = np.concatenate([whole, whole - np.moveaxis(table, -2, -3)], axis=-3)
    return together.astype(np.float64)
