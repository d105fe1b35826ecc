"""The data of the balance benchmark: open sets, and the same tables with features that do not help added.

Noisy variants follow Cherepanova et al. 2023 (arXiv 2311.05877, "A performance-driven benchmark for feature selection in
tabular deep learning"): of all features 50% or 75% are added ones, either pure Gaussian noise, copies of features
corrupted by Gaussian noise of their own spread and partly shuffled, or second-order products of two features.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abi.config import Config, load_config
from abi.data.columns import Columns
from abi.data.memory import read_memory
from abi.problem import Problem
from abi.scoring.score import score
from abi.types import Scores

BENCH = Path(os.environ.get("ABI_BENCH", "../shared/bench"))
CORRUPTED_SHUFFLED = 0.5


@dataclass(frozen=True)
class Spec:
    """One set of the benchmark: `kind` is its group, `added` what is added to its features, as "noise:0.5"."""

    name: str
    kind: str
    data: str
    added: str | None = None


SETS = (
    Spec("banking77", "text", "banking77"),
    Spec("sms_spam", "text", "sms_spam"),
    Spec("clinc150", "text", "clinc150"),
    Spec("amazon_access", "ids", "amazon_access"),
    Spec("criteo_10k", "ids", "criteo_10k"),
    Spec("click_kdd12", "ids", "click_kdd12"),
    Spec("ml_latest_small", "ids", "ml_latest_small"),
    Spec("phoneme+noise75", "noisy", "phoneme", "noise:0.75"),
    Spec("phoneme+corrupted50", "noisy", "phoneme", "corrupted:0.5"),
    Spec("kc1+noise50", "noisy", "kc1_defects", "noise:0.5"),
    Spec("california+noise75", "noisy", "california_housing", "noise:0.75"),
    Spec("california+second50", "noisy", "california_housing", "second:0.5"),
    Spec("elevators+noise50", "noisy", "elevators", "noise:0.5"),
    Spec("phoneme", "clean", "phoneme"),
    Spec("kc1_defects", "clean", "kc1_defects"),
    Spec("california_housing", "clean", "california_housing"),
    Spec("elevators", "clean", "elevators"),
    Spec("mammography", "clean", "mammography"),
    Spec("adult", "clean", "adult"),
)


@dataclass(frozen=True)
class Rows:
    """A problem with its scores and rows."""

    spec: Spec
    problem: Problem
    scores: Scores
    train: Columns
    validation: Columns
    test: Columns
    config: Config


def load(spec: Spec, settings: dict[str, Any]) -> Rows:
    """Read, add features, split by a hash, score the training rows."""
    described = json.loads((BENCH / "BENCH.json").read_text())[spec.data]
    target = described["target"]
    train, test = (_frame(spec.data, part) for part in ("train", "test"))
    if spec.added:
        kind, share = spec.added.split(":")
        train, test = _with_added(train, test, target, kind, float(share))
    config = load_config(settings={**settings, "data.task": "auto"}, ambient=False)
    reader = read_memory(train, target, config, test)
    return Rows(
        spec=spec,
        problem=reader.problem,
        scores=score(reader, config.scoring),
        train=reader.load("train"),
        validation=reader.load("validation"),
        test=reader.load("test"),
        config=config,
    )


def _frame(name: str, part: str) -> pd.DataFrame:
    folder = BENCH / name
    path = next(folder.glob(f"{part}.*"))
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def _with_added(
    train: pd.DataFrame, test: pd.DataFrame, target: str, kind: str, share: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`share` of the features of the result are added ones, the same in both parts."""
    random = np.random.default_rng(0)
    rows = len(train)
    whole = pd.concat([train, test], ignore_index=True)
    numeric = [c for c in whole.columns if c != target and whole[c].dtype.kind in "if"]
    count = round((whole.shape[1] - 1) * share / (1 - share))
    added: dict[str, Any] = {}
    for i in range(count):
        first = whole[numeric[int(random.integers(len(numeric)))]].to_numpy(float)
        second = whole[numeric[int(random.integers(len(numeric)))]].to_numpy(float)
        if kind == "noise":
            added[f"added_{i}"] = random.normal(size=len(whole))
        elif kind == "corrupted":
            mixed = np.where(random.random(len(whole)) < CORRUPTED_SHUFFLED, random.permutation(first), first)
            added[f"added_{i}"] = mixed + random.normal(size=len(whole)) * np.nanstd(first)
        else:
            added[f"added_{i}"] = first * second
    whole = pd.concat([whole, pd.DataFrame(added)], axis=1)
    return whole.iloc[:rows].reset_index(drop=True), whole.iloc[rows:].reset_index(drop=True)
