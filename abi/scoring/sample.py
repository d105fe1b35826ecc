"""A mergeable sample of rows, as codes: what the comparison of features with each other is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, Int64, UInt64

from abi.data.split import splitmix64

ROWS = 8192
CELLS = 2**23
"""Most cells of a sample; very wide tables have fewer rows in it."""

_SEED = 0x5EED


@dataclass(frozen=True)
class Sample:
    """The rows with the smallest hashes of those counted, in order of their hash.

    The hash is one-to-one on row numbers, so the sample of two shards together is the smallest of both, whatever the
    order of merging: the sample of one pass over all rows. `codes` are the bins of the features; `targets` the class of the
    target, or for each label that is told apart whether the row has it.
    """

    hashes: UInt64[np.ndarray, " rows"]
    codes: Int16[np.ndarray, "features rows"]
    targets: Int16[np.ndarray, "targets rows"]


def limit(features: int) -> int:
    """Most rows of a sample."""
    return max(512, min(ROWS, CELLS // max(1, features)))


def empty(features: int, targets: int) -> Sample:
    """The sample of no rows."""
    return Sample(np.empty(0, np.uint64), np.empty((features, 0), np.int16), np.empty((targets, 0), np.int16))


def candidates(sample: Sample, row_numbers: Int64[np.ndarray, " rows"]) -> Int64[np.ndarray, " chosen"]:
    """Which of more rows belong into the sample, by their hash and in its order."""
    most = limit(len(sample.codes))
    hashes = splitmix64(row_numbers, _SEED)
    below = np.flatnonzero(hashes < sample.hashes[-1]) if len(sample.hashes) >= most else np.arange(len(hashes))
    if len(below) > most:
        below = below[np.argpartition(hashes[below], most)[:most]]
    return below[np.argsort(hashes[below])]


def of_rows(
    row_numbers: Int64[np.ndarray, " rows"],
    codes: Int16[np.ndarray, "features rows"],
    targets: Int16[np.ndarray, "targets rows"],
) -> Sample:
    """The sample of rows that `candidates` chose."""
    return Sample(splitmix64(row_numbers, _SEED), codes, targets)


def merge(first: Sample, second: Sample) -> Sample:
    """The sample of both; associative and commutative."""
    if not len(first.hashes) or not len(second.hashes):
        return first if len(first.hashes) else second
    hashes = np.concatenate([first.hashes, second.hashes])
    order = np.argsort(hashes)[: limit(len(first.codes))]
    codes, targets = (
        np.concatenate([getattr(first, name), getattr(second, name)], axis=1)[:, order] for name in ("codes", "targets")
    )
    return Sample(hashes[order], codes, targets)
