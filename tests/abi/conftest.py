"""Small problems, tables and plans that the tests of the core share, as one fixture: `toy`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.data.columns import Codes, Columns
from abi.planning.machine import Machine
from abi.planning.plan import make_plan
from abi.training.loop import Fitted, train
from abi.types import (
    Attention,
    DataFile,
    Envelope,
    Feature,
    FeatureScore,
    Plan,
    Problem,
    Schema,
    Scores,
    Snapshot,
    Split,
    Task,
)

SMALL = {
    "training.epochs": 3,
    "training.members": 2,
    "training.block_width": 16,
    "training.threads": 1,
    "training.device": "cpu",
}
CLASSES: dict[str, tuple[str, ...]] = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": ()}
COLOURS = ("blue", "green", "red")


@dataclass(frozen=True)
class Table:
    """A problem with its rows."""

    problem: Problem
    train: Columns
    validation: Columns


class Toy:
    """Factories; each gives the simplest value that is whole."""

    machine = Machine(
        device="cpu",
        name="made up",
        threads=1,
        precision="float32",
        call_s=1e-3,
        activation_s=1e-9,
        mac_s=1e-11,
        predict_call_s=2e-4,
        memory_bytes=2**34,
    )

    def __init__(self) -> None:
        self._configs: dict[str, Config] = {}

    def config(self, **settings: Any) -> Config:
        """A short training; keyword `a__b` is the setting a.b."""
        key = repr(sorted(settings.items()))
        if key not in self._configs:
            asked = {name.replace("__", "."): value for name, value in settings.items()}
            self._configs[key] = load_config(settings=SMALL | asked)
        return self._configs[key]

    def problem(self, kinds: dict[str, str], task: Task = "binary", distinct: int | dict[str, int] = 1000) -> Problem:
        """Features of these kinds."""
        counts = distinct if isinstance(distinct, dict) else dict.fromkeys(kinds, distinct)
        file = DataFile(role="train", format="csv", md5="0" * 32, sha256="0" * 64, size_bytes=1, rows=1)
        features = tuple(
            Feature(name=name, column=name, kind=kind, distinct=counts[name], missing_share=0.0)  # type: ignore[arg-type]
            for name, kind in kinds.items()
        )
        schema = Schema(target="y", task=task, classes=CLASSES[task], features=features, set_aside=())
        return Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=Split(seed=0, validation=0.15, test=0.2))

    def scores(self, problem: Problem, values: list[float], signal: bool = True, width: float = 0.05) -> Scores:
        """These scores, with an interval of `width` to either side."""
        features = tuple(
            FeatureScore(
                feature=f.name,
                relevance=v,
                discrimination=v,
                redundancy=0.0,
                complexity=0.0,
                score=v,
                low=max(0.0, v - width),
                high=min(1.0, v + width),
                null=0.0,
                p_value=0.01 if signal else 0.9,
                carries_signal=signal,
            )
            for f, v in zip(problem.schema.features, values, strict=True)
        )
        return Scores(problem=problem, source="data", rows=100, features=features)

    def table(
        self, task: Task = "binary", rows: int = 240, numeric: int = 2, categorical: int = 1, seed: int = 0
    ) -> Table:
        """The target follows the first feature (numeric where there is one); every fourth row is for validation."""
        random = np.random.default_rng(seed)
        values = random.normal(size=(rows, numeric))
        codes = [random.integers(0, len(COLOURS), rows).astype(np.int32) for _ in range(categorical)]
        drive = values[:, 0] if numeric else codes[0] - 1.0
        target: Any = drive + 0.1 * random.normal(size=rows)
        if task != "regression":
            cuts = [0.0] if task == "binary" else [-0.5, 0.5]
            target = np.digitize(target, cuts).astype(np.int64)
        kinds = {f"x{i}": "numeric" for i in range(numeric)} | {f"c{i}": "categorical" for i in range(categorical)}
        distinct = {name: rows if kind == "numeric" else len(COLOURS) for name, kind in kinds.items()}
        whole = Columns(values, tuple(Codes(c, COLOURS) for c in codes), target, np.arange(rows))
        held = np.arange(rows) % 4 == 3
        return Table(self.problem(kinds, task, distinct), whole.take(~held), whole.take(held))

    def attention(
        self, problem: Problem, values: list[float] | None = None, temperature: float | None = None
    ) -> Attention:
        """The even split, or the softmax of these scores."""
        count = len(problem.schema.features)
        return fit(self.scores(problem, values or [0.5] * count), temperature, self.config().attention)

    def plan(
        self, problem: Problem, config: Config | None = None, attention: Attention | None = None, **envelope: Any
    ) -> Plan:
        """A plan for 180 training and 60 validation rows; without limits where none is given."""
        return make_plan(
            attention or self.attention(problem),
            Envelope(**envelope),
            config or self.config(),
            self.machine,
            allocation="attention",
            train_rows=180,
            validation_rows=60,
        )

    def fitted(self, table: Table, config: Config | None = None, seed: int = 0, **execution: Any) -> Fitted:
        """A trained model of the even split; `execution` replaces what the plan says."""
        config = config or self.config()
        plan = self.plan(table.problem, config)
        plan = replace(plan, execution=replace(plan.execution, **execution))
        return train(plan, table.train, table.validation, config, seed=seed)


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy()
