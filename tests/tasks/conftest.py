"""What tests of tasks share: a small real model, and ledgers on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import abi
from abi.audit.entry import Draft, Entry
from abi.families.family import Model
from abi.operations import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace

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


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str | None:
    """Both databases in turn; None is the workspace's own file."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened(ws: Workspace, ledger_url: str | None) -> Iterator[Callable[..., Ledger]]:
    """Opens the ledger; all are closed in the end."""
    ledgers = []

    def open_(ws: Workspace = ws, **settings: object) -> Ledger:
        ledgers.append(Ledger.open(ws, AuditConfig(**{"url": ledger_url, "patience": 30.0, **settings})))
        return ledgers[-1]

    yield open_
    for ledger in ledgers:
        ledger.engine.dispose()


@pytest.fixture(scope="session")
def draft() -> Callable[..., Draft]:
    """A decision of that number."""

    def make(number: int = 1, **given: object) -> Draft:
        plain = {"kind": "scores", "model": "churn", "values": {"scores": "ab" * 32}, "operation": f"scores:{number}"}
        return Draft(**{**plain, "detail": {"figure": number / 7, "word": "größer"}, **given})

    return make


@pytest.fixture(scope="session")
def promote() -> Callable[..., Entry]:
    """Makes a version champion."""

    def make(ledger: Ledger, version: int, expected: int | None = None) -> Entry:
        draft = Draft(kind="promotion", model="churn", detail={"version": version}, operation=f"promote:{version}")
        return ledger.change(
            draft, lambda now: replace(now, champion=version, previous=now.champion), expected=expected
        )

    return make
