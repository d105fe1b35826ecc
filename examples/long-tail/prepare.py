"""banking77-train.csv -> train.parquet, its classes thinned to a long tail; banking77-test.csv -> test.parquet, as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
IMBALANCE = 50


def long_tail(frame: pd.DataFrame, target: str, seed: int = 0) -> pd.DataFrame:
    """The rows of class number k in a random order of K are thinned to n_max * 50^(-k / (K - 1)), at least two."""
    random = np.random.default_rng(seed)
    order = random.permutation(np.sort(frame[target].unique()))
    most = int(frame[target].value_counts().max())
    kept = []
    for place, name in enumerate(order):
        wanted = max(2, round(most * IMBALANCE ** (-place / (len(order) - 1))))
        kept.append(random.permutation(frame.index[frame[target] == name])[:wanted])
    return frame.loc[np.sort(np.concatenate(kept))].reset_index(drop=True)


if __name__ == "__main__":
    long_tail(pd.read_csv(FOLDER / "banking77-train.csv"), "category").to_parquet(FOLDER / "train.parquet", index=False)
    pd.read_csv(FOLDER / "banking77-test.csv").to_parquet(FOLDER / "test.parquet", index=False)
