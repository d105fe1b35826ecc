"""ml-latest-small/ -> train.parquet and test.parquet: ratings with title and genres, the last fifth of time held out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    source = FOLDER / "ml-latest-small"
    ratings = pd.read_csv(source / "ratings.csv").merge(pd.read_csv(source / "movies.csv"), on="movieId", how="left")
    ratings["timestamp"] = pd.to_datetime(ratings["timestamp"], unit="s")
    ratings["genres"] = ratings["genres"].where(ratings["genres"] != "(no genres listed)")
    table = ratings[["userId", "movieId", "timestamp", "title", "genres", "rating"]]
    table = table.sort_values("timestamp", kind="stable")
    cut = round(0.8 * len(table))
    table[:cut].to_parquet(FOLDER / "train.parquet", index=False)
    table[cut:].to_parquet(FOLDER / "test.parquet", index=False)
