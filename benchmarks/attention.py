"""What decides how attention is fitted, on validation rows alone: the fitted blend, and weight decay by attention.

    python benchmarks/attention.py blend --sets phoneme,california+noise75
    python benchmarks/attention.py decay --sets elevators --seeds 3 --exponents 0,0.5,1

`blend` goes through the short trainings of both families and prints each candidate's loss, with the divergence between
the model's own shares and the softmax of the scores before and after fitting. `decay` trains one attention (temperature
0.4) with each exponent of `training.attended_decay` and prints what that gained over the first exponent, seed by seed.
Sets are those of `balance_sets`; figures go to ``results/attention-<part>-<date>.json``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from balance_sets import SETS, Rows, load
from results_file import write_results

from abi.attention.fit import fit
from abi.config import load_config
from abi.data.columns import Columns
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.planning.measure import measure
from abi.training.loop import train
from abi.training.trees_pilots import fit_families
from abi.types import Attention, Envelope, Family, Plan, Trial

PARAMETERS = 60_000
TEMPERATURE = 0.4


class Bench:
    """One set with its planner."""

    def __init__(self, rows: Rows, machine: Machine, most: int, settings: dict[str, Any]) -> None:
        self.rows, self.machine, self.settings = rows, machine, settings
        self.train: Columns = rows.train.take(np.arange(min(len(rows.train), most)))

    def plan(self, attention: Attention, family: Family | None, **changed: object) -> Plan:
        """Under a limit of parameters alone."""
        return plan_family(
            attention,
            Envelope(parameters=PARAMETERS),
            load_config(settings={**self.settings, **changed}, ambient=False),
            self.machine,
            train_rows=len(self.train),
            validation_rows=len(self.rows.validation),
            family=family,
        )

    def blend(self) -> dict[str, Any]:
        """The candidates of each family and their losses."""
        found = fit_families(self.rows.scores, self.rows.config, self.plan, self.train, self.rows.validation)
        result: dict[str, Any] = {"set": self.rows.spec.name, "network": _trials(found.trials)}
        chosen = {"network": found.blend}
        if found.trees is not None:
            result["trees"], chosen["trees"] = _trials(found.trees.trials), found.trees.blend
        result["chosen"] = {name: blend.to_json() for name, blend in chosen.items() if blend is not None}
        return result

    def decay(self, exponents: list[float], seeds: int, *, frugal: bool) -> dict[str, Any]:
        """Gain of each exponent over the first one, as a share of the validation loss, per seed."""
        attention = fit(self.rows.scores, TEMPERATURE, self.rows.config.attention, frugal=frugal)
        losses: dict[float, list[float]] = {}
        for exponent in exponents:
            config = load_config(settings={**self.settings, "training.attended_decay": exponent}, ambient=False)
            plan = self.plan(attention, "network", **{"training.attended_decay": exponent})
            losses[exponent] = [
                train(plan, self.train, self.rows.validation, config, seed=seed).trained.loss for seed in range(seeds)
            ]
        first = np.array(losses[exponents[0]])
        gains = {e: ((first - np.array(losses[e])) / first).tolist() for e in exponents[1:]}
        return {
            "set": self.rows.spec.name,
            "frugal": frugal,
            "weight_decay": plan.execution.weight_decay,
            "epochs": plan.execution.epochs,
            "losses": losses,
            "gains": gains,
        }


def _trials(trials: tuple[Trial, ...]) -> list[dict[str, Any]]:
    return [t.to_json() for t in trials]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("blend", "decay"))
    parser.add_argument("--sets", default="kc1_defects,phoneme,california+noise75,elevators")
    parser.add_argument("--rows", type=int, default=8000, help="most training rows")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--exponents", default="0,0.5,1")
    parser.add_argument("--frugal", action="store_true")
    asked = parser.parse_args()
    settings: dict[str, Any] = {"training.threads": 1, "training.device": "cpu", "training.epochs": asked.epochs}
    machine = measure("cpu", "float32", 1)
    results = []
    for spec in (s for s in SETS if s.name in asked.sets.split(",")):
        began = time.monotonic()
        bench = Bench(load(spec, settings), machine, asked.rows, settings)
        if asked.part == "blend":
            results.append(bench.blend())
            for name in ("network", "trees"):
                told = ", ".join(
                    f"{'blend ' if t['blended'] else ''}{t['temperature'] or 'even'}{' frugal' if t['frugal'] else ''} {t['loss']:.5f}"
                    for t in results[-1].get(name, ())
                )
                print(f"{spec.name:24s} {name:8s} {told}; chosen: {results[-1]['chosen'].get(name)}")
        else:
            results.append(
                bench.decay([float(e) for e in asked.exponents.split(",")], asked.seeds, frugal=asked.frugal)
            )
            for exponent, gains in results[-1]["gains"].items():
                told = " ".join(f"{gain:+.2%}" for gain in gains)
                print(f"{spec.name:24s} exponent {exponent:g}: {np.mean(gains):+.2%}  ({told})")
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
        write_results(f"attention-{asked.part}", results)


if __name__ == "__main__":
    main()
