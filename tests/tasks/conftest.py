"""A small real model that tests of signed artifacts share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import abi
from abi.families.family import Model

QUICK = {
    "training.epochs": 1,
    "training.members": 2,
    "training.trees.rounds": 4,
    "attention.blend": False,
}


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """Rows to predict."""
    random = np.random.default_rng(0)
    return pd.DataFrame({"size": random.normal(size=90), "colour": random.choice(["red", "green"], 90)})


@pytest.fixture(scope="session")
def blend(rows: pd.DataFrame) -> Model:
    """A network and trees: every kind of file that a model has, in folders."""
    labels = np.where(rows["size"] > 0, "yes", "no")
    model: Model = (
        abi.AttentionBalancedClassifier(family="blend", rounds=1, n_jobs=1, settings=QUICK).fit(rows, labels).model_
    )
    return model
