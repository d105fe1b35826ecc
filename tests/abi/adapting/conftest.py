"""Small streams and runs along them, as one fixture: `brook`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.adapting.plans import Planning
from abi.adapting.run import Run
from abi.adapting.stream import Stream, open_stream
from abi.config import Config, load_config
from abi.data.memory import hold, to_arrow
from abi.problem import Schema

QUICK: dict[str, object] = {
    "adapt.warmup": 100,
    "adapt.every": 50,
    "adapt.window": 100,
    "adapt.cooldown": 100,
    "adapt.rounds": 10,
    "adapt.epochs": 2,
    "adapt.halves": [0],
    "adapt.recent": [8],
    "adapt.lags": 1,
    "attention.temperatures": [0.4],
    "training.members": 2,
    "training.block_width": 16,
    "training.threads": 1,
    "training.device": "cpu",
    "scoring.shuffles": 8,
}


class Brook:
    """Factories of streams and runs."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine

    @staticmethod
    def config(**settings: object) -> Config:
        """Quick settings; dots are written as double underscores."""
        named = {key.replace("__", "."): value for key, value in settings.items()}
        return load_config(None, QUICK | named, ambient=False)

    @staticmethod
    def flip(rows: int = 700, at: int = 350, seed: int = 0) -> pd.DataFrame:
        """`y` says whether `a` is above 0, and from row `at` on whether it is below."""
        random = np.random.default_rng(seed)
        table = pd.DataFrame({"a": random.normal(size=rows), "b": random.normal(size=rows)})
        table["c"] = random.choice(["u", "v", None], rows)
        sign = np.where(np.arange(rows) < at, 1, -1)
        table["y"] = np.where(sign * table["a"] > 0, "yes", "no")
        return table

    @staticmethod
    def open(table: pd.DataFrame, config: Config, target: str = "y") -> tuple[Stream, Schema]:
        """The stream of a table."""
        return open_stream(hold(to_arrow(table)), target, config)

    def run(self, table: pd.DataFrame, config: Config, **more: Any) -> Run:
        """A run that has started."""
        run = Run(self.open(table, config)[0], Planning(self.machine, config), **more)
        run.start()
        return run

    def finished(self, table: pd.DataFrame, config: Config, **more: Any) -> Run:
        """A run that has ended."""
        run = self.run(table, config, **more)
        while not run.done:
            run.step()
        return run


@pytest.fixture
def brook(toy: Any) -> Brook:
    """Streams and runs along them."""
    return Brook(toy.machine)
