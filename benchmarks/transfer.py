"""Does another domain's model help? Trainings from it beside trainings from nothing: same plan, schedule and seed.

    python benchmarks/transfer.py [--pairs sentfin-financial_phrasebank,..] [--shares 0.1,1] [--seeds 2] [--no-test]

Reads ``$ABI_BENCH`` (default ``../shared/bench``). The source is trained on all of its training rows, the target on a share of
its own (by class). Of each seed the better start on validation rows is what `abi run --from` would keep. Gains are of
accuracy, in points, with the standard error over test rows of all seeds together.

Prints a table and writes dated JSON into ``benchmarks/results/``; pairs that were measured before on the same day stay in it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from in_process import Rows, machine_of, read
from results_file import results_path, write_results

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.families.transfer import Start, matches, network_of
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.training import loop
from abi.training.fitted import Fitted
from abi.training.transfer import carried
from abi.types import Plan

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
COLUMNS: Final = {"sentfin": {"entity": "text"}}
"""Texts alone on both sides, so that heads lie as deep."""
PAIRS: Final = ("sentfin-financial_phrasebank", "financial_phrasebank-sentfin", "banking77-clinc150")


def settings() -> Config:
    """Networks alone, on one thread."""
    return load_config(settings={"training.family": "network", "training.threads": 1}, ambient=False)


def rows_of(name: str, share: float, config: Config, folder: Path) -> Rows:
    """All rows of a set, or a share of the training rows of each class."""
    target = json.loads((BENCH / "BENCH.json").read_bytes())[name]["target"]
    path = BENCH / name / "train.parquet"
    if share < 1:
        whole = pd.read_parquet(path)
        some = whole.groupby(target, group_keys=False).sample(frac=share, random_state=0)
        path = folder / f"{name}-{share}.parquet"
        some.sort_index().to_parquet(path)
    columns = config.data.model_copy(update={"columns": COLUMNS.get(name, {})})
    return read(path, BENCH / name / "test.parquet", target, config.model_copy(update={"data": columns}))


def plan_of(rows: Rows, config: Config, machine: Machine) -> Plan:
    """A frugal split: terms are graded by their scores."""
    return plan_family(
        fit(rows.scores, None, config.attention, frugal=True),
        config.envelope.limits(),
        config,
        machine,
        train_rows=len(rows.train),
        validation_rows=len(rows.validation),
        family="network",
    )


def hits(fitted: Fitted[Any], rows: Rows) -> np.ndarray:
    """Which test rows are predicted right."""
    assert rows.test is not None
    assert rows.test.target is not None
    return np.asarray(fitted.model.predict_columns(rows.test).argmax(axis=1) == rows.test.target, dtype=float)


def compare(source: Fitted[Any], there: Rows, here: Rows, seeds: int, config: Config, machine: Machine, test: bool) -> dict[str, Any]:  # fmt: skip
    """Cold and warm trainings of one target."""
    plan = plan_of(here, config, machine)
    network = network_of(source.model)
    assert network is not None
    terms = {name: lexicon.terms for name, lexicon in network.blueprint.preparation.lexicons.items()}
    pairs = matches(here.problem.schema, there.problem.schema, {t.feature: t.terms for t in here.scores.terms}, terms)
    start = Start(network, pairs)
    brought = carried(start, plan, here.train)
    found: dict[str, Any] = {
        "train_rows": len(here.train), "pairs": pairs, "terms": brought.terms, "outputs": brought.outputs,
        "parameters": plan.predicted.parameters, "carried": brought.parameters, "runs": [],
    }  # fmt: skip
    gains = []
    for seed in range(seeds):
        cold, warm = (
            loop.train(plan, here.train, here.validation, config, seed=seed, start=one) for one in (None, start)
        )
        run: dict[str, Any] = {
            name: {"loss": f.trained.loss, "accuracy": f.trained.metric, "best_epoch": f.trained.best_epoch, "seconds": f.trained.measured.train_time_s}
            for name, f in (("cold", cold), ("warm", warm))
        }  # fmt: skip
        run["kept"] = "warm" if warm.row_losses.mean() < cold.row_losses.mean() else "cold"
        if test:
            pair = hits(cold, here), hits(warm, here)
            run["test"] = {"cold": float(pair[0].mean()), "warm": float(pair[1].mean())}
            gains.append(pair[1] - pair[0])
        found["runs"].append(run)
    for name in ("cold", "warm"):
        found[f"validation_{name}"] = float(np.mean([run[name]["accuracy"] for run in found["runs"]]))
    if gains:
        mean = np.mean(gains, axis=0)
        found["test_gain"] = float(mean.mean())
        found["test_gain_error"] = float(mean.std(ddof=1) / np.sqrt(len(mean)))
        found["test_cold"] = float(np.mean([run["test"]["cold"] for run in found["runs"]]))
        found["test_warm"] = float(np.mean([run["test"]["warm"] for run in found["runs"]]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", default=",".join(PAIRS))
    parser.add_argument("--shares", default="0.1,1")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--no-test", action="store_true")
    asked = parser.parse_args()
    config = settings()
    machine = machine_of(config)
    today = results_path("transfer")
    pairs = {tuple(pair.split("-")) for pair in asked.pairs.split(",")}
    before = json.loads(today.read_bytes())["figures"] if today.is_file() else []
    figures = [f for f in before if (f["source"], f["target"]) not in pairs]
    with tempfile.TemporaryDirectory() as folder:
        for pair in asked.pairs.split(","):
            source, target = pair.split("-")
            there = rows_of(source, 1.0, config, Path(folder))
            model = loop.train(plan_of(there, config, machine), there.train, there.validation, config, seed=0)
            for share in map(float, asked.shares.split(",")):
                here = rows_of(target, share, config, Path(folder))
                found = compare(model, there, here, asked.seeds, config, machine, not asked.no_test)
                figures.append({"source": source, "target": target, "share": share, **found})
                told = "" if asked.no_test else f"  test {found['test_cold']:.4f} -> {found['test_warm']:.4f} ({100 * found['test_gain']:+.2f} +- {100 * found['test_gain_error']:.2f} points)"  # fmt: skip
                if not asked.no_test:
                    write_results("transfer", figures)
                print(f"{source:>20} -> {target:20} {share:4.0%} of rows: {found['terms']} terms, {found['outputs']} outputs carried; validation {found['validation_cold']:.4f} -> {found['validation_warm']:.4f}{told}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
