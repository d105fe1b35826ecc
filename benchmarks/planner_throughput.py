"""Training of a plan beside a loop that a person would write over the same network, and beside default settings.

The loop by hand has what anybody's has: batches of shuffled rows, forward, loss, backward, AdamW, and a validation at
the end of each epoch. The instrument's has gradient clipping, a moving average of the weights, checks of finite losses and
a history besides. Both run by turns in one process.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.data.columns import Columns
from abi.data.memory import read_memory
from abi.families.artifact import Blueprint, build
from abi.families.losses import members_loss
from abi.families.preparation import prepare
from abi.planning.family import plan_family
from abi.planning.measure import find_device, find_precision, measure
from abi.scoring.score import score
from abi.training.loop import train
from abi.training.objective import training_target
from abi.types import Plan

ROWS: Final = {"usual": 30_000, "large": 200_000}
FEATURES: Final = 40
EPOCHS: Final = 2
TURNS: Final = 3


CASES: Final[dict[str, dict[str, Any]]] = {
    "usual": {"envelope.parameters": "200k"},
    "large": {
        "training.members": 32, "training.blocks": 3, "training.block_width": 384, "training.batch_rows": 8192,
        "training.learning_rate": 1e-3, "envelope.parameters": "20M",
    },
}  # fmt: skip
"""Settings of what is trained: as recommended for the table, and a network that a GPU is for."""


def throughput() -> dict[str, Any]:
    """Rows per second of the plan, of the loop by hand, and of the defaults (float32, batches of 256), by case."""
    return {name: _throughput(name) for name in CASES}


def planned(name: str, epochs: int = EPOCHS) -> tuple[Plan, Columns, Columns, Config]:
    """Plan, rows to train on and to validate on, and settings of a case."""
    settings = {"training.family": "network", "training.epochs": epochs} | CASES[name]
    config = load_config(settings=settings, ambient=False)
    reader = read_memory(table(ROWS[name]), "y", config)
    rows, validation = reader.load("train"), reader.load("validation")
    attention = fit(score(reader, config.scoring), None, config.attention, frugal=False)
    device = find_device(config.training.device)
    precision = find_precision(config.training.precision, device)
    machine = measure(device, precision, None)
    plan = plan_family(
        attention, config.envelope.limits(), config, machine, train_rows=len(rows), validation_rows=len(validation)
    )
    plan = replace(plan, execution=replace(plan.execution, patience=epochs))
    return plan, rows, validation, config


def _throughput(name: str) -> dict[str, Any]:
    plan, rows, validation, config = planned(name)
    plain = replace(plan, execution=replace(plan.execution, precision="float32", batch_rows=256, steps=EPOCHS * -(-len(rows) // 256)))  # fmt: skip
    taken: dict[str, list[float]] = {"plan": [], "by_hand": [], "defaults": [], "defaults_by_hand": []}
    for _ in range(TURNS):
        taken["plan"].append(_trained(plan, rows, validation, config))
        taken["by_hand"].append(by_hand(plan, rows, validation))
        taken["defaults"].append(_trained(plain, rows, validation, config))
        taken["defaults_by_hand"].append(by_hand(plain, rows, validation))
    per_s = {arm: round(len(rows) / statistics.median(seconds)) for arm, seconds in taken.items()}
    execution = plan.execution
    found = {
        "device": execution.device, "precision": execution.precision, "batch_rows": execution.batch_rows,
        "parameters": plan.predicted.parameters, "rows_per_s": per_s,
        "of_loop_by_hand": round(per_s["plan"] / per_s["by_hand"], 3),
        "times_defaults": round(per_s["plan"] / per_s["defaults"], 2),
        "times_defaults_by_hand": round(per_s["plan"] / per_s["defaults_by_hand"], 2),
    }  # fmt: skip
    print(f"throughput, {name}: {found}", flush=True)
    return found


def table(rows: int) -> pd.DataFrame:
    """Numbers with a target that a few of them make."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, FEATURES)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] + random.standard_normal(rows) > 0).astype(int)
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(FEATURES)]).assign(y=y)


def _trained(plan: Plan, rows: Columns, validation: Columns, config: Config) -> float:
    """Seconds of an epoch, the shortest of them: the first has the start in it."""
    fitted = train(plan, rows, validation, config, seed=0)
    return min(epoch.seconds for epoch in fitted.trained.history)


def by_hand(plan: Plan, rows: Columns, validation: Columns) -> float:
    """The same network in a loop of its own."""
    execution, schema = plan.execution, plan.attention.scores.problem.schema
    torch.set_num_threads(execution.threads)
    preparation, fitting = prepare(schema, plan.capacity, rows, plan.attention)
    blueprint = Blueprint(
        family="network", schema=schema, capacity=plan.capacity, preparation=preparation,
        prior=tuple(w.weight for w in plan.attention.weights), dropout=execution.dropout,
    )  # fmt: skip
    place = torch.device(execution.device)
    network = build(blueprint, low_precision=execution.precision == "bfloat16", masks=fitting.masks)
    cells, held = network.encode(rows, fitting).to(place), network.encode(validation).to(place)
    target = training_target(rows, schema, preparation).to(place)
    held_target = training_target(validation, schema, preparation).to(place)
    network.to(place)
    optimizer = torch.optim.AdamW(network.parameters(), lr=execution.learning_rate, fused=True)
    taken = []
    for _ in range(EPOCHS):
        start = time.perf_counter()
        network.train()
        for part in torch.split(torch.randperm(cells.rows, device=place), execution.batch_rows):
            optimizer.zero_grad(set_to_none=True)
            members_loss(network(cells.take(part)), target[part], schema.task).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.no_grad():
            losses = [
                members_loss(network(held.take(part)), held_target[part], schema.task)
                for part in torch.split(torch.arange(held.rows, device=place), 8192)
            ]
            float(torch.stack(losses).mean())
        taken.append(time.perf_counter() - start)
    return min(taken)
