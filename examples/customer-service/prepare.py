"""data_full.json -> train.parquet (the published train and validation parts) and test.parquet, each with its `oos` rows.

Beside them urgency-train.parquet and urgency-test.parquet: the same requests with how urgent their intent is by urgency.toml.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent


def part(parts: dict[str, list[list[str]]], *names: str) -> pd.DataFrame:
    """Rows of the named parts."""
    return pd.DataFrame([row for name in names for row in parts[name]], columns=["text", "intent"])


def with_urgency(requests: pd.DataFrame) -> pd.DataFrame:
    """Columns text and urgency; the intent, which would tell it, is left out."""
    known = tomllib.loads((FOLDER / "urgency.toml").read_text(encoding="utf-8"))
    levels = {intent: level for level, intents in known.items() for intent in intents} | {"oos": "triage"}
    urgency = requests["intent"].map(levels).fillna("can wait")
    return pd.DataFrame({"text": requests["text"], "urgency": urgency})


if __name__ == "__main__":
    parts = json.loads((FOLDER / "data_full.json").read_text(encoding="utf-8"))
    for role, names in (("train", ("train", "oos_train", "val", "oos_val")), ("test", ("test", "oos_test"))):
        requests = part(parts, *names)
        requests.to_parquet(FOLDER / f"{role}.parquet", index=False)
        with_urgency(requests).to_parquet(FOLDER / f"urgency-{role}.parquet", index=False)
