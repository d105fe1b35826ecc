"""How threads that wait change the seconds of a step, alone and beside other programs on the same cores.

    python benchmarks/waiting.py                  # nobody else, then one busy program beside it
    python benchmarks/waiting.py --beside 0 1 2 --turns 5

The recommended network of a table of 40 numbers (135,000 parameters, batches of 256, bfloat16) is trained in a process of
its own under each setting of OpenMP, by turns; median of the turns' median steps. `ours` is what `abi.waiting` sets, `torch`
what torch comes with. Figures go to ``results/waiting-<date>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any, Final

from results_file import write_results

from abi.waiting import POLICY, SETTINGS, SPINS

EPOCHS: Final = 2
LIMIT_S: Final = 300
CASES: Final[dict[str, tuple[dict[str, str], int]]] = {
    "ours": (SETTINGS, 0),
    "torch": ({}, 0),
    "sleeping at once": ({POLICY: "PASSIVE"}, 0),
    "10,000 spins": ({SPINS: "10000"}, 0),
    "one thread": ({}, 1),
}
"""Environment, and threads where not those of the plan."""


def main() -> None:
    """Every setting beside so many busy programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1], help="busy programs")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step is not None:
        print(step_s(chosen.step))
        return
    found = {str(count): beside(count, chosen.turns) for count in chosen.beside}
    print(write_results("waiting", {"milliseconds": found, "settings": {k: v[0] for k, v in CASES.items()}}))


def beside(count: int, turns: int) -> dict[str, Any]:
    """Milliseconds of a step beside so many busy programs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    try:
        for _ in range(turns):
            for name, (settings, threads) in CASES.items():
                taken[name].append(apart(settings, threads))
    finally:
        for other in others:
            other.kill()
            other.wait()
    for name, steps in taken.items():
        print(f"beside {count}: {name}: {statistics.median(steps):.2f} ms of {json.dumps(steps)}", flush=True)
    return taken


def apart(settings: dict[str, str], threads: int) -> float:
    """In a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS} | settings
    done = subprocess.run(
        [sys.executable, __file__, "--step", str(threads)],
        capture_output=True, text=True, check=True, env=environment, timeout=LIMIT_S,
    )  # fmt: skip
    return round(1e3 * float(done.stdout.splitlines()[-1]), 3)


def step_s(threads: int) -> float:
    """Seconds of the median step of a training."""
    from dataclasses import replace  # noqa: PLC0415 - torch is for the processes that train

    from planner_throughput import planned  # noqa: PLC0415

    from abi.training.loop import train  # noqa: PLC0415

    plan, rows, validation, config = planned("usual", EPOCHS)
    if threads:
        plan = replace(plan, execution=replace(plan.execution, threads=threads))
    found = train(plan, rows, validation, config, seed=0).trained.resources
    assert found is not None
    assert found.step_s is not None
    return found.step_s


if __name__ == "__main__":
    main()
