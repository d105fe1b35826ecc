"""How long it takes to plan the project's own networks for a device that is only described.

    python benchmarks/planner_own.py                      # 500 and 2,000 features
    python benchmarks/planner_own.py --features 500 --repeats 5

A table of so many numeric columns is made, scored and given attention without trials; then `abi plan --gpus 2xL4` runs in a
process of its own, as a person would run it: first in a workspace that knows nothing of the device, then again. Beside the
whole command stand its parts in a process that has imported everything: constants of the device from its figures,
dividing the envelope, tracing and search. Least of the repeats. Figures go to ``results/planner-own-<date>.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results_file import write_results

from abi.config import Config, load_config
from abi.devices.request import described_cluster
from abi.documents import document, find
from abi.planning.execution import plan_on_devices
from abi.planning.figures import machine_of
from abi.planning.plan import make_plan
from abi.planning.trail import Trail
from abi.types import Attention, Envelope, Plan, Scores
from tasks import progress
from tasks.preflight import dry_run_attention, pose_problem
from tasks.scoring import score
from tasks.stage import Call
from tasks.workspace import Workspace

GPUS = "L4"
ROWS = 6_000
SIGNAL = 20
LIMITS = ("parameters=2M", "memory=2GiB", "energy=1kWh", "train_time=1h")


def main() -> None:
    """Every number of features."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    progress.set_up(quiet=True, verbose=False, no_color=True)
    found = [measured(features, chosen.repeats) for features in chosen.features]
    for row in found:
        print(json.dumps(row))
    print(write_results("planner-own", {"gpus": f"2x{GPUS}", "rows": ROWS, "limits": LIMITS, "sizes": found}))


def measured(features: int, repeats: int) -> dict[str, Any]:
    """One number of features."""
    with tempfile.TemporaryDirectory() as folder:
        attention, call = prepared(Path(folder), features)
        parts = in_process(attention, call.settings, repeats)
        path = Path(folder) / "attention.json"
        path.write_text(json.dumps(document(attention)))
        first, later = [], []
        for _ in range(repeats):
            for known in (call.ws.root / "machines").glob("*"):
                known.unlink()
            first.append(command(path, call))
            later.append(command(path, call, "--set", "training.patience=7"))  # another plan on the same device
        imports = least(repeats, lambda: subprocess.run([sys.executable, "-c", IMPORTS], check=True))
    return {"features": features, **parts, "imports_s": imports, "command_first_s": min(first), "command_s": min(later)}


IMPORTS = "import tasks.planning, abi.planning.execution, abi.planning.figures"


def prepared(folder: Path, features: int) -> tuple[Attention, Call]:
    """A table whose first columns tell the target, scored."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(ROWS, features)), columns=[f"x{i}" for i in range(features)])
    drive = table.iloc[:, :SIGNAL] @ np.linspace(1, 0.1, SIGNAL)
    table["y"] = np.where(drive + random.normal(size=ROWS) > 0, "yes", "no")
    table.to_csv(folder / "table.csv", index=False)
    settings: dict[str, object] = {
        "training.family": "network",
        "checks.data_docs": False,
        "training.gpus": f"2x{GPUS}",
    }
    config: Config = load_config(None, settings, ambient=False)
    call = Call.of(Workspace.open(folder / "ws"), "bench", config)
    scored = score(call, call.ws.put(_unchecked(call, pose_problem(call, str(folder / "table.csv"), None, "y"))))
    return dry_run_attention(find(call.ws.get(scored), Scores), config), call


def _unchecked(call: Call, problem: str) -> Any:
    from abi.problem import Checks, Problem  # noqa: PLC0415

    return Checks(problem=find(call.ws.get(problem), Problem), suite_sha256="", results=())


def in_process(attention: Attention, config: Config, repeats: int) -> dict[str, Any]:
    """The parts, after everything was imported and run once."""
    cluster = described_cluster(GPUS, 2, {}, GPUS)
    machine = machine_of(cluster, "auto", None)
    envelope = Envelope(parameters=2_000_000, memory_bytes=2**31, train_time_s=3600.0, energy_j=3.6e6)
    rows: dict[str, Any] = {"train_rows": 4080, "validation_rows": 720}

    def divided(limits: Envelope = envelope, trail: Trail | None = None) -> Plan:
        return make_plan(attention, limits, config, machine, trail=trail, **rows)

    def whole() -> Plan:
        return plan_on_devices(divided, envelope, machine, precision="auto", kl=0.01, **rows)

    made = whole()
    figures = {
        "constants_s": least(repeats, lambda: machine_of(cluster, "auto", None)),
        "divide_s": least(repeats, divided),
        "divide_trace_search_s": least(repeats, whole),
    }
    return {
        "parameters": made.predicted.parameters,
        "widths": len({f.width for f in made.capacity.features}),
        **figures,
    }


def command(attention: Path, call: Call, *more: str) -> float:
    """Seconds of `abi plan` in a process of its own."""
    words = ["plan", str(attention), "--gpus", f"2x{GPUS}", "--workspace", call.workspace, "--json", "-q"]
    words += ["--set", "training.family=network", *more]
    for limit in LIMITS:
        words += ["--budget", limit]
    main = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    return least(1, lambda: subprocess.run(main, check=True, stdout=subprocess.DEVNULL))


def least(repeats: int, run: Callable[[], Any]) -> float:
    """Seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(min(times), 3)


if __name__ == "__main__":
    main()
