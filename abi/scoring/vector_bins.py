"""Vectors of a pretrained encoder as one column among others: the nearest of k-means' centres is a row's bin.

The centres come from the sample and know nothing of the target, so the counts of their bins are those of a category: they
add up, and chance and its null are what they are for any category (vector quantisation, Gray 1984).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float32, Int64

from abi.scoring.edges import CategoryBins

if TYPE_CHECKING:
    from abi.data.columns import Codes

CENTRES: Final = 128
ROWS_PER_CENTRE: Final = 16
"""Sampled rows that a centre has at least, on average."""
STEPS: Final = 10
_PIECE: Final = 4096
_SEED: Final = 0


@dataclass(frozen=True)
class VectorBins(CategoryBins):
    """A bin per centre, then one for missing values."""

    centres: Float32[np.ndarray, "centres dimensions"] = field(default_factory=lambda: np.zeros((1, 0), np.float32))

    @property
    def size(self) -> int:
        """Number of bins, with the one for missing values."""
        return len(self.centres) + 1

    def codes(self, column: Codes) -> Int64[np.ndarray, " rows"]:
        """Bin of each row."""
        assert column.vectors is not None
        bins = np.full(len(column.values) + 1, len(self.centres), np.int64)
        bins[:-1] = nearest(column.vectors, self.centres)
        # a missing value has code -1: the last entry
        found: Int64[np.ndarray, " rows"] = bins[column.codes]
        return found


def vector_bins(column: Codes) -> VectorBins:
    """Centres from sampled rows, by Lloyd's steps from rows drawn at random."""
    assert column.vectors is not None
    vectors = column.vectors[column.codes[column.codes >= 0]]
    distinct = np.unique(vectors, axis=0) if len(vectors) else np.zeros((1, column.vectors.shape[1]), np.float32)
    count = max(1, min(CENTRES, len(distinct), len(vectors) // ROWS_PER_CENTRE))
    chosen = np.random.default_rng(_SEED).permutation(len(distinct))[:count]
    centres = distinct[chosen].astype(np.float32)
    for _ in range(STEPS if len(vectors) else 0):
        bins = nearest(vectors, centres)
        times = np.bincount(bins, minlength=count)
        sums = np.zeros(centres.shape, np.float64)
        np.add.at(sums, bins, vectors)
        centres = np.where(times[:, None] > 0, sums / np.maximum(times, 1)[:, None], centres).astype(np.float32)
    return VectorBins(index={}, centres=centres)


def nearest(
    vectors: Float32[np.ndarray, "rows dimensions"], centres: Float32[np.ndarray, "centres dimensions"]
) -> Int64[np.ndarray, " rows"]:
    """The centre with the least distance: |v - c|^2 = |v|^2 - 2 v.c + |c|^2, whose first part is the same for all."""
    squares = (centres**2).sum(axis=1)
    found = [
        (squares - 2 * vectors[start : start + _PIECE] @ centres.T).argmin(axis=1)
        for start in range(0, len(vectors), _PIECE)
    ]
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)
