"""What the planner predicts, against what happens on the device that is here.

    python benchmarks/planner.py all                     # every part that this device allows; `make bench-planner`
    python benchmarks/planner.py memory --only bert      # configurations whose name has it
    python benchmarks/planner.py solve                   # dividing an envelope: seconds, and how far from the optimum

`memory`: peak bytes of a training step and of an evaluation, at numbers of rows that were not traced, against the
allocator's own count: networks of the project and modules that are not, with SGD, AdamW or Adafactor. On a GPU also the
seconds of a step after `abi calibrate`, the large modules, and whether a step runs when the allocator may reserve no more
than the bound. On a processor recurrent layers run without oneDNN, as they are traced: oneDNN's own keep a workspace
that no trace can see. `choice` (GPU): the plan's throughput beside the best of all configurations, each run.
`throughput`: the project's own training beside a loop by hand. `solve`: dividing an envelope, its time and how far from
the optimum it ends. What was not measured is said at the end. Figures go to
``results/planner-<part>-<device>-<date>.json``.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any, Final

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

import numpy as np
import torch
from planner_choice import CASES, choice
from planner_measure import fits, on_cpu, on_gpu
from planner_predict import Predicted, all_predicted, configurations
from planner_solve import solved
from planner_throughput import throughput
from results_file import write_results

from abi.devices.calibrate import calibrate
from abi.devices.detect import found as devices_here
from abi.devices.device import Cluster

PARTS: Final = ("memory", "choice", "throughput", "solve")
ON_GPU_ALONE: Final = {
    "choice": "configurations run one by one on a GPU",
    "step": "seconds of a step, and whether it runs at its bound",
    "large": "BERT-base, GPT-2, T5-small, ViT-base, ResNet-50, Whisper-base and others at their usual sizes",
}


def here() -> Cluster:
    """The first device of this machine that torch can use; a GPU is calibrated first."""
    clusters = devices_here()
    if not torch.cuda.is_available():
        return clusters[-1]
    measured = calibrate("cuda:0", clusters[0].device)
    print(f"calibrated in {measured.seconds} s: {measured.device}", flush=True)
    return Cluster(
        device=measured.device, count=1, host_memory_bytes=clusters[0].host_memory_bytes,
        host_cores=clusters[0].host_cores,
    )  # fmt: skip


def memory(cluster: Cluster, only: str, *, at_bound: bool, limit_s: float | None) -> dict[str, Any]:
    """Every configuration, then the summary of each group."""
    gpu = cluster.device.kind == "gpu"
    known = {name: one for name, one in configurations(gpu=gpu).items() if only in name}
    wanted = [(name, rows) for name, (_, _, rows) in known.items()]
    found: list[dict[str, Any]] = []
    predictions = all_predicted(wanted, cluster)
    if gpu:  # what is timed is not disturbed by traces
        predictions = iter(list(predictions))
    began = time.monotonic()
    for (name, rows), predicted in zip(wanted, predictions, strict=True):
        if limit_s is not None and time.monotonic() - began > limit_s:
            print(f"not measured, as {limit_s:g} s are over: {len(wanted) - len(found)} configurations from {name} on")
            break
        group, training, _ = known[name]
        actual = on_gpu(training, rows) if gpu else on_cpu(training, rows, recurrent=name.startswith(("lstm", "gru")))
        result = compared(name, group, rows, predicted, actual.phases, actual.step_bytes) | {
            "reserved": actual.reserved, "reserved_predicted": predicted.reserved,
        }  # fmt: skip
        if actual.step_s is not None:
            result |= {
                "step_s": actual.step_s, "step_predicted_s": predicted.step_s, "bound_by": predicted.bound_by,
                "step_error": round(predicted.step_s / actual.step_s - 1, 4),
            }  # fmt: skip
        if gpu and at_bound:
            result |= {"refused": predicted.refused}
            if not predicted.refused:
                result |= {"fits": fits(training, rows, int(predicted.bound_bytes))}
        found.append(result)
        show(result)
    groups = sorted({result["group"] for result in found})
    summary = {group: summarise([r for r in found if r["group"] == group]) for group in groups}
    summary["all"] = summarise(found)
    for group, figures in summary.items():
        print(f"{group}: {figures}")
    return {"summary": summary, "configurations": found}


def compared(
    name: str, group: str, rows: int, predicted: Predicted, phases: dict[str, int], step: int
) -> dict[str, Any]:
    """Predicted and allocated bytes of one configuration."""
    return {
        "name": name,
        "group": group,
        "rows": rows,
        "method": predicted.method,
        "trace_s": predicted.trace_s,
        "parameters": predicted.parameters,
        "predicted_bytes": round(predicted.step_bytes),
        "actual_bytes": step,
        "error": round(predicted.step_bytes / step - 1, 5),
        "line": round(predicted.line_bytes / step - 1, 5),
        "bound": round(predicted.bound_bytes / step - 1, 5),
        "phases": {phase: round(predicted.phases[phase] / actual - 1, 5) for phase, actual in phases.items()},
        "uncounted": list(predicted.uncounted),
    }


def show(result: dict[str, Any]) -> None:
    """One line."""
    timed = ""
    if "step_s" in result:
        timed = f" step {1e3 * result['step_s']:8.2f} ms {100 * result['step_error']:+6.1f}% {result['bound_by'][:8]:8}"
        timed += f" {'refused' if result.get('refused') else 'fits' if result.get('fits', True) else 'OUT OF MEMORY'}"
    print(
        f"{result['name']:50} {result['rows']:5} {result['method']:8} {result['trace_s']:6.2f} s "
        f"{result['actual_bytes'] / 2**20:9.2f} MiB {100 * result['error']:+7.3f}% line {100 * result['line']:+7.3f}% "
        f"bound {100 * result['bound']:+6.2f}%{timed}",
        flush=True,
    )


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Error of the step's peak, and how many lie above their bound; the same of single phases; of time where it was taken."""
    errors = np.abs([r["error"] for r in results])
    phases = np.abs([error for r in results for error in r["phases"].values()])
    figures: dict[str, Any] = {
        "configurations": len(results),
        "median_error": round(float(np.median(errors)), 5),
        "p95_error": round(float(np.quantile(errors, 0.95)), 5),
        "largest_error": round(float(errors.max()), 5),
        "median_line_error": round(float(np.median(np.abs([r["line"] for r in results]))), 5),
        "above_bound": sum(r["bound"] < 0 for r in results),
        "median_bound": round(float(np.median([r["bound"] for r in results])), 5),
        "median_phase_error": round(float(np.median(phases)), 5),
        "p95_phase_error": round(float(np.quantile(phases, 0.95)), 5),
        "median_trace_s": round(float(np.median([r["trace_s"] for r in results if r["method"] == "traced"] or [0])), 2),
    }
    timed = [r for r in results if "step_error" in r]
    if timed:
        errors = np.abs([r["step_error"] for r in timed])
        held = [r for r in results if "fits" in r]
        figures |= {
            "median_step_error": round(float(np.median(errors)), 4),
            "p90_step_error": round(float(np.quantile(errors, 0.9)), 4),
            "run_at_bound": len(held),
            "out_of_memory_at_bound": sum(not r["fits"] for r in held),
            "refused_at_bound": sum(bool(r.get("refused")) for r in results),
        }
    return figures


def main() -> None:
    """Read the part and its options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all"])
    parser.add_argument("--only", default="", help="configurations whose name has this")
    parser.add_argument(
        "--cases", type=int, default=len(CASES), help="so many modules whose configurations are all run"
    )
    parser.add_argument("--limit", type=float, help="seconds after which `memory` begins no further configuration")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # of other people's models
    cluster = here()
    gpu = cluster.device.kind == "gpu"
    parts = PARTS if chosen.part == "all" else (chosen.part,)
    missing = dict(ON_GPU_ALONE) if not gpu else {}
    for part in parts:
        if part == "memory":
            figures: Any = memory(cluster, chosen.only, at_bound=gpu, limit_s=chosen.limit)
        elif part == "choice":
            if not gpu:
                continue
            figures = choice(cluster, chosen.cases)
        else:
            figures = throughput() if part == "throughput" else solved()
        if not chosen.only:
            kept = {"device": cluster.device.to_json(), "torch": torch.__version__, "figures": figures}
            print(write_results(f"planner-{part}-{cluster.device.kind}", kept))
    for what in missing.values():
        print(f"not measured, as there is no GPU here: {what}")


if __name__ == "__main__":
    main()
