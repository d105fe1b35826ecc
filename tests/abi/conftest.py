"""Small problems, tables and plans that the tests of the core share, as one fixture: `toy`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.data.columns import Codes, Columns
from abi.inputs.terms import count_terms
from abi.media.grid import Pictures
from abi.media.grid import codes as region_codes
from abi.planning.allocate import SOLVER
from abi.planning.machine import Machine
from abi.planning.plan import make_plan
from abi.problem import DataFile, Feature, Grid, Pretrained, Problem, Schema, Snapshot, Split, Task
from abi.scoring.terms import add, empty, from_counts
from abi.training.fitted import Fitted
from abi.training.loop import train
from abi.types import Attention, Envelope, FeatureScore, Plan, Scores, TermScores

settings.register_profile("any machine", deadline=None)  # a busy one takes long now and then
settings.load_profile("any machine")

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
    """A problem with its rows; `terms` are the scores of its texts' terms."""

    problem: Problem
    train: Columns
    validation: Columns
    terms: tuple[TermScores, ...] = ()


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
        solver=SOLVER,
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

    def texts(
        self, task: Task = "binary", rows: int = 240, numeric: int = 0, categorical: int = 0, seed: int = 0
    ) -> Table:
        """As `table`, with a text `t0` before the other features: a word of its class among eight of a hundred others.

        The first row's text is missing, the second one's is empty.
        """
        plain = self.table(task, rows, max(1, numeric), categorical, seed)
        random = np.random.default_rng(seed)
        whole = [self._with_text(part, task, random, numeric) for part in (plain.train, plain.validation)]
        kinds = {"t0": "text"} | {f"x{i}": "numeric" for i in range(numeric)}
        kinds |= {f"c{i}": "categorical" for i in range(categorical)}
        distinct = {n: len(COLOURS) if kind == "categorical" else rows for n, kind in kinds.items()}
        problem = self.problem(kinds, task, distinct)
        train = whole[0]
        vocabulary = count_terms(train.categorical[0].values)[1]
        assert train.target is not None
        classes = train.target.astype(np.int64) if task != "regression" else (train.target > 0).astype(np.int64)
        counts = add(empty(len(vocabulary), 3), train.categorical[0], classes, vocabulary)
        return Table(problem, train, whole[1], (from_counts("t0", vocabulary, counts),))

    @staticmethod
    def _with_text(part: Columns, task: Task, random: np.random.Generator, numeric: int) -> Columns:
        assert part.target is not None
        classes = part.target if task != "regression" else np.digitize(part.target, [-0.5, 0.5])
        texts = []
        for one in classes:
            words = [f"w{i}" for i in random.integers(0, 100, 8)]
            words[random.integers(0, 8)] = f"says{int(one)}"
            texts.append(" ".join(words))
        texts[1] = ""
        codes = np.arange(len(texts), dtype=np.int32)
        codes[0] = -1
        return Columns(
            part.numeric[:, :numeric], (Codes(codes, tuple(texts)), *part.categorical), part.target, part.row_numbers
        )

    def media(self, task: Task = "binary", rows: int = 160, seed: int = 0) -> Table:
        """A number, vectors of a pretrained encoder and pictures of four regions; the target follows the first region."""
        plain = self.table(task, rows, numeric=1, categorical=0, seed=seed)
        encoder = Pretrained(sha256="0" * 64, dimensions=6, pooling="mean", normalise=False, max_tokens=8, parameters=10, matrices=8)  # fmt: skip
        embedded = Feature(name="e", column="e", kind="embedding", distinct=rows, missing_share=0.0, encoder=encoder)
        grid = Grid(column="p", medium="image", channels=1, height=16, width=16, rows=2, cols=2, mean=(100.0,), deviation=(50.0,), centres=(0.0,) * 16 + (0.8,) * 16)  # fmt: skip
        regions = tuple(
            Feature(name=f"p{i}", column="p", kind="region", distinct=2, missing_share=0.0, place=i) for i in range(4)
        )
        schema = plain.problem.schema
        schema = replace(schema, features=(*schema.features, embedded, *regions), grids=(grid,))
        parts = [self._with_media(part, grid, seed + i) for i, part in enumerate((plain.train, plain.validation))]
        return Table(replace(plain.problem, schema=schema), *parts)

    @staticmethod
    def _with_media(part: Columns, grid: Grid, seed: int) -> Columns:
        random, count = np.random.default_rng(seed), len(part)
        pixels = random.integers(60, 140, (count, 1, 16, 16)).astype(np.uint8)
        assert part.target is not None
        pixels[:, :, :8, :8] += (40 * (part.target > 0)).astype(np.uint8)[:, None, None, None]
        pictures = Pictures(pixels, np.arange(count) != 0)
        vectors = random.normal(size=(count, 6)).astype(np.float32)
        texts = Codes(np.arange(count, dtype=np.int32), tuple(f"text {i}" for i in range(count)), vectors)
        shown = [Codes(own, ("0", "1")) for own in region_codes(pictures, grid).T]
        return Columns(part.numeric, (texts, *shown), part.target, part.row_numbers, (pictures,))

    def attention(
        self,
        problem: Problem,
        values: list[float] | None = None,
        temperature: float | None = None,
        *,
        frugal: bool = False,
        pruned: bool = False,
        terms: tuple[TermScores, ...] = (),
        silent: tuple[str, ...] = (),
    ) -> Attention:
        """The even split, or the softmax of these scores; `silent` features carry no signal."""
        scores = self.scores(problem, values or [0.5] * len(problem.schema.features))
        features = tuple(replace(f, carries_signal=f.feature not in silent) for f in scores.features)
        scores = replace(scores, features=features, terms=terms)
        return fit(scores, temperature, self.config().attention, frugal=frugal, pruned=pruned)

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

    def fitted(
        self,
        table: Table,
        config: Config | None = None,
        seed: int = 0,
        *,
        attention: Attention | None = None,
        envelope: Envelope | None = None,
        **execution: Any,
    ) -> Fitted:
        """A trained model of the even split, or of `attention`; `execution` replaces what the plan says."""
        config = config or self.config()
        attention = attention or self.attention(table.problem, terms=table.terms)
        plan = self.plan(table.problem, config, attention, **(envelope or Envelope()).to_json())
        plan = replace(plan, execution=replace(plan.execution, **execution))
        return train(plan, table.train, table.validation, config, seed=seed)


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy()
