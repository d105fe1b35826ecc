"""How many distinct values: exact while they are few, estimated from the smallest hashes above that."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt64

from abi.data.split import splitmix64

EXACT = 100_000
_CELLS = 20_000_000  # hashes held by all columns of a table together
_LEAST = 4_096


class Distinct:
    """K minimum values: the k smallest hashes of what was seen; mergeable, in any order.

    With fewer than k hashes their number is the answer; else (k - 1) / (the k-th smallest hash as a share of 2^64),
    whose relative error is about 1 / sqrt(k).

    References:
        Bar-Yossef et al., "Counting distinct elements in a data stream", RANDOM 2002 (algorithm 1).
    """

    def __init__(self, columns: int = 1) -> None:
        self.limit = int(np.clip(_CELLS // max(columns, 1), _LEAST, EXACT))
        self._smallest = np.empty(0, np.uint64)
        self._new: list[UInt64[np.ndarray, " values"]] = []
        self._waiting = 0

    def add(self, values: pa.Array) -> None:
        """Take in an array of one type; nulls do not count."""
        full = len(self._smallest) == self.limit
        hashes = _hash((values if full else pc.unique(values)).drop_null())
        if full:
            hashes = hashes[hashes < self._smallest[-1]]
        self._new.append(hashes)
        self._waiting += len(hashes)
        if self._waiting > self.limit:
            self._merge()

    def count(self) -> int:
        """Distinct values so far."""
        self._merge()
        if len(self._smallest) < self.limit:
            return len(self._smallest)
        return round((self.limit - 1) / ((float(self._smallest[-1]) + 1) * 2.0**-64))

    def _merge(self) -> None:
        hashes = np.sort(np.concatenate([self._smallest, *self._new]))
        self._new, self._waiting = [], 0
        first = np.append(True, hashes[1:] != hashes[:-1]) if len(hashes) else np.empty(0, bool)
        self._smallest = hashes[first][: self.limit]


def _hash(values: pa.Array) -> UInt64[np.ndarray, " values"]:
    if pa.types.is_string(values.type):
        return pd.util.hash_array(np.asarray(values.to_numpy(zero_copy_only=False), dtype=object), categorize=False)
    if pa.types.is_floating(values.type):
        plain = np.asarray(values) + 0.0  # -0.0 is 0.0
        return splitmix64(plain.view(np.int64), 0)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return splitmix64(np.asarray(values.cast(pa.int64())), 0)
