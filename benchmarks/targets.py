"""Other targets than one class of many rows: several labels per row, a class out of scope, a long tail.

    python benchmarks/targets.py [--cases nlupp,clinc150,banking77,tail-none,tail-auto] [--threads N]

Every case is one `abi run`, with the uniform control and the baseline beside it; the test file is looked at once per case.

nlupp: micro F1 over 62 intents, any number per row. clinc150: accuracy over 150 intents and `oos` (1,000 of 5,500 test rows, 1%
of the training rows), whose own validation file is joined to the training rows. banking77: accuracy over 77 intents. Both with
at most an eighth of the weights of TF-IDF and a linear SVM (terms times classes). tail-*: banking77 with its training rows
thinned so that the frequencies of its classes fall exponentially from 1 to 1/50 in a random order, chosen by macro F1, without
and with `training.balance: auto`.

Reads ``$ABI_BENCH`` (default ``../shared/bench``). Prints a table and writes dated JSON into ``benchmarks/results/``; cases that
were measured before on the same day stay in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from results_file import results_path, write_results

from abi.cores import cores

ROOT: Final = Path(__file__).parent.parent
BENCH: Final = Path(os.environ.get("ABI_BENCH", ROOT.parent / "shared" / "bench"))
IMBALANCE: Final = 50
TAIL: Final = {
    "data": "banking77",
    "target": "category",
    "metric": "f1_macro",
    "settings": ["evaluation.metric=f1_macro"],
}
CASES: Final[dict[str, dict[str, Any]]] = {
    "nlupp": {"data": "nlupp", "target": "intents", "metric": "f1_micro", "to_reach": 0.8167},
    "clinc150": {
        "data": "clinc150",
        "target": "intent",
        "metric": "accuracy",
        "to_reach": 0.765,
        "parameters": 31_314 * 151 // 8,
        "settings": ["data.out_of_scope=oos"],
    },
    "banking77": {
        "data": "banking77",
        "target": "category",
        "metric": "accuracy",
        "to_reach": 0.894,
        "parameters": 23_608 * 77 // 8,
    },
    "tail-none": TAIL | {"settings": [*TAIL["settings"], "training.balance=none"]},
    "tail-auto": TAIL | {"settings": [*TAIL["settings"], "training.balance=auto"]},
}
CALL: Final = "import sys; from flows.cli import main; sys.argv[0] = 'abi'; sys.exit(main())"


def long_tail(frame: pd.DataFrame, target: str, seed: int = 0) -> pd.DataFrame:
    """The rows of class number k in a random order of K are thinned to n_max * 50^(-k / (K - 1)), at least two."""
    random = np.random.default_rng(seed)
    order = random.permutation(np.sort(frame[target].unique()))
    most = int(frame[target].value_counts().max())
    kept = []
    for place, name in enumerate(order):
        rows = frame.index[frame[target] == name]
        wanted = max(2, round(most * IMBALANCE ** (-place / (len(order) - 1))))
        kept.append(random.permutation(rows)[:wanted])
    return frame.loc[np.sort(np.concatenate(kept))].reset_index(drop=True)


def tables(name: str, case: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """(training file, test file) of a case."""
    source = BENCH / case["data"]
    train, test = source / "train.parquet", source / "test.parquet"
    made = None
    if (source / "val.parquet").is_file():
        made = pd.concat([pd.read_parquet(train), pd.read_parquet(source / "val.parquet")], ignore_index=True)
    if name.startswith("tail"):
        made = long_tail(pd.read_parquet(train), case["target"])
    if made is None:
        return train, test
    path = folder / f"{case['data']}.parquet"
    made.to_parquet(path)
    return path, test


def measure(name: str, threads: int) -> dict[str, Any]:
    """One run, as a user would start it."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as place:
        train, test = tables(name, case, Path(place))
        settings = [f"training.threads={threads}", *case.get("settings", ())]
        words = ["run", train, "--test", test, "--target", case["target"], "--name", name, "--json"]
        words += ["--workspace", Path(place) / "workspace", *(w for s in settings for w in ("--set", s))]
        if "parameters" in case:
            words += ["--budget", f"parameters={case['parameters']}"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CALL, *map(str, words)],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=False,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.returncode)
    run = json.loads(done.stdout)
    return {
        "metric": case["metric"],
        "to_reach": case.get("to_reach"),
        "parameters": run["plan"]["measured"]["parameters"],
        "parameters_at_most": case.get("parameters"),
        "model": run["metrics"],
        "intervals": run["intervals"],
        "control": run["control"],
        "gain": run["gain"],
        "balance": run["balance"],
        "settings": settings,
        "run_s": round(seconds, 1),
        "timings_s": run["timings_s"],
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| case | metric | to reach | model | even split | baseline | parameters | run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        shown = [one["metric"]]
        if name.startswith("tail"):
            shown += ["tail_accuracy", "accuracy"]
        if name == "clinc150":
            shown += ["in_scope_accuracy", "out_of_scope_recall", "out_of_scope_precision", "out_of_scope_auroc"]
        for metric in shown:
            figures = [one["model"], one["control"]["uniform"], one["control"]["baseline"]]
            values = " | ".join(f"{figure[metric]:.4f}" for figure in figures)
            reach = one["to_reach"] if metric == one["metric"] and one["to_reach"] else ""
            lines.append(f"| {name} | {metric} | {reach} | {values} | {one['parameters']:,} | {one['run_s']:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    """Measure the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--threads", type=int, default=max(1, cores() // 2))
    asked = parser.parse_args()
    path = results_path("targets")
    found: dict[str, dict[str, Any]] = json.loads(path.read_text())["figures"] if path.is_file() else {}
    for name in asked.cases.split(","):
        found[name] = measure(name, asked.threads)
        write_results("targets", {case: found[case] for case in CASES if case in found})
        print(table({name: found[name]}), flush=True)
    print(table({case: found[case] for case in CASES if case in found}))


if __name__ == "__main__":
    main()
