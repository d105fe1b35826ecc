"""recordings/ -> train.csv and test.csv: the official split (recordings 0 to 4 are the test), or one speaker left out.

python examples/speech/prepare.py [SPEAKER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    names = sorted(file.name for file in (FOLDER / "recordings").glob("*.wav"))
    table = pd.DataFrame(
        [name.removesuffix(".wav").split("_") for name in names], columns=["digit", "speaker", "number"]
    )
    table["path"] = [f"recordings/{name}" for name in names]
    tests = table["speaker"] == sys.argv[1] if sys.argv[1:] else table["number"].astype(int) < 5  # noqa: PLR2004
    for part, rows in (("train", table[~tests]), ("test", table[tests])):
        rows[["path", "speaker", "digit"]].to_csv(FOLDER / f"{part}.csv", index=False)
