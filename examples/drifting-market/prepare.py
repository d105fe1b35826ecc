"""electricity.csv -> train.parquet and test.parquet: rows are in the order of time, and the last fifth comes last."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    market = pd.read_csv(FOLDER / "electricity.csv")
    cut = round(0.8 * len(market))
    market[:cut].to_parquet(FOLDER / "train.parquet", index=False)
    market[cut:].to_parquet(FOLDER / "test.parquet", index=False)
