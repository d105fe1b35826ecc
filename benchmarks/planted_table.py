"""A table of two classes whose columns are named by what they are: informative, redundant, weak or noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import make_classification

TARGET = "target"
SHARES = {"informative": 0.3, "redundant": 0.2, "weak": 0.2, "noise": 0.3}
WEAK = 0.2
"""Part of a weak feature that is an informative one; the rest is noise of unit variance."""


def kinds(columns: int) -> list[str]:
    """The name of each column."""
    return [f"{kind}_{i}" for kind, share in SHARES.items() for i in range(round(share * columns))]


def planted_rows(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's `make_classification` with its defaults; of its columns without signal some are made weak."""
    informative, redundant, weak, _ = (round(share * columns) for share in SHARES.values())
    matrix, target = make_classification(
        rows, columns, n_informative=informative, n_redundant=redundant, shuffle=False, random_state=seed
    )
    random = np.random.default_rng(seed)
    first = informative + redundant
    parents = matrix[:, random.integers(0, informative, weak)]
    matrix[:, first : first + weak] += WEAK * parents / parents.std(axis=0)
    order = random.permutation(rows)
    return matrix[order], target[order]


def write_planted(path: Path, rows: int, columns: int, seed: int) -> None:
    """The table as Parquet, with its columns in random order."""
    matrix, target = planted_rows(rows, columns, seed)
    names = kinds(columns)
    order = np.random.default_rng(seed).permutation(columns)
    data = {names[i]: matrix[:, i] for i in order} | {TARGET: np.where(target > 0, "yes", "no")}
    pq.write_table(pa.table(data), path)
