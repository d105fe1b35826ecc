"""A fitting without orchestrator, tracker or workspace: score, fit attention, rounds. What the stages do, in one call."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abi.attention.fit import fit
from abi.config import Config
from abi.data.columns import Columns
from abi.data.convert import convert
from abi.data.infer import infer_schema
from abi.data.reader import Reader
from abi.data.source import format_of, hash_file
from abi.families.family import Model
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.planning.measure import find_device, find_precision, measure
from abi.problem import DataFile, Problem, Snapshot, Split
from abi.scoring.score import score
from abi.training.family import train
from abi.training.fitted import Fitted
from abi.training.revise import revise
from abi.training.rounds import decide
from abi.training.trees_pilots import fit_families
from abi.types import Attention, Family, Plan, Scores


@dataclass(frozen=True)
class Rows:
    """A problem with its rows and scores."""

    problem: Problem
    train: Columns
    validation: Columns
    test: Columns | None
    scores: Scores
    score_s: float


def read(train_path: Path, test_path: Path | None, target: str, config: Config) -> Rows:
    """Read, infer, split and score; the test rows are only loaded, and only where a file for them is given."""
    with tempfile.TemporaryDirectory() as folder:
        tables, files = [], []
        for role, path in (("train", train_path), ("test", test_path)):
            if path is None:
                continue
            found = hash_file(path)
            table = convert(path, Path(folder), found.sha256)
            tables.append(table)
            files.append(
                DataFile(
                    role=role,  # type: ignore[arg-type]  # train or test
                    format=format_of(path),
                    md5=found.md5,
                    sha256=found.sha256,
                    size_bytes=found.size_bytes,
                    rows=table.rows,
                )
            )
        held = tables[1] if len(tables) > 1 else None
        problem = Problem(
            snapshot=Snapshot(files=tuple(files)),
            schema=infer_schema(tables[0], target, config.data, held),
            split=Split(seed=config.seed, validation=config.data.validation, test=0.0),
        )
        reader = Reader(problem, tables[0], held)
        start = time.perf_counter()
        scores = score(reader, config.scoring)
        score_s = time.perf_counter() - start
        return Rows(
            problem=problem,
            train=reader.load("train"),
            validation=reader.load("validation"),
            test=reader.load("test") if held is not None else None,
            scores=scores,
            score_s=score_s,
        )


def machine_of(config: Config) -> Machine:
    """The constants of this machine, measured now."""
    device = find_device(config.training.device)
    return measure(device, find_precision(config.training.precision, device), config.training.threads)


@dataclass(frozen=True)
class Run:
    """The kept model with every round's, and seconds per part."""

    kept: Fitted[Model]
    rounds: tuple[Fitted[Model], ...]
    attention: Attention
    seconds: dict[str, float]

    def figures(self) -> dict[str, Any]:
        """What was kept and what it cost."""
        trained = self.kept.trained
        choice = self.rounds[0].trained.choice
        return {
            "family": trained.family,
            "weight": trained.choice.weight if trained.choice else None,
            "reason": choice.reason if choice else "",
            "rounds": len(self.rounds),
            "validation_loss": trained.loss,
            "temperature": trained.plan.attention.temperature,
            "trees_temperature": trained.plan.attention.trees.temperature if trained.plan.attention.trees else None,
            "statistics": trained.plan.attention.trees.statistics if trained.plan.attention.trees else None,
            "parameters": trained.measured.parameters,
            "predicted": trained.predicted.to_json(),
            "measured": trained.measured.to_json(),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }


def run(rows: Rows, config: Config, machine: Machine) -> Run:
    """Pilots, then rounds of plan, train and move, as `abi run` goes through them, without the control."""
    seconds = {"score": rows.score_s, "fit": 0.0, "train": 0.0, "move": 0.0}

    def plan(attention: Attention, family: Family | None = None) -> Plan:
        return plan_family(
            attention,
            config.envelope.limits(),
            config,
            machine,
            train_rows=len(rows.train),
            validation_rows=len(rows.validation),
            family=family,
        )

    start = time.perf_counter()
    attention = fit_families(rows.scores, config, plan, rows.train, rows.validation)
    seconds["fit"] = time.perf_counter() - start
    fitted: list[Fitted[Model]] = []
    family: Family | None = None
    while True:
        start = time.perf_counter()
        fitted.append(
            train(plan(attention, family), rows.train, rows.validation, config, seed=config.seed + len(fitted))
        )
        seconds["train"] += time.perf_counter() - start
        family = fitted[-1].trained.family
        start = time.perf_counter()
        attention = revise(fitted[-1].model, rows.validation, attention, config)
        continues, _ = decide([f.trained for f in fitted], plan(attention, family), config)
        seconds["move"] += time.perf_counter() - start
        if not continues:
            kept = min(fitted, key=lambda f: f.trained.loss)
            return Run(kept, tuple(fitted), kept.trained.plan.attention, seconds)


def even_attention(rows: Rows, config: Config) -> Attention:
    """No attention at all."""
    return fit(rows.scores, None, config.attention)
