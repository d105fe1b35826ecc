"""What hardening buys and costs: networks trained plainly and hardened, under noise, gaps and FGSM steps.

    python benchmarks/robust.py [--sets phoneme,financial_phrasebank] [--ways plain,mixup,..] [--seed 0]

Reads ``$ABI_BENCH`` (default ``../shared/bench``). Every way is the same plan but for its hardening. Accuracy (RMSE) on the test
file as it is and under each change of `abi eval --robust`, and the time of a training beside the predicted one. How steady
attention is stands beside it.

Prints tables and writes dated JSON into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from in_process import machine_of, read
from results_file import write_results

from abi.attention.fit import fit
from abi.config import Config, load_config
from abi.data.convert import convert
from abi.data.reader import Reader
from abi.data.source import hash_file
from abi.evaluation.robustness import Contenders, measure
from abi.evaluation.stability import stability
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.training import loop

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
SETS: Final = ("phoneme", "credit_g", "financial_phrasebank")
WAYS: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "mixup": {"mixup": 0.2},
    "corruption": {"corruption": 0.1},
    "missing": {"missing": 0.2},
    "fgsm": {"adversarial": "fgsm", "size": 0.2},
    "pgd": {"adversarial": "pgd", "size": 0.2, "steps": 3},
}


def settings(**robust: Any) -> Config:
    """Networks alone, on one thread."""
    plain = {"training.family": "network", "training.threads": 1, "evaluation.resamples": 200, "evaluation.robust_features": 0}  # fmt: skip
    return load_config(settings=plain | {f"training.robust.{k}": v for k, v in robust.items()}, ambient=False)


def measured(name: str, ways: list[str], seed: int, machine: Machine) -> dict[str, Any]:
    """All ways of one set."""
    about = json.loads((BENCH / "BENCH.json").read_bytes())[name]
    ending = "csv" if about["format"] == "csv" else "parquet"
    train_path, test_path = (BENCH / name / f"{part}.{ending}" for part in ("train", "test"))
    rows = read(train_path, test_path, about["target"], settings())
    assert rows.test is not None
    attention = fit(rows.scores, 0.4, settings().attention, frugal=True)
    found: dict[str, Any] = {"set": name, "rows": len(rows.test), "ways": {}}
    for way in ways:
        config = settings(**WAYS[way])
        plan = plan_family(
            attention, config.envelope.limits(), config, machine, train_rows=len(rows.train),
            validation_rows=len(rows.validation), family="network",
        )  # fmt: skip
        fitted = loop.train(plan, rows.train, rows.validation, config, seed=seed)
        robust = measure(
            Contenders(models={"model": fitted.model}, others={}), attention, rows.train, rows.test, config
        )
        epochs = len(fitted.trained.history)
        line = {
            "clean": robust.clean["model"].value,
            **{f"{p.kind} {p.strength}": p.contenders[0].value.value for p in robust.perturbed},
            "epoch_s": fitted.trained.measured.train_time_s / epochs,
            "predicted_epoch_s": plan.predicted.train_time_s / plan.execution.epochs,
            "passes": plan.execution.passes,
        }
        found["ways"][way] = line
        shown = "  ".join(f"{key} {value:.3f}" for key, value in line.items())
        print(f"{name:22} {way:11} {shown}", flush=True)
    found["stability"] = _stability(rows.problem, train_path, attention, rows.train)
    for steady in found["stability"]:
        print(f"{name:22} attention, {steady['what']}: rank {steady['rank']}, moved {steady['moved']:.3f}")
    return found


def _stability(problem: Any, path: Path, attention: Any, train: Any) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        table = convert(path, Path(folder), hash_file(path).sha256)
        return [s.to_json() for s in stability(Reader(problem, table), attention, train, settings())]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    machine = machine_of(settings())
    figures = []
    for name in asked.sets.split(","):
        figures.append(measured(name, asked.ways.split(","), asked.seed, machine))
        print(write_results("robust", figures))


if __name__ == "__main__":
    main()
