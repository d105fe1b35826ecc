"""Recorded runs on tiny tables: the chain of a run in this process, without files or servers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abi.audit.record import RunRecord
from abi.config import Config, load_config
from abi.data.memory import read_memory, to_arrow
from abi.data.reader import Reader
from abi.outcomes import Conditions, Control, Evaluation, Gain, Move, Tried
from abi.planning.even import even_plans
from abi.planning.planner import Planner
from abi.problem import Checks
from abi.scoring.score import score
from abi.training.choice import pick_control
from abi.training.family import train
from abi.training.pilots import choose_control
from abi.training.revise import control_attention, revise, trial_count, tried_lean
from abi.training.rounds import best_round, converge, decide
from abi.training.trees_pilots import fit_families
from abi.types import Estimate

QUICK = {
    "data.test": 0.0,  # a table in memory holds none out
    "training.epochs": 1,
    "training.members": 2,
    "training.block_width": 16,
    "training.threads": 1,
    "training.trees.rounds": 5,
    "iterate.rounds": 3,
    "iterate.plan_change": 0,
    "iterate.tolerance": 0,
    "attention.temperatures": [1.0, 0.3],
    "attention.caution": 0.2,
    "scoring.groups": 4,
    "scoring.shuffles": 8,
}


@dataclass(frozen=True)
class Recorded:
    """A run, and the tables that it learned from."""

    run: RunRecord
    reader: Reader

    def tables(self) -> tuple[Any, None]:
        """As the snapshot gives them."""
        return self.reader.train, None


def table(seed: int, rows: int = 200, *, ids: bool = False, text: bool = False) -> pd.DataFrame:
    """Two numbers that tell, one that does not, a category with gaps; an id of many values or a text where asked for."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=rows),
            "b": random.normal(size=rows),
            "noise": random.normal(size=rows),
            "colour": random.choice(["red", "green", None], rows),
        }
    )
    strength = 2 * frame["a"] - frame["b"] + (frame["colour"] == "red")
    if ids:
        who = random.integers(0, 90, rows)
        frame["who"] = [f"id{i}" for i in who]
        strength = strength + np.where(who % 2, 1.5, -1.5)
    frame["label"] = np.where(strength + random.logistic(size=rows) > 0, "yes", "no")
    if text:
        words = np.where(frame["label"] == "yes", "fine good", "bad poor")
        frame["said"] = [f"{w} w{random.integers(60)} w{random.integers(60)} and some more words" for w in words]
    return frame


def recorded(machine: Any, frame: pd.DataFrame, **settings: Any) -> Recorded:
    """The chain of a run, with what it records."""
    asked = {name.replace("__", "."): value for name, value in settings.items()}
    config: Config = load_config(settings=QUICK | asked, ambient=False)
    reader = read_memory(to_arrow(frame, None), "label", config, least_rows=20)
    rows_in, validation = reader.load("train"), reader.load("validation")
    conditions = Conditions(
        settings=config.recorded(),
        machine=machine.to_json(),
        train_rows=len(rows_in),
        validation_rows=len(validation),
        code="code",
        libraries={"torch": "1"},
    )
    divide = Planner.of(conditions).divide
    scores = score(reader, config.scoring, tail=config.attention.tail > 0)
    plan = divide(fit_families(scores, config, divide, rows_in, validation))
    rounds, moves = [], []
    continues = True
    while continues:
        fitted = train(plan, rows_in, validation, config, seed=config.seed + len(rounds))
        rounds.append(fitted.trained)
        moved = revise(fitted.model, validation, plan.attention, config)
        following = divide(moved, fitted.trained.family)
        continues, reason = decide(rounds, following, config)
        found = converge(moved, plan, following, config)
        moves.append(Move(trained=rounds[-1], attention=moved, continues=continues, reason=reason, convergence=found))
        plan = following
    last = rounds[-1]
    twin = control_attention(moves[-1], config.attention)
    plans = even_plans(
        lambda even, limits, other: divide(even, last.family, allocation="even", envelope=limits, config=other),
        twin,
        config,
        lean=tried_lean(moves[-1].attention),
    )
    pilots = choose_control(
        plans, config, trials=trial_count(moves[-1].attention), train_columns=rows_in, validation_columns=validation
    )
    control = train(pilots.plan, rows_in, validation, config, seed=pilots.seed).trained
    control = replace(control, tried=Tried(pilots=pilots.losses, trainings=(control.loss,)))
    assert pick_control(pilots.losses, len(plans), config.seed)[1] == pilots.seed
    return Recorded(
        RunRecord(
            run_id="f" * 32,
            name="shop",
            version=1,
            checks=Checks(problem=reader.problem, suite_sha256="0" * 64, results=()),
            evaluation=evaluated(rounds[best_round(rounds)]),
            control=control,
            moves=tuple(moves),
            conditions=conditions,
        ),
        reader,
    )


def evaluated(trained: Any, auc: tuple[float, float, float] = (0.8, 0.7, 0.9)) -> Evaluation:
    """Made-up figures of a trained model."""
    value = Estimate(value=auc[0], low=auc[1], high=auc[2])
    gain = Gain(metric="roc_auc", difference=Estimate(value=0.01, low=-0.01, high=0.03), relative=0.0125)
    uniform = Control(
        name="uniform", description="", metrics={"roc_auc": value}, gain=gain, parameters=1, trials=1, train_time_s=0.1
    )
    return Evaluation(
        trained=trained,
        rows=40,
        primary="roc_auc",
        metrics={"roc_auc": value},
        controls=(uniform,),
        slices=(),
        calibration=None,
        latency_s=1e-3,
        trials=1,
    )


@pytest.fixture(scope="session")
def record(toy: Any) -> Any:
    """`recorded` on the toy's machine; a run for each seed and settings is made once."""
    made: dict[str, Recorded] = {}

    def make(seed: int = 0, *, ids: bool = False, text: bool = False, **settings: Any) -> Recorded:
        key = repr((seed, ids, text, sorted(settings.items())))
        if key not in made:
            made[key] = recorded(toy.machine, table(seed, ids=ids, text=text), seed=seed, **settings)
        return made[key]

    return make


@pytest.fixture(scope="session")
def evaluate() -> Any:
    return evaluated
