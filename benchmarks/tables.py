"""``abi run`` on open tables with fixed splits, beside the scores of simple peers.

    python benchmarks/tables.py [NAME ...]

Reads ``$ABI_BENCH`` (default ``../shared/bench``): ``BENCH.json`` says which column is the target, ``BASELINES.json``
what peers score. Each set is one command in a process and a workspace of its own, with the default settings; the test
file is looked at by that command alone. Prints a table and writes dated JSON into ``benchmarks/results/``; sets
that were measured before on the same day stay in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results_file import results_path, write_results

BENCH = Path(os.environ.get("ABI_BENCH", Path(__file__).parent.parent.parent / "shared" / "bench"))
SETS = (
    "adult",
    "bank_marketing",
    "phoneme",
    "kc1_defects",
    "mammography",
    "california_housing",
    "covertype_100k",
)
WITHIN = 0.005
"""Relative distance to the best peer that counts as level with it."""
LOWER = {"rmse"}


def measure(name: str, about: dict[str, Any], peers: dict[str, Any]) -> dict[str, Any]:
    """One set: the run's own figures, beside its peers'."""
    ending = "csv" if about["format"] == "csv" else "parquet"
    folder, metric = BENCH / name, about["metric"]
    with tempfile.TemporaryDirectory() as workspace:
        command = [
            "abi", "run", str(folder / f"train.{ending}"), "--test", str(folder / f"test.{ending}"),
            "--target", about["target"], "--workspace", workspace, "--json",
        ]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wall_s = time.perf_counter() - start
    if done.returncode:
        return {"set": name, "error": done.stderr.strip().splitlines()[-1]}
    result = json.loads(done.stdout)
    scores = {peer: model[metric] for peer, model in peers["models"].items()}
    best = (min if metric in LOWER else max)(scores, key=lambda peer: scores[peer])
    sign = -1 if metric in LOWER else 1
    value = result["metrics"][metric]
    return {
        "set": name,
        "metric": metric,
        "abi": value,
        "interval": result["intervals"][metric],
        "best_peer": best,
        "best_peer_value": scores[best],
        "relative": sign * (value - scores[best]) / scores[best],
        "within": sign * (value - scores[best]) / scores[best] >= -WITHIN,
        "uniform": result["control"]["uniform"][metric],
        "baseline": result["control"]["baseline"][metric],
        "gain": result["gain"],
        "rounds": result["rounds"],
        "parameters": result["plan"]["measured"]["parameters"],
        "predicted": result["plan"]["predicted"],
        "measured": result["plan"]["measured"],
        "wall_s": round(wall_s, 1),
        "timings_s": result["timings_s"],
        "peak_memory_bytes": result["peak_memory_bytes"],
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure the named sets, or all."""
    names = sys.argv[1:] or SETS
    about = json.loads((BENCH / "BENCH.json").read_bytes())
    peers = json.loads((BENCH / "BASELINES.json").read_bytes())
    figures = []
    print(
        f"{'set':20} {'metric':9} {'ABI':>10} {'uniform':>10} {'best peer':>22} {'relative':>9} {'train':>7} {'run':>7} {'memory':>8}"
    )
    for name in names:
        row = measure(name, about[name], peers[name])
        figures.append(row)
        if "error" in row:
            print(f"{name:20} {row['error']}", flush=True)
            continue
        best = f"{row['best_peer_value']:.5g} {row['best_peer']}"
        train_s = row["measured"]["train_time_s"]
        memory = f"{row['peak_memory_bytes'] / 2**30:.2f}G"
        print(
            f"{name:20} {row['metric']:9} {row['abi']:10.5g} {row['uniform']:10.5g} {best:>22} {row['relative']:+9.2%} {train_s:6.0f}s {row['wall_s']:6.0f}s {memory:>8}",
            flush=True,
        )
    level = sum(row.get("within", False) for row in figures)
    print(f"within {WITHIN:.1%} of the best peer, or ahead: {level} of {len(figures)}")
    today = results_path("tables")
    before = json.loads(today.read_bytes())["figures"] if today.is_file() else []
    merged = {row["set"]: row for row in [*before, *figures]}
    print(write_results("tables", list(merged.values())))


if __name__ == "__main__":
    main()
