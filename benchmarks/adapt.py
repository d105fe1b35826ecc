"""Prequential figures on three open streams that drift: what `abi adapt` reaches beside its controls.

    python benchmarks/adapt.py [--sets elec2 noaa_weather outdoor_stream] [--threads 2] [--share 1.0]

Needs the open sets (``ABI_BENCH``). A stream is the set's training part and then its test part, in order; rows after the
first 10% are scored, each before its label is known, as ``lightgbm_prequential`` of the sets' baselines is. Settings are the
defaults; they were chosen on the first 25 to 40% of the streams (``--share`` cuts them there). Prints a table and writes dated
JSON into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from results_file import write_results

from abi.adapted import Adapted
from abi.adapting.plans import Planning
from abi.adapting.run import Run, conclude
from abi.adapting.stream import open_stream
from abi.config import load_config
from abi.data.memory import hash_table, hold, to_arrow
from abi.planning.measure import measure

BENCH = Path(os.environ.get("ABI_BENCH", "../shared/bench"))
SETS: dict[str, tuple[str, dict[str, object]]] = {
    "elec2": ("class", {}),
    "noaa_weather": ("rain", {}),
    # forty whole numbers, which would be taken for a measured target
    "outdoor_stream": ("object", {"data.task": "multiclass"}),
}
TO_REACH = {"elec2": 0.906, "noaa_weather": 0.796, "outdoor_stream": 0.901}


def follow(name: str, threads: int, share: float) -> dict[str, Any]:
    """One stream from its beginning to its end."""
    target, own = SETS[name]
    parts = [pd.read_parquet(BENCH / name / f"{part}.parquet") for part in ("train", "test")]
    table = pd.concat(parts, ignore_index=True)
    warmup = round(0.1 * len(table))
    settings = {**own, "training.threads": threads, "adapt.warmup": warmup}
    config = load_config(None, settings, ambient=False)
    held = hold(to_arrow(table.iloc[: round(share * len(table))]))
    machine = measure("cpu", "float32", threads)
    wall, processor = time.perf_counter(), time.process_time()
    stream, _ = open_stream(held, target, config)
    run = Run(stream, Planning(machine, config), say=lambda text: print(f"  {text}", flush=True))
    run.start()
    while not run.done:
        run.step()
    found = conclude(run, hash_table(held)[0], None)
    spent = {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    return {"set": name, "to_reach": TO_REACH[name], "settings": settings, "share": share, **figures(found), **spent}


def figures(found: Adapted) -> dict[str, Any]:
    """What the table shows, and each decision in short."""
    return {
        "rows": found.rows,
        "scored": found.scored,
        "accuracy": {c.name: c.overall for c in found.contenders},
        "last_window": {c.name: c.window for c in found.contenders},
        "adaptations": [{"row": a.row, "causes": list(a.causes), "moved": a.moved} for a in found.adaptations],
        "growths": found.grown,
        "parameters": found.adaptations[-1].predicted.parameters,
        "late_classes": found.late,
    }


def main() -> None:
    """Follow the streams, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share", type=float, default=1.0)
    asked = parser.parse_args()
    if not BENCH.is_dir():
        parser.error(f"Expected the open sets in {BENCH}, found none: set ABI_BENCH.")
    torch.set_num_threads(asked.threads)
    done = []
    for name in asked.sets:
        done.append(follow(name, asked.threads, asked.share))
        write_results(f"adapt-{name}", done[-1])
    print(
        f"\n{'set':16}{'to reach':>10}{'adapted':>10}{'never':>10}{'repeat':>10}{'decisions':>11}{'processor':>11}{'wall':>9}"
    )
    for one in done:
        accuracy = one["accuracy"]
        told = (one["to_reach"], accuracy["adapted"], accuracy["never adapted"], accuracy["persistence"])
        print(
            f"{one['set']:16}{''.join(f'{figure:10.4f}' for figure in told)}{len(one['adaptations']):11}{one['processor_s']:9.0f} s{one['wall_s']:7.0f} s"
        )


if __name__ == "__main__":
    main()
