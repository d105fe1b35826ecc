"""The mergeable statistics: for each feature, how many rows there are per bin, row group and class of the target.

All of them are integers, so counts of shards add up to those of the whole table in any order, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32, Int64

from abi.data.split import splitmix64
from abi.scoring.edges import chunk_rows, places
from abi.scoring.types import Grouped, Tables

if TYPE_CHECKING:
    from abi.config import ScoringConfig
    from abi.data.columns import Columns
    from abi.data.reader import Reader
    from abi.scoring.edges import Bins
    from abi.types import Schema

_SEED = 0x6E0D
_DENSE = 4
"""A table with more cells than this many times the rows of a chunk is added to in place."""


@dataclass(frozen=True)
class Counts:
    """Rows with a target, and one table (bin, group, class) per feature, in schema order."""

    rows: int
    tables: tuple[Int32[np.ndarray, "_ groups classes"], ...]


def empty(bins: Bins, groups: int) -> Counts:
    """Counts of no rows: the neutral element of `merge`."""
    return Counts(0, tuple(np.zeros((f.size, groups, bins.target.size), np.int32) for f in bins.features))


def merge(first: Counts, second: Counts) -> Counts:
    """Counts of both; associative and commutative."""
    tables = zip(first.tables, second.tables, strict=True)
    return Counts(first.rows + second.rows, tuple(a + b for a, b in tables))


def group_of(row_numbers: Int64[np.ndarray, " rows"], groups: int) -> Int64[np.ndarray, " rows"]:
    """The row group: a hash of the row number, so that a row is in the same group in whichever shard it is read."""
    return (splitmix64(row_numbers, _SEED) % np.uint64(groups)).astype(np.int64)


def add(counts: Counts, columns: Columns, schema: Schema, bins: Bins) -> Counts:
    """Count the rows of a chunk into the tables of `counts`, in place; rows without a target are left out."""
    assert columns.target is not None
    classes = bins.target.codes(columns.target)
    if (classes < 0).any():
        present = np.flatnonzero(classes >= 0)
        columns, classes = columns.take(present), classes[present]
    size = bins.target.size
    groups = counts.tables[0].shape[1] if counts.tables else 1
    inner = group_of(columns.row_numbers, groups) * size + classes
    for position, (place, table) in enumerate(zip(places(schema), counts.tables, strict=True)):
        cells = bins.codes(columns, place, position)
        cells *= groups * size
        cells += inner
        flat = table.reshape(-1)
        if flat.size > _DENSE * len(cells):
            np.add.at(flat, cells, 1)
        else:
            flat += np.bincount(cells, minlength=flat.size)
    return Counts(counts.rows + len(classes), counts.tables)


def count(reader: Reader, bins: Bins, config: ScoringConfig) -> Counts:
    """The one pass over the training rows, a chunk at a time."""
    schema = reader.problem.schema
    counts = empty(bins, config.groups)
    for columns in reader.chunks("train", chunk_rows(schema, config)):
        counts = add(counts, columns, schema, bins)
    return counts


def views(table: Grouped) -> Tables:
    """Tables (bin, class): first that of all rows, then one without each group, for the jackknife."""
    whole = table.sum(axis=1, dtype=np.int64)
    together = np.concatenate([whole[None], whole[None] - table.transpose(1, 0, 2)])
    return together.astype(np.float64)
