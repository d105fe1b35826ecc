"""data_full.json -> train.parquet (the published train and validation parts) and test.parquet, each with its `oos` rows."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def part(parts: dict[str, list[list[str]]], *names: str) -> pd.DataFrame:
    """Rows of the named parts."""
    return pd.DataFrame([row for name in names for row in parts[name]], columns=["text", "intent"])


if __name__ == "__main__":
    parts = json.loads((FOLDER / "data_full.json").read_text(encoding="utf-8"))
    part(parts, "train", "oos_train", "val", "oos_val").to_parquet(FOLDER / "train.parquet", index=False)
    part(parts, "test", "oos_test").to_parquet(FOLDER / "test.parquet", index=False)
