"""What the planner predicts, against what happens on this machine.

    python benchmarks/planner.py memory                  # every configuration, several minutes
    python benchmarks/planner.py memory --only bert      # those whose name has it
    python benchmarks/planner.py solve                   # dividing an envelope: seconds, and how far from the optimum

`memory` predicts the allocator's peak of a training step, and of an evaluation, at a number of rows that was not traced,
and runs it for real on the CPU: networks of the project and modules that are not, each with SGD, AdamW or Adafactor.
Recurrent layers run without oneDNN, as they are traced: oneDNN's own keep a workspace that no trace can see. Figures go
to ``results/planner-<part>-<date>.json``.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from contextlib import nullcontext
from typing import Any

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

import numpy as np
from planner_models import others, own
from planner_solve import solved
from results_file import write_results

from abi.execution.allocator import allocated_peaks
from abi.execution.footprint import bound_bytes, footprint, peak_bytes, phase_bytes
from abi.execution.step import PHASES, Training, plain_kernels

ROWS = 48


def compare(name: str, training: Training, rows: int) -> dict[str, Any]:
    """Predicted and allocated bytes of one configuration."""
    start = time.perf_counter()
    predicted = footprint(training)
    seconds = time.perf_counter() - start
    recurrent = name.startswith(("lstm", "gru"))
    with plain_kernels() if recurrent else nullcontext():
        actual = allocated_peaks(training, rows)
    step = max(actual[phase] for phase in PHASES[:3])
    expected = peak_bytes(predicted, rows)
    return {
        "name": name,
        "method": predicted.method,
        "trace_s": round(seconds, 2),
        "parameters": predicted.parameters,
        "predicted_bytes": round(expected),
        "actual_bytes": step,
        "error": round(expected / step - 1, 5),
        "bound": round(bound_bytes(predicted, rows) / step - 1, 5),
        "phases": {phase: round(phase_bytes(predicted, phase, rows) / actual[phase] - 1, 5) for phase in PHASES},
        "uncounted": list(predicted.uncounted),
    }


def memory(only: str, rows: int) -> dict[str, Any]:
    """Every configuration, then the summary of each group."""
    groups = {"own": own(), "others": others()}
    found: dict[str, list[dict[str, Any]]] = {}
    for group, configurations in groups.items():
        found[group] = []
        for name, training in configurations:
            if only not in name:
                continue
            result = compare(name, training, rows)
            found[group].append(result)
            phases = " ".join(f"{100 * error:+.2f}" for error in result["phases"].values())
            print(
                f"{name:58} {result['method']:8} {result['trace_s']:6.2f} s {result['actual_bytes'] / 2**20:9.2f} MiB "
                f"{100 * result['error']:+7.3f}%  bound {100 * result['bound']:+6.2f}%  phases {phases}",
                flush=True,
            )
    summary = {group: summarise(results) for group, results in found.items() if results}
    for group, figures in summary.items():
        print(f"{group}: {figures}")
    return {"rows": rows, "summary": summary, "configurations": found}


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Error of the step's peak, and how many lie above their bound; the same of single phases."""
    errors = np.abs([r["error"] for r in results])
    phases = np.abs([error for r in results for error in r["phases"].values()])
    return {
        "configurations": len(results),
        "median_error": round(float(np.median(errors)), 5),
        "p95_error": round(float(np.quantile(errors, 0.95)), 5),
        "largest_error": round(float(errors.max()), 5),
        "above_bound": sum(r["bound"] < 0 for r in results),
        "median_bound": round(float(np.median([r["bound"] for r in results])), 5),
        "median_phase_error": round(float(np.median(phases)), 5),
        "p95_phase_error": round(float(np.quantile(phases, 0.95)), 5),
        "median_trace_s": round(float(np.median([r["trace_s"] for r in results if r["method"] == "traced"] or [0])), 2),
    }


def main() -> None:
    """Read the part and its options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["memory", "solve"])
    parser.add_argument("--only", default="", help="configurations whose name has this")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the step that is predicted")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # of other people's models
    figures = memory(chosen.only, chosen.rows) if chosen.part == "memory" else solved()
    if not chosen.only:
        print(write_results(f"planner-{chosen.part}", figures))


if __name__ == "__main__":
    main()
