"""sensor_readings_24.data -> train.parquet and test.parquet: the last fifth of the recording is held out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    readings = pd.read_csv(FOLDER / "sensor_readings_24.data")
    readings.columns = [*(f"US{i}" for i in range(1, 25)), "direction"]
    cut = round(0.8 * len(readings))
    readings[:cut].to_parquet(FOLDER / "train.parquet", index=False)
    readings[cut:].to_parquet(FOLDER / "test.parquet", index=False)
