"""Rows that occur more than once, in a file or in two: from one 64-bit hash per row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int64, UInt64

from abi.canonical import EXACT
from abi.data.split import splitmix64
from abi.data.table import Tabular
from abi.data.text import labels

_MISSING = np.uint64(0x6A09E667F3BCC909)  # any constant: missing equals missing


def row_hashes(table: Tabular, columns: Sequence[str]) -> UInt64[np.ndarray, " rows"]:
    """One hash per row over `columns`, in that order; equal rows hash equally in every table. Takes 8 bytes a row.

    h_0 = 0;  h_i = mix(h_(i-1) xor v_i, i)  with SplitMix64's mixer. Two different rows collide with probability 2^-64.
    """
    hashes = np.zeros(table.rows, np.uint64)
    for first, batch in table.batches(columns):
        here = slice(first, first + batch.num_rows)
        for position, column in enumerate(batch.columns):
            hashes[here] = splitmix64((hashes[here] ^ _hashed(column)).view(np.int64), position + 1)
    return hashes


def duplicate_share(hashes: UInt64[np.ndarray, " rows"]) -> float:
    """Share of rows that repeat an earlier one: 1 - distinct / rows."""
    return 1.0 - len(np.unique(hashes)) / len(hashes) if len(hashes) else 0.0


def overlap_share(rows: UInt64[np.ndarray, " rows"], others: UInt64[np.ndarray, " others"]) -> float:
    """Share of `rows` that also stand in `others`."""
    return float(np.isin(rows, np.unique(others)).mean()) if len(rows) else 0.0


def _hashed(column: pa.Array) -> UInt64[np.ndarray, " rows"]:
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        present = column.is_valid().to_numpy(zero_copy_only=False)
        floats = column.fill_null(0).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        bits: Int64[np.ndarray, " rows"] = floats.view(np.int64)
        if pa.types.is_integer(kind):  # beyond 2^53 several have one float
            whole = column.fill_null(0).to_numpy(zero_copy_only=False)
            large = (whole > EXACT) | (whole < -EXACT)
            bits = np.where(large, whole.astype(np.uint64).view(np.int64), bits)
        return np.where(present, splitmix64(bits, 0), _MISSING)
    encoded = labels(column)
    values = np.array(encoded.dictionary.to_pylist(), dtype=object)
    table = np.append(pd.util.hash_array(values, categorize=False) if len(values) else [], _MISSING).astype(np.uint64)
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    found: UInt64[np.ndarray, " rows"] = table[codes]
    return found
