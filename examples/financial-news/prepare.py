"""SEntFiN-v1.1.csv -> train.parquet, test.parquet; Combined_News_DJIA.csv.zip -> daily-train.parquet, daily-test.parquet.

SEntFiN gets a row per headline and entity; all entities of a headline are on one side of a random 80/20 split. The days are
split by time, and the last fifth is held out.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent


def decoded(text: object) -> object:
    """Headlines were written as Python's bytes: b"..."."""
    if isinstance(text, str) and text[:2] in ("b'", 'b"'):
        return ast.literal_eval(text).decode("utf-8", "replace")
    return text


if __name__ == "__main__":
    headlines = pd.read_csv(FOLDER / "SEntFiN-v1.1.csv", encoding="latin-1")
    tests = np.random.default_rng(0).permutation(len(headlines))[: round(0.2 * len(headlines))]
    headlines["part"] = np.where(headlines.index.isin(tests), "test", "train")
    columns = ("Title", "Decisions", "part")
    rows = [
        (title, entity, sentiment, part)
        for title, found, part in zip(*(headlines[name] for name in columns), strict=True)
        for entity, sentiment in json.loads(found).items()
    ]
    table = pd.DataFrame(rows, columns=["title", "entity", "sentiment", "part"])
    for part, its in table.groupby("part"):
        its.drop(columns="part").to_parquet(FOLDER / f"{part}.parquet", index=False)

    days = pd.read_csv(FOLDER / "Combined_News_DJIA.csv.zip", parse_dates=["Date"]).sort_values("Date", kind="stable")
    tops = [name for name in days if name.startswith("Top")]
    days = pd.concat([days[["Date"]], days[tops].map(decoded), days[["Label"]]], axis=1)
    cut = int(0.8 * len(days))
    days[:cut].to_parquet(FOLDER / "daily-train.parquet", index=False)
    days[cut:].to_parquet(FOLDER / "daily-test.parquet", index=False)
