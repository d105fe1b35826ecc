"""media/HousesInfo.txt -> train.csv and test.csv: a row per house, with the names of its four pictures; a random 80/20 split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
COLUMNS = ["bedrooms", "bathrooms", "area", "zipcode", "price"]
ROOMS = ("bathroom", "bedroom", "frontal", "kitchen")

if __name__ == "__main__":
    houses = pd.read_csv(FOLDER / "media" / "HousesInfo.txt", sep=r"\s+", names=COLUMNS, dtype={"zipcode": str})
    pictures = pd.DataFrame({f"{r}_image": [f"{i}_{r}.jpg" for i in range(1, len(houses) + 1)] for r in ROOMS})
    table = pd.concat([pictures, houses], axis=1)
    tests = np.zeros(len(table), bool)
    tests[np.random.default_rng(0).permutation(len(table))[: round(0.2 * len(table))]] = True
    table[~tests].to_csv(FOLDER / "train.csv", index=False)
    table[tests].to_csv(FOLDER / "test.csv", index=False)
