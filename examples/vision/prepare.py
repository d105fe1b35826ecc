"""train/ and test/ (CIFAR-10 as JPEG) -> train.csv and test.csv: 600 and 200 pictures per class. MNIST -> digits-*.npz."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent
PER_CLASS = {"test": 200, "train": 600}


def cifar() -> None:
    """A row per picture: its path, from this folder on, and its label."""
    drawn = random.Random(0)  # noqa: S311 - the same pictures on every machine
    for part, number in PER_CLASS.items():
        rows = []
        for place in sorted((FOLDER / part).iterdir()):
            chosen = sorted(drawn.sample(sorted(file.name for file in place.iterdir()), number))
            rows += [(f"{part}/{place.name}/{name}", place.name) for name in chosen]
        pd.DataFrame(rows, columns=["path", "label"]).to_csv(FOLDER / f"{part}.csv", index=False)


def digits() -> None:
    """The 10,000 test digits of MNIST, split 80/20 within each class."""
    pixels = np.frombuffer(gzip.decompress((FOLDER / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((FOLDER / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    drawn, tests = np.random.default_rng(0), np.zeros(len(labels), bool)
    for digit in range(10):
        rows = drawn.permutation(np.flatnonzero(labels == digit))
        tests[rows[: round(0.2 * len(rows))]] = True
    for part, chosen in (("train", ~tests), ("test", tests)):
        np.savez_compressed(FOLDER / f"digits-{part}.npz", X=pixels.reshape(-1, 28, 28)[chosen], y=labels[chosen])


if __name__ == "__main__":
    cifar()
    digits()
